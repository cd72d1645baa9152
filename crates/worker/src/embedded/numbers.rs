//! Numbers that are never given out twice, not even after a crash.

use parking_lot::Mutex;
use ues_storage::{CommitError, StorageError, Store};

use super::layout::{Keyspaces, META_NEXT, read_number};

/// How many are set aside with one write.
const STRIDE: u64 = 1 << 16;

/// Numbers of pins and uploads.
#[derive(Debug)]
pub(super) struct Numbers(Mutex<Left>);

/// Those set aside and not given out yet.
#[derive(Debug)]
struct Left {
    next: u64,
    end: u64,
}

impl Numbers {
    /// Goes on behind everything that an earlier process has set aside.
    pub(super) fn open(ks: &Keyspaces) -> Result<Self, StorageError> {
        let next = match ks.meta.get(META_NEXT)? {
            Some(row) => read_number("content_meta", &row)?,
            None => 1,
        };
        Ok(Self(Mutex::new(Left { next, end: next })))
    }

    /// Gives out `count` numbers in sequence and returns the first.
    pub(super) fn take(
        &self,
        store: &Store,
        ks: &Keyspaces,
        count: u64,
    ) -> Result<u64, CommitError> {
        let mut left = self.0.lock();
        if left.end - left.next < count {
            let end = left.end + count.max(STRIDE);
            let mut batch = store.batch();
            batch.put(&ks.meta, META_NEXT, end.to_be_bytes());
            store.commit_blocking(batch)?;
            left.end = end;
        }
        let first = left.next;
        left.next += count;
        Ok(first)
    }
}
