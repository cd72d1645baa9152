//! One unchanging state of the whole store.

use std::fmt;
use std::ops::{Bound, RangeBounds};
use std::sync::Arc;

use bytes::Bytes;

use crate::Multihash;
use crate::block;
use crate::block::BlockRef;
use crate::engine::Reads;
use crate::error::StorageError;
use crate::format::{MhKey, ks, read_u64, ref_key};
use crate::keyspace::{self, Keyspace, Scan};
use crate::nursery::View;
use crate::store::Shared;

/// A state of all keyspaces and blocks at one moment, whole batches only. Cheap to clone.
///
/// It keeps old rows on the disk for as long as it lives, so it should be short-lived.
#[derive(Clone)]
pub struct Snapshot {
    shared: Arc<Shared>,
    reads: Arc<View>,
}

impl Snapshot {
    pub(crate) fn new(shared: Arc<Shared>) -> Self {
        let reads = shared.view();
        Self { shared, reads }
    }

    /// The value under a key, unless it is absent or expired.
    pub fn get(&self, ks: &Keyspace, key: impl AsRef<[u8]>) -> Result<Option<Bytes>, StorageError> {
        keyspace::get(&*self.reads, &self.shared.options.clock, ks, key.as_ref())
    }

    /// Whether a key is there and not expired.
    pub fn contains(&self, ks: &Keyspace, key: impl AsRef<[u8]>) -> Result<bool, StorageError> {
        Ok(self.get(ks, key)?.is_some())
    }

    /// The rows in a range of keys, in key order from either end.
    pub fn range<K: AsRef<[u8]>>(&self, ks: &Keyspace, range: impl RangeBounds<K>) -> Scan {
        let from = range.start_bound().map(AsRef::as_ref);
        let to = range.end_bound().map(AsRef::as_ref);
        keyspace::scan(&*self.reads, &self.shared.options.clock, ks, from, to)
    }

    /// The rows whose keys begin with a prefix; all rows for an empty one.
    pub fn prefix(&self, ks: &Keyspace, prefix: impl AsRef<[u8]>) -> Scan {
        keyspace::scan_prefix(
            &*self.reads,
            &self.shared.options.clock,
            ks,
            prefix.as_ref(),
        )
    }

    /// The bytes of a block. They are not hashed again on each read; [`Store::check`](crate::Store::check) does that.
    pub fn block(&self, mh: &Multihash) -> Result<Option<Bytes>, StorageError> {
        self.reads
            .get(ks::BLOCKS, MhKey::new(mh).as_ref())?
            .map(block::decode)
            .transpose()
    }

    /// The mark that a reference was written with; `None` without a mark or without such a reference. The one thing
    /// that may be newer than the rest of the snapshot: when the reference was written again since.
    pub fn ref_mark(&self, mh: &Multihash, r: BlockRef) -> Result<Option<u64>, StorageError> {
        Ok(self
            .reads
            .get(ks::REFS, &ref_key(mh, r))?
            .and_then(|row| read_u64(&row)))
    }

    /// Whether an owner has a reference to a block, in any slot. Like [`ref_mark`](Self::ref_mark), what it says of a
    /// recent block may be newer than the snapshot.
    pub fn is_held_by(&self, mh: &Multihash, owner: u64) -> Result<bool, StorageError> {
        let from = ref_key(mh, BlockRef { owner, slot: 0 });
        let slot = u64::MAX;
        let to = ref_key(mh, BlockRef { owner, slot });
        let young = self.reads.generation.refs_between(&from, &to);
        if young.iter().any(|(_, alive)| *alive) {
            return Ok(true);
        }
        let bounds = (Bound::Included(&from[..]), Bound::Included(&to[..]));
        for row in self.reads.scan(ks::REFS, bounds.0, bounds.1) {
            let (key, _) = row?;
            if !young.iter().any(|(gone, _)| *gone == *key) {
                return Ok(true);
            }
        }
        Ok(false)
    }

    /// Whether a block is stored.
    pub fn has_block(&self, mh: &Multihash) -> Result<bool, StorageError> {
        Ok(self.reads.contains(ks::BLOCKS, MhKey::new(mh).as_ref())?)
    }
}

impl fmt::Debug for Snapshot {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Snapshot").finish_non_exhaustive()
    }
}
