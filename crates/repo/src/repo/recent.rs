//! What a repository got after a revision, for answers that must show a user's own latest writes.

use std::ops::Bound;

use crate::syntax::{Did, Tid};

use super::layout::{read_record_value, record_key};
use super::read::{StoredRecord, damaged};
use super::{RepoError, Repositories};

/// Newest keys of a collection that are looked at: keys are made in time's order where they matter.
const WINDOW: usize = 100;
/// Rows that are looked at for one that is older than the revision.
const OLDER_WINDOW: usize = 1000;

/// Records that are newer than a revision.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Recent {
    /// The record at each path that was asked for and is new.
    pub paths: Vec<(String, StoredRecord)>,
    /// New records of the collection that was asked for, oldest revision first.
    pub collection: Vec<(String, StoredRecord)>,
}

impl Recent {
    /// Whether there is nothing new.
    pub fn is_empty(&self) -> bool {
        self.paths.is_empty() && self.collection.is_empty()
    }
}

impl Repositories {
    /// Looks for records newer than a revision: at `path`, and at most `limit` among the newest keys of
    /// `collection`. Nothing is given when every record is newer, since the revision then speaks of
    /// another repository, before a move for example.
    pub fn recent(
        &self,
        did: &Did,
        since: &Tid,
        path: &str,
        collection: &str,
        limit: usize,
    ) -> Result<Recent, RepoError> {
        let view = self.view(did)?;
        let mut out = Recent::default();
        if view.head.rev <= *since {
            return Ok(out);
        }
        let content = view.head.content;
        let rows = &self.around().ks.records;
        let block = |path: &str, value: &[u8]| {
            let (cid, rev) =
                read_record_value(value).ok_or_else(|| damaged(did, &format!("row of {path}")))?;
            if rev <= *since {
                return Ok(None);
            }
            let bytes = view.snapshot.block(cid.hash())?;
            let bytes = bytes.ok_or_else(|| damaged(did, &format!("block {cid} is missing")))?;
            Ok::<_, RepoError>(Some(StoredRecord { cid, bytes, rev }))
        };
        if let Some(value) = view.snapshot.get(rows, record_key(content, path))?
            && let Some(record) = block(path, &value)?
        {
            out.paths.push((path.to_owned(), record));
        }
        // '0' follows '/', so this bounds exactly the collection.
        let range = (
            Bound::Included(record_key(content, &format!("{collection}/"))),
            Bound::Excluded(record_key(content, &format!("{collection}0"))),
        );
        let newest = view.snapshot.range::<Vec<u8>>(rows, range).rev();
        for row in newest.take(WINDOW) {
            let (key, value) = row?;
            let path = key.get(8..).and_then(|k| std::str::from_utf8(k).ok());
            let path = path.ok_or_else(|| damaged(did, "a record key"))?;
            if let Some(record) = block(path, &value)? {
                out.collection.push((path.to_owned(), record));
            }
        }
        out.collection
            .sort_by(|(a, x), (b, y)| (x.rev, a).cmp(&(y.rev, b)));
        out.collection.truncate(limit);
        if out.is_empty() {
            return Ok(out);
        }
        for row in view
            .snapshot
            .prefix(rows, content.to_be_bytes())
            .take(OLDER_WINDOW)
        {
            let (_, value) = row?;
            if read_record_value(&value).is_some_and(|(_, rev)| rev <= *since) {
                return Ok(out);
            }
        }
        Ok(Recent::default())
    }
}
