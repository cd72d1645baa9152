//! What an operator or a test may choose.

use std::path::PathBuf;
use std::time::Duration;

use ues_storage::Clock;

/// Options of [`EmbeddedBackend::open`](super::EmbeddedBackend::open).
#[derive(Clone, Debug)]
pub struct EmbeddedOptions {
    /// A folder on the disk of the store, whose free space is told; without it the space counts as endless.
    pub folder: Option<PathBuf>,
    /// How long an upload that nobody finished or pinned stays.
    pub upload_ttl: Duration,
    /// Blocks that go into one write, of the store's own sizes: more are written in several.
    pub batch_blocks: usize,
    /// Bytes of blocks that go into one write; one block more may go in.
    pub batch_bytes: usize,
    /// Blocks that a walk over a large DAG remembers, at about 28 bytes each. Beyond it the store is asked.
    pub max_remembered: usize,
    /// Bytes of links that a walk keeps for later; what is wider and deeper than that is not pinned.
    pub max_walk_bytes: usize,
    /// Where the present time comes from.
    pub clock: Clock,
}

impl Default for EmbeddedOptions {
    /// One hour for uploads, 4,096 blocks or 4 MiB in one write, 900,000 blocks remembered, 64 MiB of links.
    fn default() -> Self {
        Self {
            folder: None,
            upload_ttl: Duration::from_secs(3600),
            batch_blocks: 4096,
            batch_bytes: 4 << 20,
            max_remembered: 900_000,
            max_walk_bytes: 64 << 20,
            clock: Clock::system(),
        }
    }
}
