//! Catching up with a snapshot: a device that lacks what others no longer have begins again where they begin, and puts
//! on top what only it has.

use std::collections::{BTreeMap, BTreeSet};

use bytes::Bytes;
use ues_data::Cid;
use ues_repo::crypto::VerifyingKey;
use ues_storage::StorageError;

use crate::clock::ROOT;
use crate::operation::{Action, Operation};

use super::admit::{Admitted, Incoming, Refused};
use super::change::{Change, Over};
use super::prune::all_holds;
use super::replica::{Replica, ReplicaError};
use super::rows::{Rows, is_acknowledged, state_key};
use super::snapshot::Snapshot;
use super::state::TargetState;

/// Operations that are put on top at a time.
const PIECE: usize = 256;
/// A clock that nothing here is ahead of: what is in the log was let in before.
const ANY_TIME: u64 = u64::MAX >> 17;

/// The rows of a log that has not begun, over the records that stood before it.
struct Unwritten<'a> {
    old: &'a Replica,
    rows: &'a dyn Rows,
}

impl Rows for Unwritten<'_> {
    fn get(&self, _: &[u8]) -> Result<Option<Bytes>, StorageError> {
        Ok(None)
    }

    fn range<'a>(
        &'a self,
        _: &[u8],
        _: &[u8],
    ) -> Box<dyn Iterator<Item = Result<(Bytes, Bytes), StorageError>> + 'a> {
        Box::new(std::iter::empty())
    }

    fn record(&self, path: &str) -> Result<Option<Cid>, StorageError> {
        match self.rows.get(&state_key(path))? {
            Some(state) => Ok(TargetState::decode(&state).and_then(|state| state.base)),
            None => self.rows.record(path),
        }
    }
}

impl Replica {
    /// Takes in a snapshot that names operations which are not here. Answers `false` if all are: nothing changes then.
    ///
    /// What is here and the snapshot does not have stays: it is put on top, each operation checked again. `blocks` gives
    /// the contents that [`Snapshot::values`] names, `block` those that are here.
    ///
    /// # Errors
    /// The inner one when the snapshot is not what the root signed; nothing has changed then.
    pub fn rebase(
        &mut self,
        rows: &dyn Rows,
        snapshot: &Snapshot,
        blocks: &BTreeMap<Cid, Bytes>,
        block: &dyn Fn(&Cid) -> Result<Option<Bytes>, ReplicaError>,
        change: &mut Change,
    ) -> Result<Result<bool, Refused>, ReplicaError> {
        if self.is_ended() || !self.lacks(snapshot) {
            return Ok(Ok(false));
        }
        if let Some(outcome) = self.compare_roots(rows, snapshot, change)? {
            return Ok(outcome.map(|()| true));
        }
        let device = VerifyingKey::from_did_key(self.device_name());
        let root = self.roster.get(ROOT).map(|root| root.key.clone());
        let (Ok(device), Some(root)) = (device, root) else {
            return Err(self.damaged("its own key"));
        };
        let unwritten = Unwritten { old: self, rows };
        let repo = unwritten.old.repo.clone();
        let begun = Self::restore(repo, &root, &device, snapshot, blocks, &unwritten)?;
        let (mut fresh, mut written) = match begun {
            Ok(begun) => begun,
            Err(refused) => return Ok(Err(refused)),
        };
        self.put_on_top(rows, &unwritten, &mut fresh, block, &mut written)?;
        self.difference(rows, &fresh, written, change)?;
        *self = fresh;
        Ok(Ok(true))
    }

    /// Whether a snapshot names anything that is not here.
    fn lacks(&self, snapshot: &Snapshot) -> bool {
        let here = self.clock();
        let tips = snapshot.tips.iter().filter_map(|tip| {
            let payload = Operation::decode(tip.clone()).ok()?.payload;
            Some((payload.writer, payload.seq))
        });
        here.get(ROOT) < snapshot.root_chain.len() as u64
            || tips
                .into_iter()
                .any(|(writer, seq)| !here.covers(writer, seq))
    }

    /// Where the root's chain here and in the snapshot part, the log ends.
    fn compare_roots(
        &mut self,
        rows: &dyn Rows,
        snapshot: &Snapshot,
        change: &mut Change,
    ) -> Result<Option<Result<(), Refused>>, ReplicaError> {
        for (block, seq) in snapshot.root_chain.iter().zip(1..) {
            let Some(mine) = self.operation(rows, ROOT, seq)? else {
                return Ok(None);
            };
            let Ok(theirs) = Operation::decode(block.clone()) else {
                return Ok(Some(Err(Refused::Action(
                    "the root's chain has something that is no operation",
                ))));
            };
            if theirs.id() == mine.id() {
                continue;
            }
            let proof = [mine.block().clone(), theirs.block().clone()];
            let proved = self.admit_proof(rows, proof, change)?;
            return Ok(Some(proved.map(drop)));
        }
        Ok(None)
    }

    /// Gives a log that begins at a snapshot what only this one has.
    fn put_on_top(
        &self,
        rows: &dyn Rows,
        unwritten: &Unwritten<'_>,
        fresh: &mut Self,
        block: &dyn Fn(&Cid) -> Result<Option<Bytes>, ReplicaError>,
        written: &mut Change,
    ) -> Result<(), ReplicaError> {
        // What comes too early comes again, as it does in a session.
        loop {
            let before = fresh.summary();
            for (number, _) in self.roster.iter() {
                if let Some(proof) = self.proof(rows, number)? {
                    let _ = fresh.admit_proof(unwritten, proof, written)?;
                }
            }
            self.put_operations(rows, unwritten, fresh, block, written)?;
            for incoming in self.beyond.iter() {
                let _ = fresh.admit(unwritten, incoming.clone(), ANY_TIME, written)?;
            }
            if fresh.summary() == before {
                break;
            }
        }
        fresh.time = fresh.time.max(self.time);
        Ok(())
    }

    fn put_operations(
        &self,
        rows: &dyn Rows,
        unwritten: &Unwritten<'_>,
        fresh: &mut Self,
        block: &dyn Fn(&Cid) -> Result<Option<Bytes>, ReplicaError>,
        written: &mut Change,
    ) -> Result<(), ReplicaError> {
        let mut theirs = fresh.clock();
        loop {
            let missing = self.missing(rows, &mut theirs, PIECE)?;
            for outgoing in missing.operations {
                let operation = self.decode(outgoing.block)?;
                let value = match outgoing.value {
                    Some(cid) => {
                        let found = block(&cid)?;
                        Some(
                            found
                                .ok_or_else(|| self.damaged("the block of a record is missing"))?,
                        )
                    }
                    None => None,
                };
                let (number, prev) = (operation.payload.writer, operation.payload.prev);
                let incoming = Incoming { operation, value };
                let taken = fresh.admit(unwritten, incoming, ANY_TIME, written)?;
                if let Ok(Admitted::Diverged { seq, .. }) = taken {
                    let mine = self.operation(rows, number, seq)?;
                    let mine = mine.filter(|mine| Some(mine.id()) == prev);
                    let over = Over {
                        rows: unwritten,
                        change: written,
                    };
                    let theirs = fresh.operation(&over, number, seq)?;
                    if let (Some(mine), Some(theirs)) = (mine, theirs) {
                        let proof = [mine.block().clone(), theirs.block().clone()];
                        let _ = fresh.admit_proof(unwritten, proof, written)?;
                    }
                }
            }
            if !missing.more {
                return Ok(());
            }
        }
    }

    /// What has to be written for this log to become the other.
    fn difference(
        &self,
        rows: &dyn Rows,
        fresh: &Self,
        written: Change,
        change: &mut Change,
    ) -> Result<(), ReplicaError> {
        let mut paths = BTreeSet::new();
        for state in self.states(rows) {
            paths.insert(state?.0);
        }
        let unwritten = Unwritten { old: self, rows };
        let after = Over {
            rows: &unwritten,
            change: &written,
        };
        for state in fresh.states(&after) {
            paths.insert(state?.0);
        }
        for path in paths {
            let (old, new) = (self.state(rows, &path)?, fresh.state(&after, &path)?);
            if old == new {
                continue;
            }
            if new.is_none() {
                let base = old.and_then(|old| old.base);
                change.reverted.insert(path.clone(), base);
            }
            change.touched.insert(path);
        }
        let kept = all_holds(self, rows)?;
        let wanted: BTreeSet<_> = written
            .held
            .iter()
            .map(|(hold, cid, _)| (*hold, *cid))
            .collect();
        change.released.extend(kept.difference(&wanted).copied());
        change.held.extend(written.held);
        for row in rows.range(&[0], &[u8::MAX]) {
            let (key, _) = row?;
            let stays = matches!(written.rows.get(&key[..]), Some(Some(_)));
            if !stays && !is_acknowledged(&key) {
                change.delete(key.to_vec());
            }
        }
        for (key, value) in written.rows {
            if let Some(value) = value {
                change.put(key, value);
            }
        }
        Ok(())
    }
}

impl Snapshot {
    /// Number of the root's operation that signs it.
    pub fn root_seq(&self) -> Option<u64> {
        let last = self.root_chain.last()?;
        let payload = Operation::decode(last.clone()).ok()?.payload;
        matches!(payload.action, Action::Snapshot(_)).then_some(payload.seq)
    }
}
