//! What has to be written: rows over rows, contents to hold and to release, and the records that come of it.

use std::collections::{BTreeMap, BTreeSet};
use std::ops::Bound;

use bytes::Bytes;
use ues_data::Cid;
use ues_repo::repo::write::RecordPath;
use ues_storage::StorageError;

use crate::clock::{ROOT, WriterId};

use super::rows::Rows;

/// What a record's block is kept for: an operation of the log, or what stood at a path before the log.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Hold {
    /// The operation's writer; the root, which writes no records, for what stood there before.
    pub writer: WriterId,
    /// Its number; the beginning of the path's hash for what stood there before.
    pub seq: u64,
}

impl Hold {
    /// For an operation.
    pub fn operation(writer: WriterId, seq: u64) -> Self {
        Self { writer, seq }
    }

    /// For what stood at a path before the log.
    pub fn base(path: &RecordPath) -> Self {
        let hash = blake3::hash(path.as_str().as_bytes());
        let first: [u8; 8] = std::array::from_fn(|i| hash.as_bytes()[i]);
        Self {
            writer: ROOT,
            seq: u64::from_be_bytes(first),
        }
    }
}

/// What a replica wants to be written, all of it or nothing.
#[derive(Clone, Debug, Default)]
pub struct Change {
    /// Rows by key; `None` removes one.
    pub rows: BTreeMap<Vec<u8>, Option<Bytes>>,
    /// Blocks of records to keep for an operation; without bytes, the store has them.
    pub held: Vec<(Hold, Cid, Option<Bytes>)>,
    /// Blocks that an operation no longer needs; none of them is in `held`.
    pub released: Vec<(Hold, Cid)>,
    /// Targets whose state may be another now.
    pub touched: BTreeSet<RecordPath>,
    /// Targets all of whose operations were taken back, and what stood there before the log.
    pub(super) reverted: BTreeMap<RecordPath, Option<Cid>>,
}

impl Change {
    /// Whether there is nothing to write.
    pub fn is_empty(&self) -> bool {
        self.rows.is_empty() && self.held.is_empty() && self.released.is_empty()
    }

    /// Keeps a block. What this change had let go of is kept on.
    pub(super) fn hold(&mut self, hold: Hold, cid: Cid, bytes: Option<Bytes>) {
        self.released.retain(|released| *released != (hold, cid));
        self.held.push((hold, cid, bytes));
    }

    /// Lets go of a block.
    pub(super) fn release(&mut self, hold: Hold, cid: Cid) {
        self.held.retain(|held| (held.0, held.1) != (hold, cid));
        self.released.push((hold, cid));
    }

    pub(super) fn put(&mut self, key: Vec<u8>, value: impl Into<Bytes>) {
        self.rows.insert(key, Some(value.into()));
    }

    pub(super) fn delete(&mut self, key: Vec<u8>) {
        self.rows.insert(key, None);
    }
}

/// Rows as they will be once a change is written.
pub(super) struct Over<'a> {
    pub rows: &'a dyn Rows,
    pub change: &'a Change,
}

impl Rows for Over<'_> {
    fn get(&self, key: &[u8]) -> Result<Option<Bytes>, StorageError> {
        match self.change.rows.get(key) {
            Some(value) => Ok(value.clone()),
            None => self.rows.get(key),
        }
    }

    fn record(&self, path: &str) -> Result<Option<Cid>, StorageError> {
        self.rows.record(path)
    }

    fn range<'a>(
        &'a self,
        from: &[u8],
        to: &[u8],
    ) -> Box<dyn Iterator<Item = Result<(Bytes, Bytes), StorageError>> + 'a> {
        let bounds = (Bound::Included(from.to_vec()), Bound::Excluded(to.to_vec()));
        let mut below = self.rows.range(from, to).peekable();
        let mut above = self.change.rows.range(bounds).peekable();
        Box::new(std::iter::from_fn(move || {
            loop {
                let newer = match (below.peek(), above.peek()) {
                    (_, None) => false,
                    (None | Some(Err(_)), Some(_)) => !matches!(below.peek(), Some(Err(_))),
                    (Some(Ok((old, _))), Some((new, _))) => new.as_slice() <= &old[..],
                };
                if !newer {
                    return below.next();
                }
                let (key, value) = above.next()?;
                if matches!(below.peek(), Some(Ok((old, _))) if old[..] == key[..]) {
                    below.next();
                }
                if let Some(value) = value {
                    return Some(Ok((Bytes::copy_from_slice(key), value.clone())));
                }
            }
        }))
    }
}

#[cfg(test)]
mod tests {
    #![allow(
        clippy::unwrap_used,
        clippy::expect_used,
        clippy::panic,
        reason = "a test may panic"
    )]

    use proptest::prelude::*;

    use super::super::rows::MemoryRows;
    use super::*;

    proptest! {
        #[test]
        fn what_is_read_over_rows_is_what_writing_them_would_give(
            below in proptest::collection::btree_map(0u8..12, 0u8..9, 0..10),
            above in proptest::collection::btree_map(0u8..12, proptest::option::of(0u8..9), 0..10),
        ) {
            let base = MemoryRows {
                rows: below.iter().map(|(k, v)| (vec![*k], Bytes::from(vec![*v]))).collect(),
                ..MemoryRows::default()
            };
            let mut change = Change::default();
            let mut expected = base.clone();
            for (key, value) in above {
                match value {
                    Some(value) => {
                        change.put(vec![key], vec![value]);
                        expected.rows.insert(vec![key], Bytes::from(vec![value]));
                    }
                    None => {
                        change.delete(vec![key]);
                        expected.rows.remove(&vec![key]);
                    }
                }
            }
            let over = Over { rows: &base, change: &change };
            let found: Vec<_> = over.range(&[2], &[9]).map(Result::unwrap).collect();
            let wanted: Vec<_> = expected.range(&[2], &[9]).map(Result::unwrap).collect();
            prop_assert_eq!(found, wanted);
            for key in 0..12 {
                prop_assert_eq!(over.get(&[key]).unwrap(), expected.get(&[key]).unwrap());
            }
        }
    }
}
