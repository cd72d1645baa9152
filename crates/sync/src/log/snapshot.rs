//! Snapshots: what a repository is at one clock, signed by the root, for devices that begin there.

use std::collections::BTreeMap;

use bytes::Bytes;
use ues_data::Cid;
use ues_repo::crypto::VerifyingKey;
use ues_repo::repo::write::RecordPath;
use ues_repo::syntax::Did;

use crate::clock::{ROOT, WriterId};
use crate::operation::{Action, Operation, SnapshotSums, SnapshotTip};

use super::admit::Refused;
use super::change::{Change, Hold};
use super::replica::{Replica, ReplicaError};
use super::roster::Tip;
use super::rows::{Rows, floor_key, operation_key, state_key};
use super::state::TargetState;

/// All that a new device needs besides the records themselves.
#[derive(Clone, Debug)]
pub struct Snapshot {
    /// All operations of the root; the last one is the snapshot's.
    pub root_chain: Vec<Bytes>,
    /// The last operation of each other writer, by writer.
    pub tips: Vec<Bytes>,
    /// Proofs against writers that contradicted themselves.
    pub proofs: Vec<[Bytes; 2]>,
    /// States by path, as they are stored.
    pub states: Vec<(RecordPath, Bytes)>,
    /// Root of the record tree.
    pub records: Cid,
}

/// A digest of states, given by path: BLAKE3 over each path's length (u32 BE), path, state's length (u32 BE), state.
pub fn states_digest<'a>(states: impl IntoIterator<Item = (&'a str, &'a [u8])>) -> [u8; 32] {
    let mut hasher = blake3::Hasher::new();
    let mut part = |bytes: &[u8]| {
        hasher.update(&u32::try_from(bytes.len()).unwrap_or(u32::MAX).to_be_bytes());
        hasher.update(bytes);
    };
    for (path, state) in states {
        part(path.as_bytes());
        part(state);
    }
    *hasher.finalize().as_bytes()
}

impl Snapshot {
    pub(super) fn sums(&self) -> Result<SnapshotSums, ReplicaError> {
        let tips = self.tips.iter().filter_map(|block| {
            let operation = Operation::decode(block.clone()).ok()?;
            Some(SnapshotTip {
                writer: operation.payload.writer,
                seq: operation.payload.seq,
                id: operation.id(),
            })
        });
        Ok(SnapshotSums {
            records: self.records,
            states: self.digest(),
            tips: tips.collect(),
        })
    }

    fn digest(&self) -> [u8; 32] {
        states_digest(
            self.states
                .iter()
                .map(|(path, state)| (path.as_str(), &state[..])),
        )
    }

    /// The blocks of records that the states name: contents that must come along, by what they are kept for.
    pub fn values(&self) -> Vec<(Hold, Cid)> {
        let mut out = Vec::new();
        for (_, state) in &self.states {
            let Some(state) = TargetState::decode(state) else {
                continue;
            };
            out.extend(
                state
                    .candidates
                    .iter()
                    .filter_map(|c| Some((Hold::operation(c.writer, c.seq), c.value?))),
            );
        }
        out
    }
}

impl Replica {
    pub(super) fn take_snapshot(
        &self,
        rows: &dyn Rows,
        records: Cid,
    ) -> Result<Snapshot, ReplicaError> {
        let mut snapshot = Snapshot {
            root_chain: Vec::new(),
            tips: Vec::new(),
            proofs: Vec::new(),
            states: Vec::new(),
            records,
        };
        let block = |writer, seq| {
            rows.get(&operation_key(writer, seq))?
                .ok_or_else(|| self.damaged(format!("operation {seq} of writer {writer} is gone")))
        };
        for (number, writer) in self.roster.iter() {
            if number == ROOT {
                for seq in 1..=writer.seq() {
                    snapshot.root_chain.push(block(ROOT, seq)?);
                }
            } else if writer.seq() > 0 {
                snapshot.tips.push(block(number, writer.seq())?);
            }
            snapshot.proofs.extend(self.proof(rows, number)?);
        }
        for state in self.states(rows) {
            let (path, state) = state?;
            snapshot.states.push((path, state.settled().encode()));
        }
        Ok(snapshot)
    }

    /// Begins a log at a snapshot. `blocks` gives the contents that [`Snapshot::values`] names. The caller checks that
    /// the records have the tree that the snapshot names.
    ///
    /// # Errors
    /// The inner one when the snapshot is not what the root signed.
    pub fn restore(
        repo: Did,
        root: &VerifyingKey,
        device: &VerifyingKey,
        snapshot: &Snapshot,
        blocks: &BTreeMap<Cid, Bytes>,
        rows: &dyn Rows,
    ) -> Result<Result<(Self, Change), Refused>, ReplicaError> {
        let (mut replica, mut change) = Self::begin(repo, root, device);
        let wrong = |what| Ok(Err(Refused::Action(what)));
        let mut last = None;
        for block in &snapshot.root_chain {
            let Ok(operation) = Operation::decode(block.clone()) else {
                return wrong("the root's chain has something that is no operation");
            };
            let payload = &operation.payload;
            let tip = replica.roster.get(ROOT).and_then(|root| root.tip.as_ref());
            let follows = payload.repo == replica.repo
                && payload.writer == ROOT
                && payload.seq == tip.map_or(1, |tip| tip.seq + 1)
                && payload.prev == tip.map(|tip| tip.id);
            if !follows || !operation.verify(root) {
                return wrong("the root's chain is broken");
            }
            if let Err(refused) = replica.check_action(&operation) {
                return Ok(Err(refused));
            }
            replica.append(rows, operation.clone(), None, &mut change)?;
            last = Some(operation);
        }
        let Some(Operation { payload, .. }) = last else {
            return wrong("the root's chain is empty");
        };
        let Action::Snapshot(sums) = &payload.action else {
            return wrong("the root's last operation is not a snapshot");
        };
        if sums.records != snapshot.records || sums.states != snapshot.digest() {
            return wrong("the states are not those that the root signed");
        }
        for block in &snapshot.tips {
            let Ok(operation) = Operation::decode(block.clone()) else {
                return wrong("a writer's last operation is none");
            };
            let (number, seq) = (operation.payload.writer, operation.payload.seq);
            let tip = SnapshotTip {
                writer: number,
                seq,
                id: operation.id(),
            };
            if !sums.tips.contains(&tip) || number == ROOT {
                return wrong("a writer's last operation is not the one that the root signed");
            }
            replica.set_tip(number, &operation, &mut change);
        }
        if snapshot.tips.len() != sums.tips.len() {
            return wrong("the last operation of a writer is missing");
        }
        for proof in &snapshot.proofs {
            if let Err(refused) = replica.admit_proof(rows, proof.clone(), &mut change)? {
                return Ok(Err(refused));
            }
        }
        if replica.is_ended() {
            return Ok(Err(Refused::Ended));
        }
        for (path, state) in &snapshot.states {
            let is_one = |state: TargetState| state.base.is_none() && state.merges.check();
            if !TargetState::decode(state).is_some_and(is_one) {
                return wrong("a state is none");
            }
            change.put(state_key(path.as_str()), state.clone());
            change.put(floor_key(path.as_str()), state.clone());
        }
        for (hold, cid) in snapshot.values() {
            match blocks.get(&cid) {
                Some(bytes) if ues_data::verify(&cid, bytes).is_ok() => {
                    change.hold(hold, cid, Some(bytes.clone()));
                }
                _ => return wrong("the block of a record is missing or another one"),
            }
        }
        replica.floor = payload.seq;
        replica.keep_meta(&mut change);
        Ok(Ok((replica, change)))
    }

    fn set_tip(&mut self, number: WriterId, operation: &Operation, change: &mut Change) {
        let payload = &operation.payload;
        if let Some(writer) = self.roster.get_mut(number) {
            writer.tip = Some(Tip {
                seq: payload.seq,
                id: operation.id(),
                time: payload.time,
                deps: payload.deps.clone(),
            });
        }
        self.time = self.time.max(payload.time);
        change.put(
            operation_key(number, payload.seq),
            operation.block().clone(),
        );
        self.keep_writer(number, change);
    }
}
