//! Who works on what, so that two calls about one thing do not meet.

use std::collections::HashSet;
use std::hash::Hash;
use std::sync::Arc;

use parking_lot::{Condvar, Mutex};

/// Things that are being worked on. Clones are the same.
#[derive(Clone, Debug)]
pub(super) struct Busy<K>(Arc<Shared<K>>);

#[derive(Debug)]
struct Shared<K> {
    taken: Mutex<HashSet<K>>,
    freed: Condvar,
}

/// Keeps things to itself until it is dropped.
#[derive(Debug)]
pub(super) struct BusyGuard<K: Hash + Eq> {
    busy: Arc<Shared<K>>,
    keys: Vec<K>,
}

impl<K: Hash + Eq + Clone> Busy<K> {
    pub(super) fn new() -> Self {
        Self(Arc::new(Shared {
            taken: Mutex::new(HashSet::new()),
            freed: Condvar::new(),
        }))
    }

    /// Waits until nobody works on any of these, then takes all at once, so that nobody waits in a circle. The keys
    /// must differ. Blocks the thread.
    pub(super) fn enter(&self, keys: Vec<K>) -> BusyGuard<K> {
        let mut taken = self.0.taken.lock();
        while keys.iter().any(|key| taken.contains(key)) {
            self.0.freed.wait(&mut taken);
        }
        taken.extend(keys.iter().cloned());
        BusyGuard {
            busy: Arc::clone(&self.0),
            keys,
        }
    }

    /// Takes one unless somebody works on it.
    pub(super) fn try_enter(&self, key: K) -> Option<BusyGuard<K>> {
        let free = self.0.taken.lock().insert(key.clone());
        free.then(|| BusyGuard {
            busy: Arc::clone(&self.0),
            keys: vec![key],
        })
    }
}

impl<K: Hash + Eq> Drop for BusyGuard<K> {
    fn drop(&mut self) {
        let mut taken = self.busy.taken.lock();
        for key in &self.keys {
            taken.remove(key);
        }
        self.busy.freed.notify_all();
    }
}
