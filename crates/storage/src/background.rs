//! Threads that stand back: what they do may come later, what a caller waits for may not.

/// Niceness of background threads: about a tenth of the processor where others want it, all of it
/// where nobody does.
#[cfg(target_os = "linux")]
const NICE: i32 = 10;

/// Lowers the priority of the calling thread, where the system has priorities of threads.
pub fn stand_back() {
    #[cfg(target_os = "linux")]
    if let Err(error) = rustix::process::setpriority_process(Some(rustix::thread::gettid()), NICE) {
        tracing::debug!(%error, "the priority of a background thread stays as it is");
    }
}
