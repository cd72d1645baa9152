//! One unchanging state of the whole store.

use std::collections::BTreeMap;
use std::fmt;
use std::ops::{Bound, RangeBounds, RangeInclusive};
use std::sync::Arc;

use bytes::Bytes;

use crate::Multihash;
use crate::block;
use crate::block::BlockRef;
use crate::engine::Reads;
use crate::error::StorageError;
use crate::format::{DIGEST_PREFIX, MhKey, ks, read_u64, ref_key};
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

    /// The references to a block by these owners, recent ones first. Like [`ref_mark`](Self::ref_mark), what it says
    /// of a recent block may be newer than the snapshot.
    pub fn references(
        &self,
        mh: &Multihash,
        owners: RangeInclusive<u64>,
    ) -> impl Iterator<Item = Result<BlockRef, StorageError>> + use<> {
        let end = |owner: &u64, slot| {
            let owner = *owner;
            ref_key(mh, BlockRef { owner, slot })
        };
        let (from, to) = (end(owners.start(), 0), end(owners.end(), u64::MAX));
        let young: BTreeMap<_, _> = self
            .reads
            .generation
            .refs_between(&from, &to)
            .into_iter()
            .collect();
        let bounds = (Bound::Included(&from[..]), Bound::Included(&to[..]));
        let mut alive = young.clone().into_iter().filter(|(_, alive)| *alive);
        let mut old = self.reads.scan(ks::REFS, bounds.0, bounds.1);
        std::iter::from_fn(move || {
            // The few that are not in rows of their own yet come first.
            if let Some((key, _)) = alive.next() {
                return Some(read_ref(&key));
            }
            loop {
                match old.next()? {
                    Ok((key, _)) if young.contains_key(&key[..]) => {}
                    Ok((key, _)) => return Some(read_ref(&key)),
                    Err(e) => return Some(Err(e.into())),
                }
            }
        })
    }

    /// Whether a block is stored.
    pub fn has_block(&self, mh: &Multihash) -> Result<bool, StorageError> {
        Ok(self.reads.contains(ks::BLOCKS, MhKey::new(mh).as_ref())?)
    }
}

/// Owner and slot from the key of a reference row.
fn read_ref(key: &[u8]) -> Result<BlockRef, StorageError> {
    let fields = key.split_at_checked(DIGEST_PREFIX).and_then(|(_, rest)| {
        let (owner, slot) = rest.split_at_checked(8)?;
        Some(BlockRef {
            owner: read_u64(owner)?,
            slot: read_u64(slot)?,
        })
    });
    fields.ok_or_else(|| StorageError::Damaged {
        keyspace: "refs",
        what: format!("a key of 32 bytes expected, found {}", key.len()),
    })
}

impl fmt::Debug for Snapshot {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Snapshot").finish_non_exhaustive()
    }
}
