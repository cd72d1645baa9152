//! The state store in the node's own store.

use std::collections::{HashMap, HashSet};
use std::sync::Arc;

use async_trait::async_trait;
use futures::StreamExt;
use futures::stream::BoxStream;
use prost::Message;
use ues_data::Cid;
use ues_storage::{Batch, CommitError, Keyspace, StorageError, Store};

use super::embedded_read::Reader;
use super::key;
use super::rows::{self, LeaseRow, OperationRow, Row};
use super::{
    End, Lease, OP_SECONDS, Operation, OwnerPage, OwnerQuery, PlacementChange, RemoveIf,
    RequestChange, StateError, StateStore, TokenRange,
};
use crate::Owner;
use crate::fleet::Worker;
use crate::locks::KeyLocks;
use crate::model::PeerId;
use crate::placement::PinRecord;
use crate::request::PinRequest;

/// Records that a scan reads at a time, and ahead.
const SCAN_AHEAD: usize = 256;

/// Keyspaces of the embedded state store.
#[derive(Clone, Debug)]
pub(super) struct Spaces {
    pub requests: Keyspace,
    pub placements: Keyspace,
    pub owned: Keyspace,
    pub ends: Keyspace,
    pub operations: Keyspace,
    pub workers: Keyspace,
    pub notes: Keyspace,
}

/// The state store in the node's own store: for one process.
#[derive(Clone, Debug)]
pub struct EmbeddedStore {
    store: Store,
    spaces: Spaces,
    locks: Arc<KeyLocks>,
}

impl From<StorageError> for StateError {
    fn from(error: StorageError) -> Self {
        match error {
            StorageError::Damaged { .. } => Self::Damaged(error.to_string()),
            _ => Self::Unavailable(error.to_string()),
        }
    }
}

impl From<CommitError> for StateError {
    fn from(error: CommitError) -> Self {
        match error {
            CommitError::Invalid(why) => Self::Refused(why.to_string()),
            _ => Self::Unavailable(error.to_string()),
        }
    }
}

impl EmbeddedStore {
    /// Opens it, making its keyspaces at first use.
    ///
    /// # Errors
    /// [`StateError::Unavailable`] when the store cannot be used.
    pub fn open(store: Store) -> Result<Self, StateError> {
        let spaces = Spaces {
            requests: store.keyspace("pins_requests")?,
            placements: store.keyspace("pins_placements")?,
            owned: store.keyspace("pins_owned")?,
            ends: store.keyspace("pins_ends")?,
            operations: store.keyspace("pins_operations")?,
            workers: store.keyspace("pins_workers")?,
            notes: store.keyspace("pins_notes")?,
        };
        Ok(Self {
            store,
            spaces,
            locks: Arc::default(),
        })
    }

    fn reader(&self) -> Reader {
        Reader::new(self.store.snapshot(), self.spaces.clone())
    }

    /// Writes the rows of one change; returns what is there from then on.
    fn write_change(
        &self,
        batch: &mut Batch,
        change: RequestChange,
        before: Option<&PinRequest>,
    ) -> Option<Option<PinRequest>> {
        match change {
            RequestChange::Put(request) => {
                if let Some(old) = before {
                    self.delete_listing(batch, old, Some(&request));
                }
                self.put_request(batch, &request);
                Some(Some(*request))
            }
            RequestChange::Remove { only, .. } => {
                let old = before?;
                let holds = match only {
                    RemoveIf::Always => true,
                    RemoveIf::CreatedAt(time) => old.created_ms == time,
                    RemoveIf::EndedBy(now_s) => old.is_expired(now_s),
                };
                holds.then(|| {
                    self.delete_listing(batch, old, None);
                    batch.delete(&self.spaces.requests, key::request(old.cid(), &old.owner));
                    None
                })
            }
        }
    }

    fn put_request(&self, batch: &mut Batch, request: &PinRequest) {
        let (cid, owner, spaces) = (request.cid(), &request.owner, &self.spaces);
        batch.put(&spaces.requests, key::request(cid, owner), request.to_row());
        for tag in std::iter::once(None).chain(request.tags.iter().map(|tag| Some(tag.as_str()))) {
            let row = key::owned(owner, tag, request.created_ms, cid);
            batch.put(&spaces.owned, row, []);
        }
        if let Some(at_s) = request.pin.options.expire_at {
            batch.put(&spaces.ends, key::end(at_s, cid, owner), []);
        }
    }

    /// Deletes the rows that led to a request. Its entry in the queue of ends stays: it is judged when it is due.
    fn delete_listing(&self, batch: &mut Batch, old: &PinRequest, new: Option<&PinRequest>) {
        let kept = |tag: &str| {
            new.is_some_and(|new| {
                new.created_ms == old.created_ms && new.tags.iter().any(|t| t == tag)
            })
        };
        let (cid, owner) = (old.cid(), &old.owner);
        if new.is_none_or(|new| new.created_ms != old.created_ms) {
            batch.delete(
                &self.spaces.owned,
                key::owned(owner, None, old.created_ms, cid),
            );
        }
        for tag in old.tags.iter().filter(|tag| !kept(tag)) {
            let row = key::owned(owner, Some(tag), old.created_ms, cid);
            batch.delete(&self.spaces.owned, row);
        }
    }

    fn put_operation(&self, batch: &mut Batch, operation: &Operation, now_ms: u64) {
        let row = OperationRow {
            fingerprint: operation.fingerprint,
            answer: operation.answer.clone(),
        };
        let key = key::operation(&operation.owner, &operation.id);
        let until = now_ms + OP_SECONDS * 1000;
        batch.put_with_ttl(&self.spaces.operations, key, row.encode_to_vec(), until);
    }

    async fn commit(&self, batch: Batch) -> Result<(), StateError> {
        if !batch.is_empty() {
            self.store.commit(batch).await?;
        }
        Ok(())
    }
}

#[async_trait]
impl StateStore for EmbeddedStore {
    fn token(&self, cid: &Cid) -> u64 {
        key::token(cid)
    }

    async fn change_requests(
        &self,
        changes: Vec<RequestChange>,
        operations: Vec<Operation>,
    ) -> Result<Vec<Option<PinRequest>>, StateError> {
        let keys: Vec<Vec<u8>> = changes
            .iter()
            .map(|change| key::request(change.cid(), change.owner()))
            .collect();
        let _guard = self
            .locks
            .lock(keys.iter().map(|key| hash(key)).collect())
            .await;
        let mut batch = Batch::with_capacity(changes.len() * 3, changes.len() * 400);
        // What this call itself has written so far, which the store does not show yet.
        let mut written: HashMap<Vec<u8>, Option<PinRequest>> = HashMap::new();
        let mut earlier = Vec::with_capacity(changes.len());
        let several = changes.len() > 1;
        for (change, key) in changes.into_iter().zip(keys) {
            let before = match written.get(&key) {
                Some(request) => request.clone(),
                None => self
                    .spaces
                    .requests
                    .get(&key)?
                    .map(|row| rows::read_request(change.owner().as_str().as_bytes(), &row))
                    .transpose()?,
            };
            let after = self.write_change(&mut batch, change, before.as_ref());
            if let Some(after) = after.filter(|_| several) {
                written.insert(key, after);
            }
            earlier.push(before);
        }
        let now_ms = self.store.now_ms();
        for operation in &operations {
            self.put_operation(&mut batch, operation, now_ms);
        }
        self.commit(batch).await?;
        Ok(earlier)
    }

    async fn change_placements(&self, changes: Vec<PlacementChange>) -> Result<(), StateError> {
        let mut batch = Batch::with_capacity(changes.len(), changes.len() * 160);
        for change in changes {
            let mut key = key::cid_key(&change.cid);
            key.extend_from_slice(change.peer.as_bytes());
            match change.placement {
                Some(placement) => batch.put(&self.spaces.placements, key, placement.to_row()),
                None => batch.delete(&self.spaces.placements, key),
            }
        }
        self.commit(batch).await
    }

    async fn records(&self, cids: &[Cid]) -> Result<Vec<PinRecord>, StateError> {
        let reader = self.reader();
        cids.iter().map(|cid| reader.record(cid)).collect()
    }

    async fn request(&self, owner: &Owner, cid: &Cid) -> Result<Option<PinRequest>, StateError> {
        let row = self.spaces.requests.get(key::request(cid, owner))?;
        row.map(|row| rows::read_request(owner.as_str().as_bytes(), &row))
            .transpose()
    }

    async fn owner_requests(
        &self,
        owner: &Owner,
        query: OwnerQuery,
    ) -> Result<OwnerPage, StateError> {
        self.reader().owner_requests(owner, &query)
    }

    fn scan(
        &self,
        range: TokenRange,
        after: Option<Cid>,
    ) -> BoxStream<'static, Result<PinRecord, StateError>> {
        let (store, spaces) = (self.store.clone(), self.spaces.clone());
        // A slice is read from a state of its own while the one before it is on its way. Who reads slowly holds neither a
        // state of the store, with all that is written after it, nor a thread.
        let read = move |after: Option<Cid>| {
            let reader = Reader::new(store.snapshot(), spaces.clone());
            tokio::task::spawn_blocking(move || {
                let records = reader.scan(range, after.as_ref());
                records.take(SCAN_AHEAD).collect::<Vec<_>>()
            })
        };
        let first = read(after);
        futures::stream::unfold((Some(first), read), |(reading, read)| async {
            let slice = match reading?.await {
                Ok(slice) => slice,
                Err(e) => vec![Err(StateError::Unavailable(e.to_string()))],
            };
            let next = match slice.last() {
                Some(Ok(record)) if slice.len() == SCAN_AHEAD => Some(read(Some(record.cid))),
                _ => None,
            };
            Some((slice, (next, read)))
        })
        .flat_map(futures::stream::iter)
        .boxed()
    }

    async fn ends(&self, now_s: u64, limit: usize) -> Result<Vec<End>, StateError> {
        self.reader().ends(now_s, limit)
    }

    async fn settle_ends(&self, ends: Vec<End>) -> Result<(), StateError> {
        let mut batch = Batch::new();
        for end in ends {
            batch.delete(&self.spaces.ends, key::end(end.at_s, &end.cid, &end.owner));
        }
        self.commit(batch).await
    }

    async fn operation(&self, owner: &Owner, id: &str) -> Result<Option<Operation>, StateError> {
        let Some(row) = self.spaces.operations.get(key::operation(owner, id))? else {
            return Ok(None);
        };
        let row = OperationRow::decode(row)
            .map_err(|e| StateError::Damaged(format!("operation: {e}")))?;
        Ok(Some(Operation {
            owner: owner.clone(),
            id: id.to_owned(),
            fingerprint: row.fingerprint,
            answer: row.answer,
        }))
    }

    async fn workers(&self) -> Result<Vec<Worker>, StateError> {
        self.reader().workers()
    }

    async fn put_worker(&self, worker: Worker) -> Result<(), StateError> {
        let mut batch = Batch::new();
        batch.put(&self.spaces.workers, worker.id.as_bytes(), worker.to_row());
        self.commit(batch).await
    }

    async fn remove_worker(&self, id: &PeerId) -> Result<(), StateError> {
        let mut batch = Batch::new();
        batch.delete(&self.spaces.workers, id.as_bytes());
        batch.delete(&self.spaces.notes, draining_key(id));
        self.commit(batch).await
    }

    async fn set_draining(&self, id: &PeerId, draining: bool) -> Result<(), StateError> {
        let mut batch = Batch::new();
        if draining {
            batch.put(&self.spaces.notes, draining_key(id), [1]);
        } else {
            batch.delete(&self.spaces.notes, draining_key(id));
        }
        self.commit(batch).await
    }

    async fn lease(&self, name: &str, wish: Lease, now_ms: u64) -> Result<Lease, StateError> {
        let key = format!("lease/{name}");
        let _guard = self.locks.lock(HashSet::from([hash(key.as_bytes())])).await;
        if let Some(row) = self.spaces.notes.get(&key)? {
            let row = LeaseRow::decode(row)
                .map_err(|e| StateError::Damaged(format!("lease {name}: {e}")))?;
            if row.holder != wish.holder && row.until_ms > now_ms {
                return Ok(Lease {
                    holder: row.holder,
                    until_ms: row.until_ms,
                });
            }
        }
        let row = LeaseRow {
            holder: wish.holder.clone(),
            until_ms: wish.until_ms,
        };
        let mut batch = Batch::new();
        batch.put(&self.spaces.notes, key, row.encode_to_vec());
        self.commit(batch).await?;
        Ok(wish)
    }

    async fn note(&self, name: &str) -> Result<Option<Vec<u8>>, StateError> {
        let row = self.spaces.notes.get(format!("note/{name}"))?;
        Ok(row.map(|bytes| bytes.to_vec()))
    }

    async fn put_note(&self, name: &str, value: Vec<u8>) -> Result<(), StateError> {
        let mut batch = Batch::new();
        batch.put(&self.spaces.notes, format!("note/{name}"), value);
        self.commit(batch).await
    }
}

/// Key of the note that a worker is to be emptied.
pub(super) fn draining_key(id: &PeerId) -> Vec<u8> {
    [b"draining/", id.as_bytes()].concat()
}

fn hash(key: &[u8]) -> u64 {
    let hash = blake3::hash(key);
    let first = hash.as_bytes().first_chunk::<8>();
    first.map_or(0, |bytes| u64::from_be_bytes(*bytes))
}
