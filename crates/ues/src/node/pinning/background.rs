//! Threads for what the pin service does by itself: planning, bringing content, reporting.

use tokio::runtime::{Builder, EnterGuard, Runtime};

/// Threads of their own, which stand back behind those that answer requests: whoever asks for a pin waits for the answer, and
/// what follows from it may come a moment later.
pub struct Background(Option<Runtime>);

impl Background {
    /// Starts them.
    ///
    /// # Errors
    /// When the system has no threads to give.
    pub fn start() -> std::io::Result<Self> {
        let runtime = Builder::new_multi_thread()
            .thread_name("pins")
            .on_thread_start(ues_storage::stand_back)
            .enable_all()
            .build()?;
        Ok(Self(Some(runtime)))
    }

    /// Until the guard is dropped, tasks that this thread starts run here.
    pub fn enter(&self) -> Option<EnterGuard<'_>> {
        self.0.as_ref().map(Runtime::enter)
    }
}

impl Drop for Background {
    fn drop(&mut self) {
        // The last of it may be dropped where nobody may wait.
        if let Some(runtime) = self.0.take() {
            runtime.shutdown_background();
        }
    }
}
