//! Reading repositories: heads, records, collections, blocks.

use std::ops::Bound;

use bytes::Bytes;
use ues_data::Cid;
use ues_storage::Snapshot;

use crate::syntax::{Did, Tid};

use super::layout::{
    Head, Status, cid_from_digest, head_key, is_of_state, read_record_value, record_key,
};
use super::write::RecordPath;
use super::{RepoError, Repositories};

/// Most rows that one listing gives.
pub const MAX_PAGE: usize = 1000;

/// A record as it is stored.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StoredRecord {
    /// Its CID.
    pub cid: Cid,
    /// Its DAG-CBOR.
    pub bytes: Bytes,
    /// The revision that wrote it.
    pub rev: Tid,
}

/// Direction of a listing.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Order {
    /// By record key, rising: oldest first where keys are TIDs.
    Ascending,
    /// By record key, falling.
    Descending,
}

/// A repository at one moment: all reads of one view agree with each other.
#[derive(Clone)]
pub struct RepoView {
    pub(super) did: Did,
    /// The state that is viewed.
    pub head: Head,
    pub(super) snapshot: Snapshot,
}

impl Repositories {
    /// The newest durable state of a repository, also of one that is not active.
    pub fn head(&self, did: &Did) -> Result<Option<Head>, RepoError> {
        match self.around().ks.heads.get(head_key(did))? {
            Some(bytes) => Head::decode(&bytes)
                .map(Some)
                .ok_or_else(|| damaged(did, "its head")),
            None => Ok(None),
        }
    }

    /// Repositories in the order in which they came here, after a number.
    ///
    /// The last one's `owner` is the cursor of the next page. Deleted ones are left out.
    pub fn list(&self, after: Option<u64>, limit: usize) -> Result<Vec<(Did, Head)>, RepoError> {
        let from = after.unwrap_or(0).to_be_bytes();
        let mut out = Vec::new();
        let range = (Bound::Excluded(from), Bound::Unbounded);
        for row in self.around().ks.owners.range::<[u8; 8]>(range) {
            if out.len() >= limit.min(MAX_PAGE) {
                break;
            }
            let (owner, did) = row?;
            let Some(did) = std::str::from_utf8(&did)
                .ok()
                .and_then(|d| Did::parse(d).ok())
            else {
                continue;
            };
            match self.head(&did)? {
                Some(head)
                    if head.owner.to_be_bytes()[..] == owner[..]
                        && head.status != Status::Deleted =>
                {
                    out.push((did, head));
                }
                _ => {}
            }
        }
        Ok(out)
    }

    /// One record; `None` if there is none at the path, or no such repository.
    pub fn get_record(
        &self,
        did: &Did,
        path: &RecordPath,
    ) -> Result<Option<StoredRecord>, RepoError> {
        // A row and its block are written together, but a newer write may free the block between the two reads: then the
        // row has changed, and is read again. So does an import with the row, and then the head has changed.
        for _ in 0..8 {
            let Some(head) = self.head(did)? else {
                return Ok(None);
            };
            let key = record_key(head.content, path.as_str());
            let Some(row) = self.around().ks.records.get(&key)? else {
                match self.head(did)? {
                    Some(now) if now.content != head.content => continue,
                    _ => return Ok(None),
                }
            };
            let (cid, rev) =
                read_record_value(&row).ok_or_else(|| damaged(did, &format!("row of {path}")))?;
            if let Some(bytes) = self.store().block(cid.hash())? {
                return Ok(Some(StoredRecord { cid, bytes, rev }));
            }
        }
        Err(damaged(did, &format!("the block of {path} is missing")))
    }

    /// A view of a repository whose reads agree with each other.
    pub fn view(&self, did: &Did) -> Result<RepoView, RepoError> {
        let snapshot = self.store().snapshot();
        let bytes = snapshot
            .get(&self.around().ks.heads, head_key(did))?
            .ok_or_else(|| RepoError::NotFound(did.clone()))?;
        let head = Head::decode(&bytes).ok_or_else(|| damaged(did, "its head"))?;
        if head.status == Status::Deleted {
            return Err(RepoError::NotFound(did.clone()));
        }
        Ok(RepoView {
            did: did.clone(),
            head,
            snapshot,
        })
    }

    /// Records of a collection, after (in the chosen order) a record key.
    ///
    /// At most `limit` (and never more than 1,000) are given.
    pub fn list_records(
        &self,
        did: &Did,
        collection: &str,
        after: Option<&str>,
        limit: usize,
        order: Order,
    ) -> Result<Vec<(String, StoredRecord)>, RepoError> {
        let view = self.view(did)?;
        let prefix = record_key(view.head.content, &format!("{collection}/"));
        let mut end = prefix.clone();
        // '0' follows '/', so this bounds exactly the collection.
        if let Some(last) = end.last_mut() {
            *last = b'0';
        }
        let cut = after.map(|rkey| record_key(view.head.content, &format!("{collection}/{rkey}")));
        let (from, to) = match (order, cut) {
            (Order::Ascending, Some(cut)) => (Bound::Excluded(cut), Bound::Excluded(end)),
            (Order::Descending, Some(cut)) => {
                (Bound::Included(prefix.clone()), Bound::Excluded(cut))
            }
            (_, None) => (Bound::Included(prefix.clone()), Bound::Excluded(end)),
        };
        let mut rows = view
            .snapshot
            .range::<Vec<u8>>(&self.around().ks.records, (from, to));
        let mut out = Vec::new();
        while out.len() < limit.min(MAX_PAGE) {
            let next = match order {
                Order::Ascending => rows.next(),
                Order::Descending => rows.next_back(),
            };
            let Some(row) = next else { break };
            let (key, value) = row?;
            let rkey = key
                .get(prefix.len()..)
                .and_then(|k| std::str::from_utf8(k).ok())
                .ok_or_else(|| damaged(did, "a record key"))?;
            let (cid, rev) =
                read_record_value(&value).ok_or_else(|| damaged(did, &format!("row of {rkey}")))?;
            let bytes = view
                .snapshot
                .block(cid.hash())?
                .ok_or_else(|| damaged(did, &format!("block {cid} is missing")))?;
            out.push((rkey.to_owned(), StoredRecord { cid, bytes, rev }));
        }
        Ok(out)
    }

    /// The collections that have at least one record, in order.
    pub fn collections(&self, did: &Did) -> Result<Vec<String>, RepoError> {
        let view = self.view(did)?;
        let mut out = Vec::new();
        let end = record_key(view.head.content.saturating_add(1), "");
        let mut from = record_key(view.head.content, "");
        loop {
            // One seek per collection, however many records each has.
            let range = (Bound::Included(from), Bound::Excluded(end.clone()));
            let mut rows = view
                .snapshot
                .range::<Vec<u8>>(&self.around().ks.records, range);
            let Some(row) = rows.next() else {
                return Ok(out);
            };
            let (key, _) = row?;
            let path = key
                .get(8..)
                .and_then(|k| std::str::from_utf8(k).ok())
                .ok_or_else(|| damaged(did, "a record key"))?;
            let (collection, _) = path.split_once('/').unwrap_or((path, ""));
            from = record_key(view.head.content, &format!("{collection}0"));
            out.push(collection.to_owned());
        }
    }

    /// Whether a content has a record of the collection.
    pub fn has_collection(
        &self,
        content: u64,
        collection: &crate::syntax::Nsid,
    ) -> Result<bool, RepoError> {
        let prefix = record_key(content, &format!("{collection}/"));
        match self.around().ks.records.prefix(prefix).next() {
            None => Ok(false),
            Some(row) => Ok(row.map(|_| true)?),
        }
    }

    /// The records of a repository in key order, each as it is when the walk comes to it: walks may take minutes, and no
    /// state is kept for them meanwhile. What changes during the walk may come as it was, as it is, or not at all.
    pub fn records(
        &self,
        did: &Did,
    ) -> Result<impl Iterator<Item = Result<(String, StoredRecord), RepoError>> + use<>, RepoError>
    {
        let head = self.view(did)?.head;
        let rows = self
            .around()
            .ks
            .records
            .in_pages(head.content.to_be_bytes());
        let (store, did) = (self.store().clone(), did.clone());
        Ok(rows.filter_map(move |row| {
            let record = || {
                let (key, value) = row?;
                let path = key
                    .get(8..)
                    .and_then(|k| String::from_utf8(k.to_vec()).ok())
                    .ok_or_else(|| damaged(&did, "a record key"))?;
                let (cid, rev) = read_record_value(&value)
                    .ok_or_else(|| damaged(&did, &format!("row of {path}")))?;
                // A block is gone when the row has changed since it was read.
                let block = store.block(cid.hash())?;
                Ok(block.map(|bytes| (path, StoredRecord { cid, bytes, rev })))
            };
            record().transpose()
        }))
    }

    /// Number of records of a repository, if nobody writes meanwhile; reads all their rows.
    pub fn count_records(&self, did: &Did) -> Result<u64, RepoError> {
        let content = self.view(did)?.head.content;
        let mut count = 0;
        for row in self.around().ks.records.in_pages(content.to_be_bytes()) {
            row?;
            count += 1;
        }
        Ok(count)
    }
}

impl RepoView {
    /// The bytes of a block, whoever keeps it in this store.
    pub fn block(&self, cid: &Cid) -> Result<Option<Bytes>, RepoError> {
        Ok(self.snapshot.block(cid.hash())?)
    }

    /// The bytes of a commit, tree node or record, if this repository has it.
    pub fn own_block(&self, cid: &Cid) -> Result<Option<Bytes>, RepoError> {
        // Contents of blobs are held by the same owner, under other kinds of hash.
        if cid_from_digest(cid.hash().digest()).as_ref() != Some(cid) {
            return Ok(None);
        }
        let content = self.head.content;
        for held in self.snapshot.references(cid.hash(), content..=content) {
            if is_of_state(held?) {
                return self.block(cid);
            }
        }
        Ok(None)
    }

    /// The account.
    pub fn did(&self) -> &Did {
        &self.did
    }
}

pub(super) fn damaged(did: &Did, what: &str) -> RepoError {
    RepoError::Damaged {
        did: did.clone(),
        reason: what.to_owned(),
    }
}
