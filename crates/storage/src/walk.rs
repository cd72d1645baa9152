//! Looks up ascending prefixes in a keyspace.

use std::cmp::Ordering;
use std::ops::Bound;

use bytes::Bytes;

use crate::engine::{KeyspaceId, Reads, Rows};
use crate::error::StorageError;

/// Rows that are stepped over before seeking anew is cheaper.
const STEPS_BEFORE_SEEK: usize = 32;

/// Tells for one prefix after the other whether a key begins with it. Ascending prefixes are cheap: it steps along
/// where keys are dense and seeks where they are not. Others are correct too.
pub(crate) struct PrefixWalk<'a> {
    reads: &'a dyn Reads,
    ks: KeyspaceId,
    rows: Option<Rows>,
    at: Option<Bytes>,
}

impl<'a> PrefixWalk<'a> {
    pub(crate) fn new(reads: &'a dyn Reads, ks: KeyspaceId) -> Self {
        Self {
            reads,
            ks,
            rows: None,
            at: None,
        }
    }

    /// Whether a key begins with this prefix.
    pub(crate) fn has(&mut self, prefix: &[u8]) -> Result<bool, StorageError> {
        if self.rows.is_none() || self.compare(prefix).is_gt() {
            self.seek(prefix)?;
        }
        for _ in 0..STEPS_BEFORE_SEEK {
            match self.compare(prefix) {
                Ordering::Less => self.step()?,
                order => return Ok(order.is_eq()),
            }
        }
        self.seek(prefix)?;
        Ok(self.compare(prefix).is_eq())
    }

    /// The beginning of the present key against a prefix; the end is greater than all.
    fn compare(&self, prefix: &[u8]) -> Ordering {
        let Some(at) = &self.at else {
            return Ordering::Greater;
        };
        at.get(..prefix.len()).unwrap_or(at).cmp(prefix)
    }

    fn seek(&mut self, prefix: &[u8]) -> Result<(), StorageError> {
        self.rows = Some(
            self.reads
                .scan(self.ks, Bound::Included(prefix), Bound::Unbounded),
        );
        self.step()
    }

    fn step(&mut self) -> Result<(), StorageError> {
        let row = self.rows.as_mut().and_then(Iterator::next).transpose()?;
        self.at = row.map(|(key, _)| key);
        Ok(())
    }
}
