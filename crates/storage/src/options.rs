//! What an operator or a test may choose when opening a store.

use std::time::Duration;

use crate::clock::Clock;

/// Options of [`Store::open`](crate::Store::open). The default suits a whole node in under 100 MB of memory.
#[derive(Debug, Clone)]
pub struct StoreOptions {
    /// Bytes of disk blocks that the engine keeps in memory.
    pub block_cache_bytes: u64,
    /// Bytes of recent writes to the blocks keyspace held in memory before they are written as a table; keyspaces
    /// of small rows get half of it.
    pub memtable_bytes: u64,
    /// Bytes of recent blocks in memory before those that are still alive get rows of their own: the more, the fewer
    /// short-lived tree nodes are ever written as such.
    pub nursery_bytes: usize,
    /// Bytes of recent events that stay in memory for live readers.
    pub log_tail_bytes: usize,
    /// Bytes of batches that may wait for the committer; a submitter beyond it waits.
    pub queue_bytes: usize,
    /// Pause between two rounds of background work (collecting freed blocks, sweeping expired keys); `None`
    /// switches background work off, for tests that call it themselves.
    pub housekeeping: Option<Duration>,
    /// Where the present time comes from.
    pub clock: Clock,
}

impl Default for StoreOptions {
    fn default() -> Self {
        Self {
            block_cache_bytes: 16 << 20,
            memtable_bytes: 6 << 20,
            nursery_bytes: 6 << 20,
            log_tail_bytes: 4 << 20,
            queue_bytes: 8 << 20,
            housekeeping: Some(Duration::from_secs(1)),
            clock: Clock::system(),
        }
    }
}
