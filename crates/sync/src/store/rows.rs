//! The rows of one log among those of all repositories.

use bytes::Bytes;
use ues_data::Cid;
use ues_repo::repo::Repositories;
use ues_storage::{Batch, BlockRef, Keyspace, Snapshot, StorageError};

use crate::log::{Change, Hold, Rows};

/// The rows of one repository's log in one state of the store.
pub(super) struct StoredRows {
    pub repos: Repositories,
    pub rows: Keyspace,
    pub state: Snapshot,
    /// Number of the repository.
    pub owner: u64,
}

fn key(owner: u64, key: &[u8]) -> Vec<u8> {
    let mut out = Vec::with_capacity(8 + key.len());
    out.extend_from_slice(&owner.to_be_bytes());
    out.extend_from_slice(key);
    out
}

impl Rows for StoredRows {
    fn get(&self, row: &[u8]) -> Result<Option<Bytes>, StorageError> {
        self.state.get(&self.rows, key(self.owner, row))
    }

    fn range<'a>(
        &'a self,
        from: &[u8],
        to: &[u8],
    ) -> Box<dyn Iterator<Item = Result<(Bytes, Bytes), StorageError>> + 'a> {
        let (from, to) = (key(self.owner, from), key(self.owner, to));
        let rows = self.state.range(&self.rows, from..to);
        Box::new(rows.map(|row| row.map(|(key, value)| (key.slice(8..), value))))
    }

    fn record(&self, path: &str) -> Result<Option<Cid>, StorageError> {
        self.repos.record_at(&self.state, self.owner, path)
    }
}

/// The reference by which a log keeps a record's block. Slots of record paths are odd, and that of the tree is 0.
fn hold_ref(owner: u64, hold: Hold) -> BlockRef {
    let mut hasher = blake3::Hasher::new();
    hasher.update(b"operation log");
    hasher.update(&hold.writer.to_be_bytes());
    hasher.update(&hold.seq.to_be_bytes());
    let first: [u8; 8] = std::array::from_fn(|i| hasher.finalize().as_bytes()[i]);
    let slot = (u64::from_be_bytes(first) & !1).max(2);
    BlockRef { owner, slot }
}

/// Puts a change into a batch. The touched records are the caller's.
pub(super) fn put(change: &Change, rows: &Keyspace, owner: u64, batch: &mut Batch) {
    for (hold, cid, bytes) in &change.held {
        let held = hold_ref(owner, *hold);
        match bytes {
            Some(bytes) => batch.put_block(cid.hash(), bytes, held),
            None => batch.add_ref(cid.hash(), held),
        }
    }
    for (hold, cid) in &change.released {
        batch.release_block(cid.hash(), hold_ref(owner, *hold));
    }
    for (row, value) in &change.rows {
        match value {
            Some(value) => batch.put(rows, key(owner, row), value),
            None => batch.delete(rows, key(owner, row)),
        }
    }
}
