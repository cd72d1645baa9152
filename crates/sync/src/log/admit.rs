//! Taking in the operations of others: each is checked whole before anything of it is kept.

use bytes::Bytes;
use ues_repo::repo::write::MAX_RECORD_BYTES;

use crate::clock::{MAX_WRITERS, ROOT, WriterId};
use crate::hybrid_time::HybridTime;
use crate::operation::{Action, Operation};

use super::change::{Change, Over};
use super::replica::{Replica, ReplicaError};
use super::roster::Writer;
use super::rows::Rows;

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
    /// The root contradicted itself: nobody can tell any more who may write.
    #[error("the root key signed two operations with one number: this log has ended")]
    Ended,
    /// What it does makes no sense.
    #[error("{0}")]
    Action(&'static str),
}

impl Refused {
    /// Why, without the numbers: the same for all that were refused for the same reason.
    pub fn kind(&self) -> &'static str {
        match self {
            Self::OtherRepository => "for another repository",
            Self::UnknownWriter(_) => "of a writer that is not known here",
            Self::BadSignature(_) => "not signed by their writer",
            Self::Gap { .. } => "an operation of the same writer before them is not here",
            Self::Missing { .. } => "something that they build on is not here",
            Self::Order(_) => "out of order",
            Self::Ahead(_) => "their time is ahead of this clock",
            Self::BeyondLimit { .. } => "their writer does not count any more",
            Self::Value(_) => "their record is not what they say",
            Self::Ended => "the log has ended: the root key signed two operations with one number",
            Self::Action(what) => what,
        }
    }
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
    /// Its writer's chain here is another one, so that it forked at a number or before.
    Diverged {
        /// Who.
        writer: WriterId,
        /// The number.
        seq: u64,
    },
    /// It waits in memory until it turns out whether another writer had seen it.
    Beyond,
}

impl Replica {
    /// Takes in an operation. What must be written is added to `change`.
    ///
    /// # Errors
    /// The outer error when the store fails; the replica is in doubt then. The inner one says why the operation was
    /// refused; the log has not changed then.
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
        if self.is_ended() {
            return Ok(Err(Refused::Ended));
        }
        if let Err(refused) = check_value(&incoming) {
            return Ok(Err(refused));
        }
        // Chains that part are found out also where the writer does not count any more.
        let next = check_next(&incoming.operation, writer);
        if next.is_ok() && payload.prev != writer.tip.as_ref().map(|tip| tip.id) {
            let (writer, seq) = (number, payload.seq - 1);
            return Ok(Ok(Admitted::Diverged { writer, seq }));
        }
        if payload.seq > writer.limit() {
            return Ok(self.put_beyond(incoming));
        }
        if let Err(refused) = next {
            return Ok(Err(refused));
        }
        if let Err(refused) = check_order(&incoming.operation, writer, now_ms) {
            return Ok(Err(refused));
        }
        if let Some((writer, seq)) = self.find_diverged(rows, &incoming.operation, change)? {
            return Ok(Ok(Admitted::Diverged { writer, seq }));
        }
        let plan = match self.plan(&incoming.operation) {
            Ok(plan) => plan,
            Err(refused) => return Ok(Err(refused)),
        };
        if let Err(refused) = self.check_action(&incoming.operation) {
            return Ok(Err(refused));
        }
        match self.carry_out(rows, &plan, now_ms, change)? {
            Ok(None) => {}
            Ok(Some((writer, seq))) => return Ok(Ok(Admitted::Diverged { writer, seq })),
            Err(refused) => return Ok(Err(refused)),
        }
        self.append(rows, incoming.operation, incoming.value, change)?;
        Ok(Ok(Admitted::New))
    }

    /// Takes in an operation that waited, which must not need any other that waits.
    pub(super) fn admit_ready(
        &mut self,
        rows: &dyn Rows,
        incoming: Incoming,
        now_ms: u64,
        change: &mut Change,
    ) -> Result<Result<Admitted, Refused>, ReplicaError> {
        let operation = &incoming.operation;
        let number = operation.payload.writer;
        let Some(writer) = self.roster.get(number) else {
            return Ok(Err(Refused::UnknownWriter(number)));
        };
        let seq = operation.payload.seq;
        if operation.payload.prev != writer.tip.as_ref().map(|tip| tip.id) {
            let seq = seq.saturating_sub(1);
            return Ok(Ok(Admitted::Diverged {
                writer: number,
                seq,
            }));
        }
        let checked = check_next(operation, writer)
            .and_then(|()| check_order(operation, writer, now_ms))
            .and_then(|()| self.plan(operation));
        match checked {
            Ok(plan) if plan.is_empty() => {
                self.append(rows, incoming.operation, incoming.value, change)?;
                Ok(Ok(Admitted::New))
            }
            Ok(_) => Ok(Err(Refused::Missing {
                writer: number,
                seq,
            })),
            Err(refused) => Ok(Err(refused)),
        }
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
        let number = incoming.operation.payload.writer;
        let Some(writer) = self.roster.get(number) else {
            return Err(Refused::UnknownWriter(number));
        };
        let limit = writer.limit();
        if !incoming.operation.verify(&writer.key) {
            return Err(Refused::BadSignature(number));
        }
        if !self.beyond.insert(incoming) {
            return Err(Refused::BeyondLimit {
                writer: number,
                limit,
            });
        }
        Ok(Admitted::Beyond)
    }

    /// The first writer whose chain here is another one than that which a snapshot names, and where.
    fn find_diverged(
        &self,
        rows: &dyn Rows,
        operation: &Operation,
        change: &Change,
    ) -> Result<Option<(WriterId, u64)>, ReplicaError> {
        let Action::Snapshot(sums) = &operation.payload.action else {
            return Ok(None);
        };
        for tip in &sums.tips {
            let mine = self.operation(&Over { rows, change }, tip.writer, tip.seq)?;
            if mine.is_some_and(|mine| mine.id() != tip.id) {
                return Ok(Some((tip.writer, tip.seq)));
            }
        }
        Ok(None)
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

/// Whether an operation is the next one of its writer, by number and signature.
fn check_next(operation: &Operation, writer: &Writer) -> Result<(), Refused> {
    let payload = &operation.payload;
    let expected = writer.seq() + 1;
    if payload.seq != expected {
        return Err(Refused::Gap {
            writer: payload.writer,
            expected,
            found: payload.seq,
        });
    }
    if !operation.verify(&writer.key) {
        return Err(Refused::BadSignature(payload.writer));
    }
    Ok(())
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
