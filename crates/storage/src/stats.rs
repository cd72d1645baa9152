//! Figures about a store.

use crate::error::StorageError;
use crate::format::{SYSTEM_KEYSPACES, ks};
use crate::store::Shared;

/// What a store holds and what it costs. Sizes are in bytes and do not include writes of the last moments, which
/// are still in memory and in the journal.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
#[non_exhaustive]
pub struct StoreStats {
    /// All files of the engine, journal included.
    pub disk_bytes: u64,
    /// The tables of each of the store's own keyspaces, by name.
    pub keyspace_bytes: Vec<(&'static str, u64)>,
    /// Oldest event that is kept.
    pub first_seq: u64,
    /// Newest durable event.
    pub last_seq: u64,
    /// Bytes of batches that wait for the committer.
    pub queued_bytes: usize,
    /// Why the store takes no more writes, if so.
    pub poisoned: Option<String>,
}

pub(crate) fn stats(shared: &Shared) -> Result<StoreStats, StorageError> {
    let mut keyspace_bytes = Vec::with_capacity(SYSTEM_KEYSPACES.len());
    for (name, number) in SYSTEM_KEYSPACES.into_iter().zip(ks::BLOCKS.0..) {
        keyspace_bytes.push((
            name,
            shared
                .engine
                .keyspace_bytes(crate::engine::KeyspaceId(number))?,
        ));
    }
    Ok(StoreStats {
        disk_bytes: shared.engine.disk_bytes()?,
        keyspace_bytes,
        first_seq: shared.log.first_seq(),
        last_seq: shared.log.last_durable(),
        queued_bytes: shared.queue.bytes(),
        poisoned: shared.queue.poisoned().map(|reason| reason.to_string()),
    })
}
