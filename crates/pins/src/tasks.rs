//! The tasks of one part of the program: ended together, gently or at once.

use std::sync::Arc;

use parking_lot::Mutex;
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;

/// Tasks that belong together. Cheap to clone.
#[derive(Clone, Debug, Default)]
pub struct Tasks {
    set: Arc<Mutex<JoinSet<()>>>,
    stop: CancellationToken,
}

impl Tasks {
    /// Starts one more.
    pub fn spawn(&self, task: impl Future<Output = ()> + Send + 'static) {
        let mut set = self.set.lock();
        while set.try_join_next().is_some() {}
        set.spawn(task);
    }

    /// Cancelled when the tasks are to end.
    pub fn stop_token(&self) -> &CancellationToken {
        &self.stop
    }

    /// Asks them to end, and waits until they have.
    pub async fn stop(&self) {
        self.stop.cancel();
        loop {
            // A task that ends may have started another one meanwhile.
            let mut set = std::mem::take(&mut *self.set.lock());
            if set.is_empty() {
                return;
            }
            while set.join_next().await.is_some() {}
        }
    }

    /// Ends them where they stand, as the death of the process would.
    pub fn kill(&self) {
        self.stop.cancel();
        self.set.lock().abort_all();
    }
}
