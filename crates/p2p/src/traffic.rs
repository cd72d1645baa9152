//! Counts the bytes of every peer's streams.

use std::collections::HashMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Weak};

use libp2p::PeerId;
use parking_lot::Mutex;

/// Bytes with one peer.
#[derive(Debug, Default)]
pub(crate) struct Counters {
    read: AtomicU64,
    written: AtomicU64,
}

impl Counters {
    pub(crate) fn read(&self) -> u64 {
        self.read.load(Ordering::Relaxed)
    }

    pub(crate) fn written(&self) -> u64 {
        self.written.load(Ordering::Relaxed)
    }

    pub(crate) fn add_read(&self, bytes: usize) {
        self.read.fetch_add(bytes as u64, Ordering::Relaxed);
    }

    pub(crate) fn add_written(&self, bytes: usize) {
        self.written.fetch_add(bytes as u64, Ordering::Relaxed);
    }

    /// Both ways together.
    pub(crate) fn moved(&self) -> u64 {
        self.read().wrapping_add(self.written())
    }
}

/// The counters of all peers that have a connection.
#[derive(Debug, Clone, Default)]
pub(crate) struct Traffic {
    peers: Arc<Mutex<Table>>,
}

#[derive(Debug, Default)]
struct Table {
    counters: HashMap<PeerId, Weak<Counters>>,
    prune_at: usize,
}

impl Traffic {
    /// The counters of a peer; they live as long as somebody holds them.
    pub(crate) fn of(&self, peer: PeerId) -> Arc<Counters> {
        let mut table = self.peers.lock();
        if let Some(counters) = table.counters.get(&peer).and_then(Weak::upgrade) {
            return counters;
        }
        if table.counters.len() >= table.prune_at {
            table.counters.retain(|_, c| c.strong_count() > 0);
            table.prune_at = 2 * table.counters.len() + 16;
        }
        let counters = Arc::new(Counters::default());
        table.counters.insert(peer, Arc::downgrade(&counters));
        counters
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn counters_go_with_their_last_user() {
        let traffic = Traffic::default();
        let peer = PeerId::random();
        let counters = traffic.of(peer);
        counters.add_read(5);
        assert_eq!(traffic.of(peer).read(), 5);
        drop(counters);
        assert_eq!(traffic.of(peer).read(), 0);
        for _ in 0..1000 {
            traffic.of(PeerId::random());
        }
        assert!(traffic.peers.lock().counters.len() < 40);
    }
}
