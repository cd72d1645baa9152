//! Repositories with several writers: what their commits have to tell, and how what others wrote comes in.

use std::sync::Arc;

use bytes::Bytes;
use ues_data::Cid;
use ues_storage::Batch;

use crate::syntax::Did;

use super::Repositories;
use super::draft_commit::{Announce, Change, Changes, damaged};
use super::lane::{LaneState, Surroundings};
use super::layout::{Head, read_record_value, record_key};
use super::subjects::Link;
use super::write::{MAX_COMMIT_BLOCKS_BYTES, MAX_OPS, Record, RecordPath, WriteError};

/// A record's change that is about to be committed.
#[derive(Clone, Debug)]
pub struct LoggedChange {
    /// Where.
    pub path: RecordPath,
    /// The record that was there.
    pub before: Option<Cid>,
    /// The new record; `None` for a deletion.
    pub after: Option<(Cid, Bytes)>,
}

/// The log of operations from which the records of a repository with several writers follow.
///
/// Calls for one repository come one at a time, with nothing of it in flight.
pub trait OperationLog: Send + Sync {
    /// Whether a repository has several writers.
    fn keeps(&self, did: &Did) -> bool;

    /// Whether this device may write to it.
    fn may_write(&self, did: &Did) -> bool;

    /// Puts the operations of local changes into the batch of their commit.
    ///
    /// # Errors
    /// The commit is not made then.
    fn record(
        &self,
        did: &Did,
        changes: Vec<LoggedChange>,
        batch: &mut Batch,
    ) -> Result<(), WriteError>;

    /// A batch of the repository is durable, or failed: what was put into it counts from now on, or never did.
    fn settled(&self, did: &Did, durable: bool);
}

impl Repositories {
    /// Tells the log of operations, once, before anything is written.
    pub fn set_operation_log(&self, log: Arc<dyn OperationLog>) {
        let _ = self.around().operations.set(log);
    }

    /// Whether several devices hold a repository.
    pub fn is_shared(&self, did: &Did) -> bool {
        self.around().log_of(did).is_some()
    }

    /// Changes records as the log of operations wants them, together with whatever `decide` puts into the batch.
    ///
    /// `decide` gets the newest state, with nothing in flight, and answers the records that are to stand at some paths.
    /// What is so already makes no commit. Blobs that records refer to need not be here.
    ///
    /// # Errors
    /// Nothing is written then.
    pub async fn merge<F>(&self, did: &Did, decide: F) -> Result<(), WriteError>
    where
        F: FnOnce(&Head, &mut Batch) -> Result<Vec<(RecordPath, Option<Record>)>, WriteError>
            + Send,
    {
        let around = self.around().clone();
        self.exclusive(
            did,
            |state, batch| {
                let wanted = decide(&state.head, batch)?;
                state.recent.clear();
                state.put_records(&around, did, wanted, batch)
            },
            self.store().batch(),
        )
        .await
    }

    /// The CID of the record at a path, of a repository's number, in some state of the store; `None` also once the number
    /// is no repository's any more.
    pub fn record_at(
        &self,
        state: &ues_storage::Snapshot,
        owner: u64,
        path: &str,
    ) -> Result<Option<Cid>, ues_storage::StorageError> {
        let ks = &self.around().ks;
        let Some(did) = state.get(&ks.owners, owner.to_be_bytes())? else {
            return Ok(None);
        };
        let head = state.get(&ks.heads, &did)?;
        let Some(head) = head.and_then(|head| Head::decode(&head)) else {
            return Ok(None);
        };
        if head.owner != owner {
            return Ok(None);
        }
        let row = state.get(&ks.records, record_key(head.content, path))?;
        Ok(row.and_then(|row| Some(read_record_value(&row)?.0)))
    }
}

impl LaneState {
    fn put_records(
        &mut self,
        around: &Surroundings,
        did: &Did,
        wanted: Vec<(RecordPath, Option<Record>)>,
        batch: &mut Batch,
    ) -> Result<(), WriteError> {
        let mut changes = Changes::new();
        let mut bytes = 0;
        for (path, after) in wanted {
            let before = self
                .tree
                .get(&around.store, path.as_str().as_bytes())
                .map_err(|e| damaged(did, e))?;
            if before == after.as_ref().map(|record| record.cid) {
                continue;
            }
            bytes += after.as_ref().map_or(0, |record| record.bytes.len());
            let link = after
                .as_ref()
                .and_then(|record| Link::of(self.head.content, path.collection(), &record.bytes));
            let change = Change {
                before,
                after,
                link,
            };
            changes.insert(path, change);
        }
        if changes.is_empty() {
            return Ok(());
        }
        let announce = match changes.len() <= MAX_OPS && bytes <= MAX_COMMIT_BLOCKS_BYTES / 2 {
            true => Announce::Commit,
            false => Announce::Sync,
        };
        self.make_commit(around, did, &changes, announce, batch)
            .map(drop)
    }
}
