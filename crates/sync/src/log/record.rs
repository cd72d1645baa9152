//! Operations of this device: what a local write becomes, and what only the root may do.

use bytes::Bytes;
use ues_data::Cid;
use ues_repo::crypto::{SigningKey, VerifyingKey};
use ues_repo::repo::write::RecordPath;

use crate::clock::{ROOT, WriterId};
use crate::operation::{Action, Operation, Payload};

use super::change::Change;
use super::replica::{Replica, ReplicaError};
use super::rows::Rows;
use super::snapshot::Snapshot;

/// A record's change that is about to be committed here.
#[derive(Clone, Debug)]
pub struct LocalChange {
    /// Where.
    pub path: RecordPath,
    /// Whether there was a record.
    pub existed: bool,
    /// The new record; `None` for a deletion.
    pub after: Option<(Cid, Bytes)>,
}

impl Replica {
    /// Makes operations of local changes, in their order.
    ///
    /// # Errors
    /// [`ReplicaError::NotAWriter`] if this device may not write.
    pub fn record(
        &mut self,
        rows: &dyn Rows,
        changes: Vec<LocalChange>,
        now_ms: u64,
        key: &SigningKey,
        out: &mut Change,
    ) -> Result<(), ReplicaError> {
        let not_a_writer = || ReplicaError::NotAWriter(self.repo.clone());
        let me = self.me().ok_or_else(not_a_writer)?;
        if *self.roster.author(me) != *key.did_key() {
            return Err(not_a_writer());
        }
        for change in changes {
            let (action, value) = match change.after {
                Some((value, bytes)) => (
                    Action::Put {
                        path: change.path,
                        value,
                        update: change.existed,
                    },
                    Some(bytes),
                ),
                None => (Action::Delete { path: change.path }, None),
            };
            let operation = self.next(me, action, now_ms, key);
            self.append(rows, operation, value, out)?;
        }
        Ok(())
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
