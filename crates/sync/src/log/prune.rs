//! Letting go of what a snapshot of the root has: operations, versions that nobody can ask for any more, and what stood
//! at a path before the log.

use std::collections::{BTreeMap, BTreeSet};

use bytes::Bytes;
use ues_data::Cid;
use ues_repo::repo::write::RecordPath;

use crate::clock::{ROOT, VectorClock, WriterId};
use crate::operation::{Operation, SnapshotSums};

use super::admit::Refused;
use super::change::{Change, Hold};
use super::replica::{Replica, ReplicaError};
use super::rows::{Rows, floor_key, floors, operation_key, path_of, state_key};
use super::snapshot::states_digest;
use super::state::TargetState;

type States = BTreeMap<RecordPath, TargetState>;

impl Replica {
    /// Makes a snapshot of the root, which is in the log, the beginning of the log. The operations before it go with
    /// [`sweep`](Self::sweep). `false` if it begins there or later already.
    ///
    /// # Errors
    /// The inner one when the states here are not those that the root signed.
    pub fn prune(
        &mut self,
        rows: &dyn Rows,
        root_seq: u64,
        change: &mut Change,
    ) -> Result<Result<bool, Refused>, ReplicaError> {
        if root_seq <= self.floor {
            return Ok(Ok(false));
        }
        let Some(sums) = self.snapshot_sums(rows, root_seq)? else {
            return Ok(Err(Refused::Action("there is no such snapshot in the log")));
        };
        let before = self.floor_states(rows)?;
        let after = self.states_at(rows, &before, &sums)?;
        let encoded: Vec<(RecordPath, Bytes)> = after
            .iter()
            .map(|(path, state)| (path.clone(), state.encode()))
            .collect();
        let digest = states_digest(encoded.iter().map(|(path, s)| (path.as_str(), &s[..])));
        if digest != sums.states {
            return Ok(Err(Refused::Action(
                "the states are not those that the root signed",
            )));
        }
        for path in before.keys().filter(|path| !after.contains_key(path)) {
            change.delete(floor_key(path.as_str()));
        }
        for (path, state) in encoded {
            change.put(floor_key(path.as_str()), state);
        }
        // What the old beginning kept and the new one does not.
        for (path, state) in &before {
            let kept = after.get(path);
            for (hold, cid) in holds(state) {
                if !kept.is_some_and(|kept| holds(kept).any(|kept| kept.0 == hold)) {
                    change.release(hold, cid);
                }
            }
        }
        self.let_bases_go(rows, &after, change)?;
        for tip in &sums.tips {
            if let Some(operation) = self.operation(rows, tip.writer, tip.seq)? {
                release(&operation, &after, change);
            }
        }
        self.floor = root_seq;
        self.keep_meta(change);
        Ok(Ok(true))
    }

    /// Drops operations before the snapshot where the log begins, at most `max`. Answers how many; 0 when none is left.
    pub fn sweep(
        &self,
        rows: &dyn Rows,
        max: usize,
        change: &mut Change,
    ) -> Result<usize, ReplicaError> {
        if self.floor == 0 {
            return Ok(0);
        }
        let mut dropped = 0;
        let mut states = States::new();
        for (number, last) in self.floor_clock(rows)?.iter() {
            // The root's chain says who may write: it stays.
            if number == ROOT {
                continue;
            }
            let (from, to) = (operation_key(number, 0), operation_key(number, last));
            for row in rows.range(&from, &to) {
                if dropped >= max {
                    return Ok(dropped);
                }
                let (key, block) = row?;
                let operation = self.decode(block)?;
                if let Some(path) = operation.payload.action.target()
                    && !states.contains_key(path)
                    && let Some(floor) = rows.get(&floor_key(path.as_str()))?
                {
                    states.insert(path.clone(), self.floor_state(path.as_str(), &floor)?);
                }
                release(&operation, &states, change);
                change.delete(key.to_vec());
                dropped += 1;
            }
        }
        Ok(dropped)
    }

    fn floor_state(&self, path: &str, row: &[u8]) -> Result<TargetState, ReplicaError> {
        TargetState::decode(row).ok_or_else(|| self.damaged(format!("the first state of {path}")))
    }

    fn floor_states(&self, rows: &dyn Rows) -> Result<States, ReplicaError> {
        let (from, to) = floors();
        let mut out = States::new();
        for row in rows.range(&from, &to) {
            let (key, row) = row?;
            let path = path_of(&key).and_then(|path| RecordPath::parse(path).ok());
            let path = path.ok_or_else(|| self.damaged("a state where it begins"))?;
            let state = self.floor_state(path.as_str(), &row)?;
            out.insert(path, state);
        }
        Ok(out)
    }

    /// The states that follow from what a snapshot counts.
    fn states_at(
        &self,
        rows: &dyn Rows,
        before: &States,
        sums: &SnapshotSums,
    ) -> Result<States, ReplicaError> {
        let counted = sums.clock();
        let mut out = States::new();
        for state in self.states(rows) {
            let (path, state) = state?;
            out.insert(path, state.settled());
        }
        // What was written to since is made again without that.
        let since = self.written_since(rows, &counted)?;
        for path in &since {
            let state = before.get(path).cloned().unwrap_or_default();
            out.insert(path.clone(), state);
        }
        if !since.is_empty() {
            self.replay(rows, &mut |operation| {
                let payload = &operation.payload;
                let target = payload.action.target();
                if counted.covers(payload.writer, payload.seq)
                    && let Some(path) = target.filter(|path| since.contains(*path))
                    && let Some(state) = out.get_mut(path)
                {
                    state.insert(operation, self.roster.author(payload.writer));
                }
            })?;
        }
        out.retain(|_, state| !state.seen.is_empty());
        Ok(out)
    }

    /// The targets of operations that a clock does not know.
    fn written_since(
        &self,
        rows: &dyn Rows,
        counted: &VectorClock,
    ) -> Result<BTreeSet<RecordPath>, ReplicaError> {
        let mut out = BTreeSet::new();
        for (number, writer) in self.roster.iter().filter(|(number, _)| *number != ROOT) {
            let from = operation_key(number, counted.get(number) + 1);
            let to = operation_key(number, writer.seq() + 1);
            if from < to {
                for row in rows.range(&from, &to) {
                    let operation = self.decode(row?.1)?;
                    out.extend(operation.payload.action.target().cloned());
                }
            }
        }
        Ok(out)
    }

    /// What stood at a path before the log is never read again once the path has an operation that a snapshot counts.
    fn let_bases_go(
        &self,
        rows: &dyn Rows,
        counted: &States,
        change: &mut Change,
    ) -> Result<(), ReplicaError> {
        for state in self.states(rows) {
            let (path, state) = state?;
            if let Some(base) = state.base.filter(|_| counted.contains_key(&path)) {
                change.release(Hold::base(&path), base);
                change.put(state_key(path.as_str()), state.settled().encode());
            }
        }
        Ok(())
    }
}

/// The blocks that a state names, by what they are kept for.
pub(super) fn holds(state: &TargetState) -> impl Iterator<Item = (Hold, Cid)> + '_ {
    let candidates = state.candidates.iter();
    candidates.filter_map(|c| Some((Hold::operation(c.writer, c.seq), c.value?)))
}

/// Lets the record of an operation go that is no longer in the log, unless the state that is left names it.
fn release(operation: &Operation, states: &States, change: &mut Change) {
    let payload = &operation.payload;
    let (Some(path), Some(value)) = (payload.action.target(), payload.action.value()) else {
        return;
    };
    let hold = Hold::operation(payload.writer, payload.seq);
    let named = |state: &TargetState| holds(state).any(|kept| kept.0 == hold);
    if !states.get(path).is_some_and(named) {
        change.release(hold, *value);
    }
}

/// What is kept of a log, by what it is kept for: for comparing two of them.
pub(super) fn all_holds(
    replica: &Replica,
    rows: &dyn Rows,
) -> Result<BTreeSet<(Hold, Cid)>, ReplicaError> {
    let mut out = BTreeSet::new();
    let (from, to) = super::rows::operations();
    for row in rows.range(&from, &to) {
        let operation = replica.decode(row?.1)?;
        let (writer, seq): (WriterId, u64) = (operation.payload.writer, operation.payload.seq);
        if let Some(value) = operation.payload.action.value() {
            out.insert((Hold::operation(writer, seq), *value));
        }
    }
    for state in replica.floor_states(rows)?.values() {
        out.extend(holds(state));
    }
    for state in replica.states(rows) {
        let (path, state) = state?;
        out.extend(state.base.map(|base| (Hold::base(&path), base)));
    }
    Ok(out)
}
