//! Locks on keys, so that what is read before a write still holds when it is written.

use std::collections::HashSet;
use std::sync::Arc;

use parking_lot::Mutex;
use tokio::sync::Notify;

/// Locks named by 64-bit hashes of keys. Several are taken at once or not at all, so that nobody waits in a circle.
#[derive(Debug, Default)]
pub struct KeyLocks {
    taken: Mutex<HashSet<u64>>,
    freed: Notify,
}

/// Frees its locks when it is dropped.
#[derive(Debug)]
pub struct KeyGuard {
    locks: Arc<KeyLocks>,
    keys: HashSet<u64>,
}

impl KeyLocks {
    /// Takes all of these locks, waiting until none is taken by another.
    pub async fn lock(self: &Arc<Self>, keys: HashSet<u64>) -> KeyGuard {
        loop {
            // Registered before the look, so that no freeing in between is missed.
            let freed = self.freed.notified();
            tokio::pin!(freed);
            freed.as_mut().enable();
            if self.try_lock(&keys) {
                return KeyGuard {
                    locks: Arc::clone(self),
                    keys,
                };
            }
            freed.await;
        }
    }

    fn try_lock(&self, keys: &HashSet<u64>) -> bool {
        let mut taken = self.taken.lock();
        if keys.iter().any(|key| taken.contains(key)) {
            return false;
        }
        taken.extend(keys);
        true
    }
}

impl Drop for KeyGuard {
    fn drop(&mut self) {
        let mut taken = self.locks.taken.lock();
        for key in &self.keys {
            taken.remove(key);
        }
        drop(taken);
        self.locks.freed.notify_waiters();
    }
}
