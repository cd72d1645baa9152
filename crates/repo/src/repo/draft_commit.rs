//! From checked changes to a signed commit: the tree, the batch, and the event.

use std::collections::BTreeMap;

use bytes::Bytes;
use ues_data::Cid;
use ues_storage::Batch;

use crate::syntax::{Did, Tid};

use super::blobs::RefChanges;
use super::commit::Commit;
use super::event::{Action, CommitEvent, LogEvent, RepoOp};
use super::export::commit_car;
use super::lane::{LaneState, Surroundings};
use super::layout::{head_key, node_ref, record_key, record_ref, record_value};
use super::subjects::{Link, is_linking};
use super::usage::Growth;
use super::write::{CommitMeta, MAX_COMMIT_BLOCKS_BYTES, Record, RecordPath, WriteError};

/// A record's change in the commit being made.
pub(super) struct Change {
    /// The record before.
    pub before: Option<Cid>,
    /// The record after.
    pub after: Option<Record>,
    /// What the record after refers to.
    pub link: Option<Link>,
}

/// Changes of one commit, by path.
pub(super) type Changes = BTreeMap<RecordPath, Change>;

/// How a commit is told to those who follow.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Announce {
    /// With all that it changes.
    Commit,
    /// As a new state that they have to fetch: more has changed than an event may carry.
    Sync,
}

/// A failure that leaves the lane's state in doubt becomes this.
pub(super) fn damaged(did: &Did, error: impl std::fmt::Display) -> WriteError {
    WriteError::Damaged {
        did: did.clone(),
        reason: error.to_string(),
    }
}

impl LaneState {
    /// Applies the changes to the tree, signs the new root, and puts all that must be stored into
    /// `batch`. The state is the new one afterwards; on an error it is in doubt and must be
    /// dropped.
    pub fn make_commit(
        &mut self,
        around: &Surroundings,
        did: &Did,
        changes: &Changes,
        announce: Announce,
        batch: &mut Batch,
    ) -> Result<CommitMeta, WriteError> {
        let content = self.head.content;
        let growth = Growth::of(around, changes);
        self.usage
            .grow(growth.map_err(|e| WriteError::Storage(e.to_string()))?);
        for (path, change) in changes {
            let key = path.as_str().as_bytes();
            match &change.after {
                Some(record) => self.tree.put(&around.store, key, &record.cid),
                None => self.tree.delete(&around.store, key),
            }
            .map_err(|e| damaged(did, e))?;
        }
        let flush = self.tree.flush();
        let rev = around.clock.tick_after(&self.head.rev);
        let commit = Commit::sign(did, flush.root, &rev, &self.key);
        let (cid, bytes) = commit.encode();

        let car = match announce {
            Announce::Commit => self.event_car(around, did, cid, &bytes, &flush.new, changes)?,
            Announce::Sync => commit_car(&cid, &bytes),
        };
        if car.len() > MAX_COMMIT_BLOCKS_BYTES {
            return Err(WriteError::TooLarge {
                what: "the commit",
                bytes: car.len(),
                limit: MAX_COMMIT_BLOCKS_BYTES,
            });
        }

        batch.put_block_marked(cid.hash(), bytes, node_ref(content), rev.number());
        batch.release_block(self.head.commit.hash(), node_ref(content));
        for (cid, bytes) in flush.new {
            batch.put_block_marked(cid.hash(), bytes, node_ref(content), rev.number());
        }
        for cid in &flush.retired {
            batch.release_block(cid.hash(), node_ref(content));
        }
        let mut refs = RefChanges::default();
        let mut ops = Vec::with_capacity(changes.len());
        for (path, change) in changes {
            self.relink(around, did, path, change, batch)?;
            if let Some(before) = &change.before {
                batch.release_block(before.hash(), record_ref(content, path.as_str()));
                if self.has_blobs {
                    refs.release(around, content, path.as_str())?;
                }
            }
            let row = record_key(content, path.as_str());
            match &change.after {
                Some(record) => {
                    batch.put_block(
                        record.cid.hash(),
                        record.bytes.clone(),
                        record_ref(content, path.as_str()),
                    );
                    batch.put(&around.ks.records, row, record_value(&record.cid, &rev));
                    refs.refer(path.as_str(), &record.blobs);
                }
                None => batch.delete(&around.ks.records, row),
            }
            ops.push(RepoOp {
                action: match (&change.before, &change.after) {
                    (None, _) => Action::Create,
                    (Some(_), Some(_)) => Action::Update,
                    (Some(_), None) => Action::Delete,
                },
                path: path.as_str().to_owned(),
                cid: change.after.as_ref().map(|r| r.cid),
                prev: change.before,
            });
        }
        if !refs.is_empty() {
            refs.write(around, self.head.numbers(), &rev, &mut self.usage, batch)?;
            self.has_blobs = true;
        }
        let event = match announce {
            Announce::Commit => LogEvent::Commit(Box::new(CommitEvent {
                repo: did.clone(),
                commit: cid,
                rev,
                since: Some(self.head.rev),
                prev_data: Some(self.head.data),
                ops,
                blocks: car,
                time: around.now(),
            })),
            Announce::Sync => LogEvent::Sync {
                did: did.clone(),
                rev,
                blocks: car,
                time: around.now(),
            },
        };
        batch.append_event(event.encode());
        self.usage.put(around, self.head.owner, batch);
        self.head.commit = cid;
        self.head.data = flush.root;
        self.head.rev = rev;
        batch.put(&around.ks.heads, head_key(did), self.head.encode());
        Ok(CommitMeta { cid, rev })
    }

    /// Moves the row that tells what the record at a path refers to.
    fn relink(
        &mut self,
        around: &Surroundings,
        did: &Did,
        path: &RecordPath,
        change: &Change,
        batch: &mut Batch,
    ) -> Result<(), WriteError> {
        let (collection, rkey) = (path.collection(), path.rkey());
        if !is_linking(collection) {
            return Ok(());
        }
        let before = match &change.before {
            Some(cid) => {
                let block = around.store.block(cid.hash());
                let block = block.map_err(|e| WriteError::Storage(e.to_string()))?;
                let block = block.ok_or_else(|| damaged(did, format!("no block {cid}")))?;
                Link::of(self.head.content, collection, &block)
            }
            None => None,
        };
        if before != change.link {
            if let Some(link) = before {
                self.recent.delete(around, link.row(rkey), batch);
            }
            if let Some(link) = change.link {
                self.recent.put(around, link.row(rkey), batch);
            }
        }
        Ok(())
    }

    /// The blocks of a commit event: the commit, the tree nodes that let a stranger invert the
    /// operations (Sync 1.1), and the new records.
    fn event_car(
        &self,
        around: &Surroundings,
        did: &Did,
        commit: Cid,
        commit_bytes: &Bytes,
        new: &[(Cid, Bytes)],
        changes: &Changes,
    ) -> Result<Bytes, WriteError> {
        let keys: Vec<&[u8]> = changes.keys().map(|p| p.as_str().as_bytes()).collect();
        let covering = self
            .tree
            .covering_proof(&around.store, &keys)
            .map_err(|e| damaged(did, e))?;
        let records = changes.values().filter_map(|c| c.after.as_ref());
        let size: usize = new.iter().map(|(_, b)| b.len() + 40).sum::<usize>()
            + records.clone().map(|r| r.bytes.len() + 40).sum::<usize>()
            + covering.len() * 400
            + 400;
        let mut car = Vec::with_capacity(size);
        ues_data::car::write_header(&[commit], &mut car);
        ues_data::car::write_block(&commit, commit_bytes, &mut car);
        for (cid, bytes) in new {
            ues_data::car::write_block(cid, bytes, &mut car);
        }
        for (cid, bytes) in &covering {
            if !new.iter().any(|(n, _)| n == cid) {
                ues_data::car::write_block(cid, bytes, &mut car);
            }
        }
        for record in records {
            ues_data::car::write_block(&record.cid, &record.bytes, &mut car);
        }
        Ok(car.into())
    }
}

/// The first commit of a repository, with an empty tree: its parts for the batch.
pub(super) fn first_commit(
    around: &Surroundings,
    did: &Did,
    owner: u64,
    key: &crate::crypto::SigningKey,
    batch: &mut Batch,
) -> FirstCommit {
    let mut tree = ues_data::mst::Tree::empty();
    let flush = tree.flush();
    let rev: Tid = around.clock.tick();
    let commit = Commit::sign(did, flush.root, &rev, key);
    let (cid, bytes) = commit.encode();
    let sync_car = commit_car(&cid, &bytes);
    let mut car = sync_car.to_vec();
    batch.put_block_marked(cid.hash(), bytes, node_ref(owner), rev.number());
    for (cid, bytes) in &flush.new {
        ues_data::car::write_block(cid, bytes, &mut car);
        batch.put_block_marked(cid.hash(), bytes, node_ref(owner), rev.number());
    }
    FirstCommit {
        meta: CommitMeta { cid, rev },
        data: flush.root,
        commit_car: car.into(),
        sync_car,
    }
}

/// What a new repository announces.
pub(super) struct FirstCommit {
    /// The commit.
    pub meta: CommitMeta,
    /// Root of the empty tree.
    pub data: Cid,
    /// Blocks of the `#commit` event.
    pub commit_car: Bytes,
    /// Blocks of the `#sync` event.
    pub sync_car: Bytes,
}
