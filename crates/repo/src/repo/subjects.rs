//! Which records refer to which subject: likes, reposts, follows and blocks.
//!
//! An account likes a post once: a like that is created replaces the older ones of the same post,
//! in the same commit, as the official server does it. The rows that tell which those are are
//! written with each commit. A repository without them (one that an older version of the program
//! wrote, or that was imported just now) gets them before its next write.

use std::collections::BTreeMap;

use ues_data::Ipld;
use ues_storage::{Batch, StorageError};

use crate::syntax::{AtUri, Did};

use super::lane::Surroundings;
use super::layout::{Head, read_record_value, record_key};
use super::read::RepoView;
use super::write::{MAX_OPS, RecordPath, WriteError};

/// Version of the rows; in the value of a repository's marker.
const VERSION: u8 = 1;
/// Stands where rows have the number of a collection.
const MARKER: u8 = 0;
/// Bytes of a subject's BLAKE3 hash in a key.
const HASH_BYTES: usize = 16;
/// Rows of one batch when a repository gets its rows.
const BUILD_SLICE: usize = 4096;

/// Where a record names its subject.
#[derive(Clone, Copy)]
enum At {
    /// A DID in `subject`.
    Subject,
    /// An AT URI in `subject.uri`.
    SubjectUri,
}

/// The collections, with the number that each has in keys.
const COLLECTIONS: [(&str, u8, At); 4] = [
    ("app.bsky.feed.like", 1, At::SubjectUri),
    ("app.bsky.feed.repost", 2, At::SubjectUri),
    ("app.bsky.graph.follow", 3, At::Subject),
    ("app.bsky.graph.block", 4, At::Subject),
];

/// A subject as one collection of one repository refers to it: what the keys of its rows begin with.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) struct Link([u8; 8 + 1 + HASH_BYTES]);

impl Link {
    /// The subject of a record; `None` for one of another collection, or without a valid subject.
    pub fn of(content: u64, collection: &str, record: &[u8]) -> Option<Self> {
        let (_, number, at) = COLLECTIONS.iter().find(|(name, ..)| *name == collection)?;
        let Ok(Ipld::Map(map)) = ues_data::dag_cbor::decode(record) else {
            return None;
        };
        if !matches!(map.get("$type"), Some(Ipld::String(kind)) if kind == collection) {
            return None;
        }
        let subject = match (at, map.get("subject")?) {
            (At::Subject, Ipld::String(did)) => Did::parse(did).is_ok().then_some(did)?,
            (At::SubjectUri, Ipld::Map(subject)) => match subject.get("uri")? {
                Ipld::String(uri) => AtUri::parse(uri).is_ok().then_some(uri)?,
                _ => return None,
            },
            _ => return None,
        };
        let hash = blake3::hash(subject.as_bytes());
        let mut key = [0; 8 + 1 + HASH_BYTES];
        let (head, tail) = key.split_at_mut(9);
        head[..8].copy_from_slice(&content.to_be_bytes());
        head[8] = *number;
        tail.copy_from_slice(&hash.as_bytes()[..HASH_BYTES]);
        Some(Self(key))
    }

    /// The key of the row for one record.
    pub fn row(&self, rkey: &str) -> Vec<u8> {
        let mut key = Vec::with_capacity(self.0.len() + rkey.len());
        key.extend_from_slice(&self.0);
        key.extend_from_slice(rkey.as_bytes());
        key
    }
}

/// Whether records of a collection have rows.
pub(super) fn is_linking(collection: &str) -> bool {
    COLLECTIONS.iter().any(|(name, ..)| *name == collection)
}

/// Rows that the store may not show yet: there (`true`) or gone (`false`).
#[derive(Default)]
pub(super) struct Recent(BTreeMap<Vec<u8>, bool>);

impl Recent {
    /// Writes a row.
    pub fn put(&mut self, around: &Surroundings, row: Vec<u8>, batch: &mut Batch) {
        batch.put(&around.ks.subjects, &row, []);
        self.0.insert(row, true);
    }

    /// Removes a row.
    pub fn delete(&mut self, around: &Surroundings, row: Vec<u8>, batch: &mut Batch) {
        batch.delete(&around.ks.subjects, &row);
        self.0.insert(row, false);
    }

    /// Forgets all: the store shows it.
    pub fn clear(&mut self) {
        self.0.clear();
    }

    /// Number of rows.
    pub fn len(&self) -> usize {
        self.0.len()
    }

    /// The records of a collection that refer to a subject.
    ///
    /// # Errors
    /// [`WriteError::TooManyOps`] when there are more than one commit can replace.
    pub fn referring(
        &self,
        around: &Surroundings,
        collection: &str,
        link: &Link,
    ) -> Result<Vec<RecordPath>, WriteError> {
        let mut rows = Vec::new();
        for row in around.ks.subjects.prefix(link.0) {
            let (row, _) = row.map_err(storage)?;
            if self.0.get(&row[..]).copied().unwrap_or(true) {
                rows.push(row.to_vec());
            }
            if rows.len() > MAX_OPS {
                return Err(WriteError::TooManyOps);
            }
        }
        let newer = self.0.range(link.0.to_vec()..);
        for (row, there) in newer.take_while(|(row, _)| row.starts_with(&link.0)) {
            if *there && !rows.contains(row) {
                rows.push(row.clone());
            }
        }
        let path = |row: &Vec<u8>| {
            let rkey = std::str::from_utf8(row.get(link.0.len()..)?).ok()?;
            RecordPath::parse(&format!("{collection}/{rkey}")).ok()
        };
        Ok(rows.iter().filter_map(path).collect())
    }
}

fn storage(e: StorageError) -> WriteError {
    WriteError::Storage(e.to_string())
}

fn marker(content: u64) -> [u8; 9] {
    let mut key = [MARKER; 9];
    key[..8].copy_from_slice(&content.to_be_bytes());
    key
}

/// Says that a repository has its rows.
pub(super) fn mark(around: &Surroundings, content: u64, batch: &mut Batch) {
    batch.put(&around.ks.subjects, marker(content), [VERSION]);
}

/// Says that a repository has none that count: the next write builds them.
pub(super) fn unmark(around: &Surroundings, content: u64, batch: &mut Batch) {
    batch.delete(&around.ks.subjects, marker(content));
}

/// Whether a repository has its rows.
pub(super) fn is_marked(around: &Surroundings, content: u64) -> Result<bool, StorageError> {
    let found = around.ks.subjects.get(marker(content))?;
    Ok(found.is_some_and(|value| value[..] == [VERSION]))
}

/// Gives a repository its rows. Nothing may write to it meanwhile. Blocks on the disk.
pub(super) fn build(around: &Surroundings, did: &Did, head: &Head) -> Result<(), WriteError> {
    let mut batch = around.store.batch();
    let full = |batch: &mut Batch| match batch.len() < BUILD_SLICE {
        true => Ok(()),
        false => commit(around, std::mem::replace(batch, around.store.batch())),
    };
    // What is there was written for another tree, or by a build that did not come to its end.
    for row in around.ks.subjects.prefix(head.content.to_be_bytes()) {
        batch.delete(&around.ks.subjects, row.map_err(storage)?.0);
        full(&mut batch)?;
    }
    for (collection, ..) in COLLECTIONS {
        let prefix = record_key(head.content, &format!("{collection}/"));
        for row in around.ks.records.prefix(&prefix) {
            let (key, value) = row.map_err(storage)?;
            let block = match read_record_value(&value) {
                Some((cid, _)) => around.store.block(cid.hash()).map_err(storage)?,
                None => None,
            };
            let rkey = key.get(prefix.len()..).map(std::str::from_utf8);
            let (Some(block), Some(Ok(rkey))) = (block, rkey) else {
                // A damaged like must not keep the account from writing; a check reports it.
                tracing::warn!(%did, collection, "a record cannot be read");
                continue;
            };
            if let Some(link) = Link::of(head.content, collection, &block) {
                batch.put(&around.ks.subjects, link.row(rkey), []);
                full(&mut batch)?;
            }
        }
    }
    mark(around, head.content, &mut batch);
    commit(around, batch)
}

/// Compares the rows of a repository with its records, one after another.
pub(super) struct Check<'a> {
    around: &'a Surroundings,
    view: &'a RepoView,
    marked: bool,
    /// Records whose rows are there.
    found: u64,
}

impl<'a> Check<'a> {
    /// Begins with none.
    pub fn new(around: &'a Surroundings, view: &'a RepoView) -> Result<Self, StorageError> {
        let marker = marker(view.head.content);
        Ok(Self {
            around,
            view,
            marked: view.snapshot.contains(&around.ks.subjects, marker)?,
            found: 0,
        })
    }

    /// Whether a record has the row that it must have.
    pub fn record(&mut self, path: &str, record: &[u8]) -> Result<bool, StorageError> {
        let (collection, rkey) = path.split_once('/').unwrap_or_default();
        if !self.marked || !is_linking(collection) {
            return Ok(true);
        }
        let Some(link) = Link::of(self.view.head.content, collection, record) else {
            return Ok(true);
        };
        let snapshot = &self.view.snapshot;
        let there = snapshot.contains(&self.around.ks.subjects, link.row(rkey))?;
        self.found += u64::from(there);
        Ok(there)
    }

    /// How many rows belong to none of the records.
    pub fn surplus(self) -> Result<Option<u64>, StorageError> {
        let mut rows = 0;
        let content = self.view.head.content.to_be_bytes();
        for row in self.view.snapshot.prefix(&self.around.ks.subjects, content) {
            row?;
            rows += 1;
        }
        let surplus = u64::saturating_sub(rows, self.found + u64::from(self.marked));
        Ok((self.marked && surplus > 0).then_some(surplus))
    }
}

fn commit(around: &Surroundings, batch: Batch) -> Result<(), WriteError> {
    around
        .store
        .commit_blocking(batch)
        .map(|_| ())
        .map_err(|e| WriteError::Storage(e.to_string()))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn link(collection: &str, record: serde_json::Value) -> Option<Link> {
        let ipld = ues_data::atproto_json::record_from_json(&record).unwrap();
        Link::of(7, collection, &ues_data::dag_cbor::encode(&ipld).unwrap())
    }

    #[test]
    fn subjects_are_told_apart() {
        let (like, follow) = ("app.bsky.feed.like", "app.bsky.graph.follow");
        let uri = |uri: &str| serde_json::json!({"$type": like, "subject": {"uri": uri}});
        let did = |did: &str| serde_json::json!({"$type": follow, "subject": did});
        let a = link(like, uri("at://did:plc:a/app.bsky.feed.post/1")).unwrap();
        let b = link(like, uri("at://did:plc:a/app.bsky.feed.post/2")).unwrap();
        let c = link(follow, did("did:plc:a")).unwrap();
        assert!(a != b && a != c && b != c);
        assert_eq!(link(follow, did("did:plc:a")), Some(c));
        assert!(a.row("x").starts_with(&7u64.to_be_bytes()));
    }

    #[test]
    fn records_without_a_subject_have_none() {
        let like = "app.bsky.feed.like";
        for record in [
            serde_json::json!({"$type": like}),
            serde_json::json!({"$type": like, "subject": "did:plc:a"}),
            serde_json::json!({"$type": like, "subject": {"uri": "https://example.com"}}),
            serde_json::json!({"$type": like, "subject": {"uri": 5}}),
            serde_json::json!({"$type": "app.bsky.feed.repost", "subject": {"uri": "at://did:plc:a"}}),
        ] {
            assert_eq!(link(like, record.clone()), None, "{record}");
        }
        let post = serde_json::json!({"$type": "app.bsky.feed.post", "subject": "did:plc:a"});
        assert_eq!(link("app.bsky.feed.post", post), None);
        assert_eq!(Link::of(7, like, b"not cbor"), None);
    }
}
