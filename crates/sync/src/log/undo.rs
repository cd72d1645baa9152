//! Taking back: what a writer signed beyond its limit counts for nothing, wherever it has got to.

use std::collections::{BTreeMap, BTreeSet};

use bytes::Bytes;
use ues_data::dag_cbor::Writer as Cbor;
use ues_repo::repo::write::RecordPath;

use crate::clock::{ROOT, VectorClock, WriterId};
use crate::operation::Operation;

use super::admit::Refused;
use super::change::{Change, Hold, Over};
use super::replica::{Replica, ReplicaError};
use super::roster::{Revocation, Tip};
use super::rows::{Rows, floor_key, fork_key, operation_key, state_key};
use super::state::TargetState;

impl Replica {
    /// Ends a writer's right to write.
    pub(super) fn revoke(
        &mut self,
        rows: &dyn Rows,
        number: WriterId,
        mut revocation: Revocation,
        change: &mut Change,
    ) -> Result<(), ReplicaError> {
        // A second revocation can only shorten.
        if let Some(earlier) = self.roster.get(number).and_then(|w| w.revoked) {
            revocation.seq = earlier.seq;
            revocation.cut = revocation.cut.min(earlier.cut);
        }
        revocation.reach = revocation.cut;
        if let Some(writer) = self.roster.get_mut(number) {
            writer.revoked = Some(revocation);
        }
        self.keep_writer(number, change);
        self.settle(rows, change)
    }

    /// Freezes a writer that signed two operations with one number. Both stay as the proof. The root's log stays as it
    /// is, and has ended.
    pub(super) fn freeze(
        &mut self,
        rows: &dyn Rows,
        one: &Operation,
        other: &Operation,
        change: &mut Change,
    ) -> Result<(), ReplicaError> {
        let (number, seq) = (one.payload.writer, one.payload.seq);
        let Some(writer) = self.roster.get_mut(number) else {
            return Ok(());
        };
        if writer.fork.is_some_and(|fork| fork <= seq) {
            return Ok(());
        }
        writer.fork = Some(seq);
        self.keep_writer(number, change);
        let (first, second) = if one.id() < other.id() {
            (one, other)
        } else {
            (other, one)
        };
        let mut w = Cbor::with_capacity(first.block().len() * 2 + 16);
        w.array(2);
        w.bytes(first.block());
        w.bytes(second.block());
        change.put(fork_key(number), w.into_bytes());
        match number {
            ROOT => Ok(()),
            _ => self.settle(rows, change),
        }
    }

    /// The proof that a writer signed two operations with one number.
    pub fn proof(
        &self,
        rows: &dyn Rows,
        writer: WriterId,
    ) -> Result<Option<[Bytes; 2]>, ReplicaError> {
        let Some(row) = rows.get(&fork_key(writer))? else {
            return Ok(None);
        };
        match ues_data::dag_cbor::decode(&row) {
            Ok(ues_data::Ipld::List(items)) => match <[_; 2]>::try_from(items) {
                Ok([ues_data::Ipld::Bytes(a), ues_data::Ipld::Bytes(b)]) => {
                    Ok(Some([a.into(), b.into()]))
                }
                _ => Err(self.damaged("a proof")),
            },
            _ => Err(self.damaged("a proof")),
        }
    }

    /// Takes in the proof that a writer signed two operations with one number.
    ///
    /// # Errors
    /// As [`admit`](Self::admit).
    pub fn admit_proof(
        &mut self,
        rows: &dyn Rows,
        proof: [Bytes; 2],
        change: &mut Change,
    ) -> Result<Result<WriterId, Refused>, ReplicaError> {
        let [Ok(one), Ok(other)] = proof.map(Operation::decode) else {
            return Ok(Err(Refused::Action("a proof is two operations")));
        };
        let (a, b) = (&one.payload, &other.payload);
        if a.repo != self.repo || b.repo != self.repo {
            return Ok(Err(Refused::OtherRepository));
        }
        if (a.writer, a.seq) != (b.writer, b.seq) || one.id() == other.id() {
            return Ok(Err(Refused::Action(
                "a proof is two operations of one writer with one number",
            )));
        }
        let Some(writer) = self.roster.get(a.writer) else {
            return Ok(Err(Refused::UnknownWriter(a.writer)));
        };
        if !one.verify(&writer.key) || !other.verify(&writer.key) {
            return Ok(Err(Refused::BadSignature(a.writer)));
        }
        let number = a.writer;
        self.freeze(rows, &one, &other, change)?;
        Ok(Ok(number))
    }

    /// Takes the operations of a writer beyond its limit out of the log, and makes the states that they were in anew.
    fn shorten(
        &mut self,
        rows: &dyn Rows,
        number: WriterId,
        change: &mut Change,
    ) -> Result<(), ReplicaError> {
        let Some(writer) = self.roster.get(number) else {
            return Ok(());
        };
        let (limit, last) = (writer.limit(), writer.seq());
        if last <= limit {
            return Ok(());
        }
        let mut paths = BTreeSet::new();
        let mut taken = Vec::new();
        {
            let over = Over { rows, change };
            for seq in limit + 1..=last {
                if let Some(operation) = self.operation(&over, number, seq)? {
                    paths.extend(operation.payload.action.target().cloned());
                    taken.push(operation);
                }
            }
        }
        for operation in &taken {
            let payload = &operation.payload;
            change.delete(operation_key(number, payload.seq));
            if let Some(value) = payload.action.value() {
                change.release(Hold::operation(number, payload.seq), *value);
            }
        }
        let tip = self.operation(&Over { rows, change }, number, limit)?;
        if let Some(writer) = self.roster.get_mut(number) {
            writer.tip = tip.map(|tip| Tip {
                seq: limit,
                id: tip.id(),
                time: tip.payload.time,
                deps: tip.payload.deps.clone(),
            });
        }
        self.keep_writer(number, change);
        self.rebuild(rows, &paths, change)
    }

    /// Makes the states of targets anew from the log.
    pub(super) fn rebuild(
        &self,
        rows: &dyn Rows,
        paths: &BTreeSet<RecordPath>,
        change: &mut Change,
    ) -> Result<(), ReplicaError> {
        let mut made: BTreeMap<&RecordPath, TargetState> = BTreeMap::new();
        {
            let over = Over { rows, change };
            for path in paths {
                let floor = over.get(&floor_key(path.as_str()))?;
                let state = match floor.map(|row| TargetState::decode(&row)) {
                    // All of it counts, because the root signed it.
                    Some(Some(floor)) => floor,
                    Some(None) => return Err(self.damaged(format!("the first state of {path}"))),
                    None => TargetState {
                        base: self.state(&over, path)?.and_then(|state| state.base),
                        ..TargetState::default()
                    },
                };
                made.insert(path, state);
            }
            self.replay(&over, &mut |operation| {
                let payload = &operation.payload;
                let target = payload.action.target();
                if let Some(state) = target.and_then(|path| made.get_mut(path)) {
                    state.insert(operation, self.roster.author(payload.writer));
                }
            })?;
        }
        for (path, state) in made {
            change.touched.insert(path.clone());
            if !state.seen.is_empty() {
                change.put(state_key(path.as_str()), state.encode());
                continue;
            }
            // As if there had never been an operation.
            change.delete(state_key(path.as_str()));
            if let Some(base) = state.base {
                // The record tree holds it from now on.
                change.release(Hold::base(path), base);
            }
            change.reverted.insert(path.clone(), state.base);
        }
        Ok(())
    }

    /// Finds the limits anew after a writer was revoked or frozen, and takes back what lies beyond them.
    ///
    /// The reach of one writer depends on how far others count, and so on their reach. It is the least that agrees with
    /// itself: counting begins at the cuts and goes up, so that revoked writers cannot vouch for each other in a circle.
    fn settle(&mut self, rows: &dyn Rows, change: &mut Change) -> Result<(), ReplicaError> {
        let revoked: Vec<(WriterId, Revocation)> = self
            .roster
            .iter()
            .filter_map(|(number, writer)| Some((number, writer.revoked?)))
            .collect();
        let mut reach: BTreeMap<WriterId, u64> = revoked.iter().map(|(n, r)| (*n, r.cut)).collect();
        let mut moved = true;
        while std::mem::take(&mut moved) {
            for (number, revocation) in &revoked {
                for (other, writer) in self.roster.iter() {
                    if other == *number || other == ROOT {
                        continue;
                    }
                    let limit = writer.limit_with(reach.get(&other).copied().unwrap_or(0));
                    let last = writer.seq().min(limit);
                    let over = Over { rows, change };
                    let deps = self.last_unaware(&over, other, last, revocation.seq)?;
                    let seen = deps.map_or(0, |deps| deps.get(*number));
                    if reach.get(number).is_some_and(|known| seen > *known) {
                        reach.insert(*number, seen);
                        moved = true;
                    }
                }
            }
        }
        for (number, reach) in reach {
            let writer = self.roster.get_mut(number);
            if let Some(r) = writer.and_then(|w| w.revoked.as_mut()) {
                r.reach = reach;
            }
            self.keep_writer(number, change);
        }
        let numbers: Vec<WriterId> = self.roster.iter().map(|(n, _)| n).collect();
        for number in numbers.into_iter().filter(|number| *number != ROOT) {
            self.shorten(rows, number, change)?;
        }
        Ok(())
    }

    /// What a writer had seen when it signed its last operation without knowing one of the root's.
    fn last_unaware(
        &self,
        rows: &dyn Rows,
        writer: WriterId,
        last: u64,
        root_seq: u64,
    ) -> Result<Option<VectorClock>, ReplicaError> {
        let (mut low, mut high) = (0, last);
        let mut found = None;
        while low < high {
            let middle = low + (high - low).div_ceil(2);
            match self.operation(rows, writer, middle)? {
                Some(op) if op.payload.deps.get(ROOT) < root_seq => {
                    low = middle;
                    found = Some(op.payload.deps);
                }
                Some(_) => high = middle - 1,
                // Before the log: it was signed before the root's operation as well.
                None => low = middle,
            }
        }
        Ok(found)
    }
}
