//! Long walks over rows that do not keep an old state of the store alive.

use std::ops::Bound;

use bytes::Bytes;

use crate::error::StorageError;
use crate::format::prefix_end;
use crate::keyspace::Keyspace;

/// Rows of one page.
const PAGE: usize = 1024;

/// The rows under a prefix in key order, each page of the state at the time when it is read.
///
/// A [`Scan`](crate::Scan) keeps everything that is written meanwhile in memory until it ends; this does not, so that it may
/// be walked along while much is written. What is put or deleted behind or within the present page is not seen.
pub struct Pages {
    keyspace: Keyspace,
    /// Where the next page begins; `None` when there is no other.
    next: Option<Bound<Bytes>>,
    end: Option<Vec<u8>>,
    page: std::vec::IntoIter<(Bytes, Bytes)>,
}

impl Pages {
    pub(crate) fn new(keyspace: Keyspace, prefix: &[u8]) -> Self {
        Self {
            keyspace,
            next: Some(Bound::Included(Bytes::copy_from_slice(prefix))),
            end: prefix_end(prefix),
            page: Vec::new().into_iter(),
        }
    }

    fn turn(&mut self) -> Result<(), StorageError> {
        let Some(from) = self.next.take() else {
            return Ok(());
        };
        let end = self.end.as_deref();
        let end = end.map_or(Bound::Unbounded, Bound::Excluded);
        let from = from.as_ref().map(AsRef::as_ref);
        let rows = self.keyspace.range::<&[u8]>((from, end)).take(PAGE);
        let page = rows.collect::<Result<Vec<_>, _>>()?;
        if page.len() == PAGE {
            self.next = page.last().map(|(key, _)| Bound::Excluded(key.clone()));
        }
        self.page = page.into_iter();
        Ok(())
    }
}

impl Iterator for Pages {
    type Item = Result<(Bytes, Bytes), StorageError>;

    fn next(&mut self) -> Option<Self::Item> {
        if self.page.len() == 0
            && let Err(error) = self.turn()
        {
            return Some(Err(error));
        }
        self.page.next().map(Ok)
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use std::sync::Arc;

    use super::PAGE;
    use crate::engine::MemoryEngine;
    use crate::{Store, StoreOptions};

    #[test]
    fn every_row_of_the_prefix_comes_once() {
        let store = Store::with_engine(Arc::new(MemoryEngine::new()), StoreOptions::default());
        let store = store.unwrap();
        let ks = store.keyspace("rows").unwrap();
        for count in [0, 1, PAGE - 1, PAGE, PAGE + 1, 3 * PAGE] {
            let mut batch = store.batch();
            for n in 0..count {
                batch.put(&ks, format!("a{n:06}"), n.to_be_bytes());
            }
            batch.put(&ks, "b", []);
            store.commit_blocking(batch).unwrap();
            let keys: Vec<_> = ks.in_pages("a").map(|row| row.unwrap().0).collect();
            let all: Vec<_> = (0..count).map(|n| format!("a{n:06}")).collect();
            assert_eq!(keys, all);
        }
        assert_eq!(ks.in_pages("").count(), 3 * PAGE + 1);
    }

    #[test]
    fn rows_may_be_deleted_along_the_way() {
        let store = Store::with_engine(Arc::new(MemoryEngine::new()), StoreOptions::default());
        let store = store.unwrap();
        let ks = store.keyspace("rows").unwrap();
        let mut batch = store.batch();
        for n in 0..3 * PAGE {
            batch.put(&ks, format!("a{n:06}"), []);
        }
        store.commit_blocking(batch).unwrap();
        for row in ks.in_pages("a") {
            let mut batch = store.batch();
            batch.delete(&ks, row.unwrap().0);
            store.commit_blocking(batch).unwrap();
        }
        assert_eq!(ks.prefix("a").count(), 0);
    }
}
