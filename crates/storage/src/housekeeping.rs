//! The thread that frees space in the background.

use std::sync::Arc;
use std::time::{Duration, Instant};

use parking_lot::{Condvar, Mutex};

use crate::background::stand_back;
use crate::collect::collect;
use crate::error::{CommitError, StorageError};
use crate::expiry::sweep;
use crate::store::Shared;

/// Queue rows of one round.
const ROUND: u64 = 8192;
/// Rest after a round, in lengths of the round, so that cleaning takes a fifth of a core at most.
const REST: u32 = 4;

/// Tells background threads to end, and lets them sleep until then.
#[derive(Debug, Default)]
pub(crate) struct Stop {
    stopped: Mutex<bool>,
    changed: Condvar,
}

impl Stop {
    /// Wakes everybody who sleeps and lets nobody sleep any more.
    pub(crate) fn stop(&self) {
        *self.stopped.lock() = true;
        self.changed.notify_all();
    }

    /// Sleeps for a while and tells whether to end.
    pub(crate) fn sleep(&self, time: Duration) -> bool {
        let mut stopped = self.stopped.lock();
        if !*stopped {
            self.changed.wait_for(&mut stopped, time);
        }
        *stopped
    }
}

/// Collects and sweeps until the store closes.
pub(crate) fn run(shared: &Arc<Shared>, stop: &Stop, pause: Duration) {
    stand_back();
    let mut rest = pause;
    let mut last_seq = shared.log.last_durable();
    while !stop.sleep(rest) {
        let begun = Instant::now();
        let idle = last_seq == shared.log.last_durable();
        last_seq = shared.log.last_durable();
        match if idle { tidy_up(shared) } else { Ok(()) } {
            // What a closed or poisoned store means is decided below.
            Ok(()) | Err(StorageError::Commit(_)) => {}
            Err(error) => tracing::warn!(%error, "recent writes stay in memory"),
        }
        rest = match sweep(shared).and_then(|_| collect(shared, ROUND)) {
            Ok(done) if done.finished => pause,
            Ok(_) => begun.elapsed() * REST,
            Err(StorageError::Commit(CommitError::Closed | CommitError::Poisoned(_))) => return,
            Err(error) => {
                tracing::warn!(%error, "background cleaning failed; it is tried again");
                pause
            }
        };
    }
}

/// Moves what was written lately out of memory, once nobody writes.
fn tidy_up(shared: &Shared) -> Result<(), StorageError> {
    if shared.nursery.is_worth_moving() {
        shared.move_nursery()?;
    }
    Ok(shared.engine.tidy_up()?)
}
