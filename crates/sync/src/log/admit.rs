//! Taking in the operations of others: each is checked whole before anything of it is kept.

use bytes::Bytes;
use ues_repo::repo::write::MAX_RECORD_BYTES;

use crate::clock::{MAX_WRITERS, ROOT, WriterId};
use crate::hybrid_time::HybridTime;
use crate::operation::{Action, Operation};

use super::change::{Change, Hold, Over};
use super::replica::{Replica, ReplicaError};
use super::roster::{Revocation, Tip, Writer};
use super::rows::{Rows, operation_key};
use super::state::{Candidate, TargetState};

/// Most operations behind the cuts of revoked writers that are kept in memory.
const MAX_BEYOND: usize = 1024;

/// An operation, and the record that it brings.
#[derive(Clone, Debug)]
pub struct Incoming {
    /// The operation.
    pub operation: Operation,
    /// The record's block, if the operation has one.
    pub value: Option<Bytes>,
}

/// Why an operation was not taken in. Nothing of it is kept.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Refused {
    /// For another repository.
    #[error("it is for another repository")]
    OtherRepository,
    /// Nobody granted the writer.
    #[error("writer {0} is not known")]
    UnknownWriter(WriterId),
    /// The signature is not that of the writer.
    #[error("its signature is not that of writer {0}")]
    BadSignature(WriterId),
    /// An operation before it is missing.
    #[error("operation {expected} of writer {writer} must come first, found {found}")]
    Gap {
        /// Who.
        writer: WriterId,
        /// What should have come.
        expected: u64,
        /// What came.
        found: u64,
    },
    /// What it builds on is missing.
    #[error("it builds on operation {seq} of writer {writer}, which is not here")]
    Missing {
        /// Who.
        writer: WriterId,
        /// Which.
        seq: u64,
    },
    /// It contradicts what its own writer said before.
    #[error("it is out of order: {0}")]
    Order(&'static str),
    /// Its time is too far ahead; it may come again later.
    #[error("its time is {0} ms ahead of this clock")]
    Ahead(u64),
    /// Its writer was revoked, or contradicted itself, before it.
    #[error("writer {writer} counts up to operation {limit} only")]
    BeyondLimit {
        /// Who.
        writer: WriterId,
        /// How far.
        limit: u64,
    },
    /// The record's block is missing, too large, or another one.
    #[error("its record is not what it says: {0}")]
    Value(&'static str),
    /// What it does makes no sense.
    #[error("{0}")]
    Action(&'static str),
}

/// What became of an operation.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Admitted {
    /// It is in the log now.
    New,
    /// It was there.
    Known,
    /// Its writer signed another one with the same number: it counts no further than before that.
    Fork(WriterId),
    /// Its writer's chain here is another one, so that it forked at this number or before.
    Diverged(WriterId),
    /// It waits in memory until it turns out whether another writer had seen it.
    Beyond,
}

impl Replica {
    /// Takes in an operation. What must be written is added to `change`.
    ///
    /// # Errors
    /// The outer error when the store fails; the replica is in doubt then. The inner one says why the operation was
    /// refused; nothing has changed then.
    pub fn admit(
        &mut self,
        rows: &dyn Rows,
        incoming: Incoming,
        now_ms: u64,
        change: &mut Change,
    ) -> Result<Result<Admitted, Refused>, ReplicaError> {
        let payload = &incoming.operation.payload;
        let number = payload.writer;
        if payload.repo != self.repo {
            return Ok(Err(Refused::OtherRepository));
        }
        let Some(writer) = self.roster.get(number) else {
            return Ok(Err(Refused::UnknownWriter(number)));
        };
        if payload.seq <= writer.seq() {
            return self.admit_again(rows, &incoming.operation, change);
        }
        if let Err(refused) = check_value(&incoming) {
            return Ok(Err(refused));
        }
        if payload.seq > writer.limit() {
            return Ok(self.put_beyond(incoming));
        }
        let expected = writer.seq() + 1;
        if payload.seq != expected {
            return Ok(Err(Refused::Gap {
                writer: number,
                expected,
                found: payload.seq,
            }));
        }
        if !incoming.operation.verify(&writer.key) {
            return Ok(Err(Refused::BadSignature(number)));
        }
        if payload.prev != writer.tip.as_ref().map(|tip| tip.id) {
            return Ok(Ok(Admitted::Diverged(number)));
        }
        if let Err(refused) = check_order(&incoming.operation, writer, now_ms) {
            return Ok(Err(refused));
        }
        match self.reach_snapshot(rows, &incoming.operation, now_ms, change)? {
            Ok(None) => {}
            Ok(Some(forked)) => return Ok(Ok(Admitted::Diverged(forked))),
            Err(refused) => return Ok(Err(refused)),
        }
        if let Err(refused) = self.reach_deps(rows, &incoming.operation, now_ms, change)? {
            return Ok(Err(refused));
        }
        if let Err(refused) = self.check_action(&incoming.operation) {
            return Ok(Err(refused));
        }
        self.append(rows, incoming.operation, incoming.value, change)?;
        Ok(Ok(Admitted::New))
    }

    /// An operation whose number is in the log already.
    fn admit_again(
        &mut self,
        rows: &dyn Rows,
        operation: &Operation,
        change: &mut Change,
    ) -> Result<Result<Admitted, Refused>, ReplicaError> {
        let number = operation.payload.writer;
        let mine = self.operation(&Over { rows, change }, number, operation.payload.seq)?;
        // What is no longer in the log cannot be compared.
        let Some(mine) = mine.filter(|mine| mine.id() != operation.id()) else {
            return Ok(Ok(Admitted::Known));
        };
        let signed = self.roster.get(number);
        if !signed.is_some_and(|writer| operation.verify(&writer.key)) {
            return Ok(Err(Refused::BadSignature(number)));
        }
        self.freeze(rows, &mine, operation, change)?;
        Ok(Ok(Admitted::Fork(number)))
    }

    fn put_beyond(&mut self, incoming: Incoming) -> Result<Admitted, Refused> {
        let payload = &incoming.operation.payload;
        let number = payload.writer;
        let writer = self.roster.get(number);
        let Some(writer) = writer else {
            return Err(Refused::UnknownWriter(number));
        };
        if self.beyond.len() >= MAX_BEYOND {
            return Err(Refused::BeyondLimit {
                writer: number,
                limit: writer.limit(),
            });
        }
        if !incoming.operation.verify(&writer.key) {
            return Err(Refused::BadSignature(number));
        }
        self.beyond.insert((number, payload.seq), incoming);
        Ok(Admitted::Beyond)
    }

    /// Sees to it that all that an operation builds on is in the log.
    fn reach_deps(
        &mut self,
        rows: &dyn Rows,
        operation: &Operation,
        now_ms: u64,
        change: &mut Change,
    ) -> Result<Result<(), Refused>, ReplicaError> {
        let payload = &operation.payload;
        for (number, seq) in payload.deps.iter() {
            let Some(writer) = self.roster.get(number) else {
                return Ok(Err(Refused::Missing {
                    writer: number,
                    seq,
                }));
            };
            // What a writer signed from its fork on is void for everyone.
            let needed = match writer.fork {
                Some(_) => seq.min(writer.limit()),
                None => seq,
            };
            if writer.seq() >= needed {
                continue;
            }
            let missing = Refused::Missing {
                writer: number,
                seq,
            };
            let unseen = writer
                .revoked
                .filter(|r| payload.deps.get(ROOT) < r.seq && payload.writer != ROOT);
            let all_there =
                (writer.seq() + 1..=needed).all(|seq| self.beyond.contains_key(&(number, seq)));
            if unseen.is_none() || !all_there {
                return Ok(Err(missing));
            }
            if let Some(revoked) = self.roster.get_mut(number).and_then(|w| w.revoked.as_mut()) {
                revoked.reach = needed;
            }
            if let Err(refused) = self.admit_beyond(rows, number, needed, now_ms, change)? {
                return Ok(Err(refused));
            }
        }
        Ok(Ok(()))
    }

    /// Takes in what waited behind a limit that has moved to `needed`.
    fn admit_beyond(
        &mut self,
        rows: &dyn Rows,
        number: WriterId,
        needed: u64,
        now_ms: u64,
        change: &mut Change,
    ) -> Result<Result<(), Refused>, ReplicaError> {
        self.keep_writer(number, change);
        let first = self.roster.get(number).map_or(0, Writer::seq) + 1;
        for seq in first..=needed {
            if let Some(seen) = self.beyond.remove(&(number, seq))
                && let Err(refused) = self.admit(rows, seen, now_ms, change)?
            {
                return Ok(Err(refused));
            }
        }
        if self.roster.get(number).map_or(0, Writer::seq) < needed {
            return Ok(Err(Refused::Missing {
                writer: number,
                seq: needed,
            }));
        }
        Ok(Ok(()))
    }

    /// Sees to it that the log has the operations that a snapshot names: they count from then on. Answers a writer
    /// whose chain here is another one.
    fn reach_snapshot(
        &mut self,
        rows: &dyn Rows,
        operation: &Operation,
        now_ms: u64,
        change: &mut Change,
    ) -> Result<Result<Option<WriterId>, Refused>, ReplicaError> {
        let Action::Snapshot(sums) = &operation.payload.action else {
            return Ok(Ok(None));
        };
        for tip in &sums.tips {
            let Some(writer) = self.roster.get(tip.writer) else {
                return Ok(Err(Refused::UnknownWriter(tip.writer)));
            };
            if writer.seq() < tip.seq {
                let last = self.beyond.get(&(tip.writer, tip.seq));
                let all_there = (writer.seq() + 1..=tip.seq)
                    .all(|seq| self.beyond.contains_key(&(tip.writer, seq)));
                if !all_there || last.is_none_or(|last| last.operation.id() != tip.id) {
                    return Ok(Err(Refused::Missing {
                        writer: tip.writer,
                        seq: tip.seq,
                    }));
                }
                self.pin(tip.writer, tip.seq);
                if let Err(refused) =
                    self.admit_beyond(rows, tip.writer, tip.seq, now_ms, change)?
                {
                    return Ok(Err(refused));
                }
            }
            let mine = self.operation(&Over { rows, change }, tip.writer, tip.seq)?;
            if mine.is_some_and(|mine| mine.id() != tip.id) {
                return Ok(Ok(Some(tip.writer)));
            }
        }
        Ok(Ok(None))
    }

    fn pin(&mut self, number: WriterId, seq: u64) {
        if let Some(writer) = self.roster.get_mut(number) {
            writer.pinned = writer.pinned.max(seq);
        }
    }

    pub(super) fn check_action(&self, operation: &Operation) -> Result<(), Refused> {
        match &operation.payload.action {
            Action::Grant { key, .. } => {
                if Self::device_key(key).is_none() {
                    return Err(Refused::Action("a granted key must be an Ed25519 key"));
                }
                if self.roster.iter().count() >= MAX_WRITERS {
                    return Err(Refused::Action("there are too many writers"));
                }
                WriterId::try_from(operation.payload.seq)
                    .map(drop)
                    .map_err(|_| Refused::Action("the root has no numbers for writers left"))
            }
            Action::Revoke { writer, .. } if *writer == ROOT => {
                Err(Refused::Action("the root cannot be revoked"))
            }
            Action::Revoke { writer, .. } if self.roster.get(*writer).is_none() => {
                Err(Refused::UnknownWriter(*writer))
            }
            _ => Ok(()),
        }
    }

    /// Puts a checked operation at the end of its writer's chain.
    pub(super) fn append(
        &mut self,
        rows: &dyn Rows,
        operation: Operation,
        value: Option<Bytes>,
        change: &mut Change,
    ) -> Result<(), ReplicaError> {
        let payload = &operation.payload;
        let number = payload.writer;
        change.put(
            operation_key(number, payload.seq),
            operation.block().clone(),
        );
        if let Some(writer) = self.roster.get_mut(number) {
            writer.tip = Some(Tip {
                seq: payload.seq,
                id: operation.id(),
                time: payload.time,
                deps: payload.deps.clone(),
            });
        }
        self.time = self.time.max(payload.time);
        self.keep_writer(number, change);
        match &payload.action {
            Action::Put { path, .. } | Action::Delete { path } => {
                let over = Over { rows, change };
                let state = match self.state(&over, path)? {
                    Some(state) => state,
                    None => TargetState {
                        base: self.before_log(rows, change, path)?,
                        candidates: Vec::new(),
                    },
                };
                let first = state.candidates.is_empty();
                if let Some(base) = state.base.filter(|_| first) {
                    change.held.push((Hold::base(path), base, None));
                }
                if let Some(cid) = payload.action.value() {
                    let hold = Hold::operation(number, payload.seq);
                    change.held.push((hold, *cid, value));
                }
                let mut state = state;
                state.insert(Candidate::of(&operation));
                let key = super::rows::state_key(path.as_str());
                change.put(key, state.encode());
                change.touched.insert(path.clone());
            }
            Action::Grant { key, name } => {
                let number = WriterId::try_from(payload.seq).unwrap_or(WriterId::MAX);
                if let Some(verifying) = Self::device_key(key) {
                    let writer = Writer {
                        did_key: key.clone(),
                        key: verifying,
                        name: name.clone(),
                        tip: None,
                        revoked: None,
                        fork: None,
                        pinned: 0,
                    };
                    self.set_writer(number, writer, change);
                }
            }
            Action::Revoke { writer, cut } => {
                let revocation = Revocation {
                    seq: payload.seq,
                    cut: *cut,
                    reach: *cut,
                };
                self.revoke(rows, *writer, revocation, change)?;
            }
            Action::Snapshot(sums) => {
                for tip in &sums.tips {
                    self.pin(tip.writer, tip.seq);
                    self.keep_writer(tip.writer, change);
                }
            }
        }
        Ok(())
    }
}

fn check_value(incoming: &Incoming) -> Result<(), Refused> {
    match (incoming.operation.payload.action.value(), &incoming.value) {
        (None, None) => Ok(()),
        (None, Some(_)) => Err(Refused::Value("none expected, found one")),
        (Some(_), None) => Err(Refused::Value("a block expected, found none")),
        (Some(_), Some(value)) if value.len() > MAX_RECORD_BYTES => {
            Err(Refused::Value("larger than 1,000,000 bytes"))
        }
        (Some(cid), Some(value)) if ues_data::verify(cid, value).is_err() => {
            Err(Refused::Value("the block has another hash"))
        }
        (Some(_), Some(value)) => {
            match ues_data::dag_cbor::decode_with(value, ues_data::Limits::RECORD) {
                Ok(ues_data::Ipld::Map(_)) => Ok(()),
                _ => Err(Refused::Value("the block is not a record in DAG-CBOR")),
            }
        }
    }
}

fn check_order(operation: &Operation, writer: &Writer, now_ms: u64) -> Result<(), Refused> {
    let payload = &operation.payload;
    if payload.time.is_ahead(now_ms) {
        return Err(Refused::Ahead(payload.time.ms().saturating_sub(now_ms)));
    }
    if payload.writer != ROOT && payload.deps.get(ROOT) < u64::from(payload.writer) {
        return Err(Refused::Order("its writer has not seen its own grant"));
    }
    if let Some(tip) = &writer.tip {
        if payload.time <= tip.time {
            return Err(Refused::Order("its time is not after the last one's"));
        }
        if !payload.deps.includes(&tip.deps) {
            return Err(Refused::Order("its writer forgot what it had seen"));
        }
    } else if payload.time == HybridTime::default() {
        return Err(Refused::Order("it has no time"));
    }
    Ok(())
}
