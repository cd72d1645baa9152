//! Operations of this device: what a local write becomes, and what only the root may do.

use bytes::Bytes;
use ues_data::Cid;
use ues_repo::crypto::{SigningKey, VerifyingKey};
use ues_repo::repo::write::RecordPath;

use crate::clock::{ROOT, WriterId};
use crate::crdt::{Dot, Origin};
use crate::merge::{Before, FieldRule, Merge, edits_of};
use crate::operation::{Action, Operation, Payload};

use super::change::{Change, Over};
use super::replica::{Blocks, Replica, ReplicaError};
use super::rows::Rows;
use super::snapshot::Snapshot;

/// A record's change that is about to be committed here.
#[derive(Clone, Debug)]
pub struct LocalChange {
    /// Where.
    pub path: RecordPath,
    /// The record that was there.
    pub before: Option<Cid>,
    /// The new record; `None` for a deletion.
    pub after: Option<(Cid, Bytes)>,
    /// The merge rules that the collection's lexicon declares, by field.
    pub rules: Vec<FieldRule>,
}

impl Replica {
    /// Makes operations of local changes, in their order. `blocks` gives the records that were there.
    ///
    /// # Errors
    /// [`ReplicaError::NotAWriter`] if this device may not write.
    pub fn record(
        &mut self,
        rows: &dyn Rows,
        changes: Vec<LocalChange>,
        blocks: Blocks<'_>,
        now_ms: u64,
        key: &SigningKey,
        out: &mut Change,
    ) -> Result<(), ReplicaError> {
        let not_a_writer = || ReplicaError::NotAWriter(self.repo.clone());
        let me = self.me().ok_or_else(not_a_writer)?;
        if *self.roster.author(me) != *key.did_key() {
            return Err(not_a_writer());
        }
        for local in changes {
            let merge = self.edits(&Over { rows, change: out }, &local, blocks, me, now_ms)?;
            let (path, merge) = (local.path, merge.map(Box::new));
            let (action, value) = match local.after {
                Some((value, bytes)) => (
                    Action::Put {
                        path,
                        value,
                        update: local.before.is_some(),
                        merge,
                    },
                    Some(bytes),
                ),
                None => (Action::Delete { path, merge }, None),
            };
            let operation = self.next(me, action, now_ms, key);
            self.append(rows, operation, value, out)?;
        }
        Ok(())
    }

    /// What a local change says about merging.
    fn edits(
        &self,
        rows: &dyn Rows,
        local: &LocalChange,
        blocks: Blocks<'_>,
        me: WriterId,
        now_ms: u64,
    ) -> Result<Option<Merge>, ReplicaError> {
        let state = self.state(rows, &local.path)?.unwrap_or_default();
        if state.merges.is_empty() && local.rules.is_empty() {
            return Ok(None);
        }
        let record =
            match (&local.before, &local.after) {
                (Some(before), Some(_)) => Some(blocks(before)?.ok_or_else(|| {
                    self.damaged(format!("the block of {} is missing", local.path))
                })?),
                _ => None,
            };
        let before = Before {
            merges: &state.merges,
            lineage: state.lineage(|writer| self.roster.author(writer)),
            record: record.as_deref(),
            rules: &local.rules,
        };
        let origin = Origin {
            dot: Dot::new(me, self.clock().get(me).saturating_add(1), 0),
            time: self.time.tick(now_ms).0,
            author: self.roster.author(me).into(),
        };
        let after = local.after.as_ref().map(|(_, bytes)| &bytes[..]);
        Ok(edits_of(&before, after, &origin))
    }

    /// Lets a key write. Answers its number.
    ///
    /// # Errors
    /// [`ReplicaError::KeyKind`] for a key that is not Ed25519.
    pub fn grant(
        &mut self,
        rows: &dyn Rows,
        device: &VerifyingKey,
        name: &str,
        now_ms: u64,
        root: &SigningKey,
        out: &mut Change,
    ) -> Result<WriterId, ReplicaError> {
        let did_key = device.did_key();
        if Self::device_key(&did_key).is_none() {
            return Err(ReplicaError::KeyKind("another kind"));
        }
        if let Some(number) = self.roster.find(&did_key) {
            return Ok(number);
        }
        let action = Action::Grant {
            key: did_key.into(),
            name: name.into(),
        };
        let operation = self.next(ROOT, action, now_ms, root);
        let number = WriterId::try_from(operation.payload.seq)
            .map_err(|_| self.damaged("the root has no numbers for writers left"))?;
        self.append(rows, operation, None, out)?;
        Ok(number)
    }

    /// Ends a writer's right to write: what is here of it stays, what nobody else has seen goes.
    pub fn revoke_writer(
        &mut self,
        rows: &dyn Rows,
        writer: WriterId,
        now_ms: u64,
        root: &SigningKey,
        out: &mut Change,
    ) -> Result<(), ReplicaError> {
        let Some(cut) = self.roster.get(writer).map(|w| w.seq()) else {
            return Err(ReplicaError::NotAWriter(self.repo.clone()));
        };
        let operation = self.next(ROOT, Action::Revoke { writer, cut }, now_ms, root);
        self.append(rows, operation, None, out)
    }

    /// Signs what the repository is now, so that a new device can begin there.
    pub fn sign_snapshot(
        &mut self,
        rows: &dyn Rows,
        records: Cid,
        now_ms: u64,
        root: &SigningKey,
        out: &mut Change,
    ) -> Result<Snapshot, ReplicaError> {
        let mut snapshot =
            self.take_snapshot(&super::change::Over { rows, change: out }, records)?;
        let action = Action::Snapshot(snapshot.sums()?);
        let operation = self.next(ROOT, action, now_ms, root);
        snapshot.root_chain.push(operation.block().clone());
        self.append(rows, operation, None, out)?;
        Ok(snapshot)
    }

    fn next(&self, writer: WriterId, action: Action, now_ms: u64, key: &SigningKey) -> Operation {
        let tip = self.roster.get(writer).and_then(|w| w.tip.as_ref());
        let mut deps = self.clock();
        let seq = deps.increment(writer);
        // What was seen and taken back since stays seen.
        if let Some(tip) = tip {
            deps.merge(&tip.deps);
        }
        deps.set(writer, 0);
        let payload = Payload {
            repo: self.repo.clone(),
            writer,
            seq,
            prev: tip.map(|tip| tip.id),
            deps,
            time: self.time.tick(now_ms),
            action,
        };
        payload.sign(key)
    }
}
