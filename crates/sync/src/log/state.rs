//! The state of one target: what its record was before the log, and the operations that no other one has replaced.

use bytes::Bytes;
use ues_data::dag_cbor::{self, Writer as Cbor};
use ues_data::{Cid, Ipld};

use crate::clock::{VectorClock, WriterId};
use crate::hybrid_time::HybridTime;
use crate::operation::{Operation, OperationId};

/// An operation that nobody has replaced: the winner, or one that lost against another that did not know it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Candidate {
    /// Who.
    pub writer: WriterId,
    /// Number of the operation.
    pub seq: u64,
    /// Its name.
    pub id: OperationId,
    /// When.
    pub time: HybridTime,
    /// The record's block; `None` for a deletion.
    pub value: Option<Cid>,
}

/// What is known of one target. Equal sets of operations give equal states, and equal bytes.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct TargetState {
    /// The record before the first operation.
    pub base: Option<Cid>,
    /// What the writers of all operations on the target had seen, taken together: what it covers is replaced.
    pub seen: VectorClock,
    /// The operations that nobody had seen, by writer: at most one of each.
    pub candidates: Vec<Candidate>,
}

impl Candidate {
    /// The candidate that an operation on a record makes.
    pub fn of(operation: &Operation) -> Self {
        let payload = &operation.payload;
        Self {
            writer: payload.writer,
            seq: payload.seq,
            id: operation.id(),
            time: payload.time,
            value: payload.action.value().copied(),
        }
    }
}

impl TargetState {
    /// Takes in an operation: it replaces all that its writer had seen, unless somebody had seen it. The result is the
    /// same in any order, also when writers lie about what they had seen.
    pub fn insert(&mut self, operation: &Operation) {
        let payload = &operation.payload;
        self.seen.merge(&payload.deps);
        let before = payload.seq.saturating_sub(1);
        if !self.seen.covers(payload.writer, before) {
            self.seen.set(payload.writer, before);
        }
        let Self {
            seen, candidates, ..
        } = self;
        candidates.retain(|c| !seen.covers(c.writer, c.seq));
        let known = |c: &Candidate| (c.writer, c.seq) == (payload.writer, payload.seq);
        if seen.covers(payload.writer, payload.seq) || candidates.iter().any(known) {
            return;
        }
        let at = candidates.partition_point(|c| c.writer < payload.writer);
        candidates.insert(at, Candidate::of(operation));
    }

    /// The candidate that counts: a record before a deletion, then the later, then the greater author, then the greater
    /// name. `author` tells the `did:key` of a writer.
    pub fn winner<'a>(&self, author: impl Fn(WriterId) -> &'a str) -> Option<&Candidate> {
        let rank = |c: &Candidate| (c.value.is_some(), c.time, author(c.writer), c.id);
        self.candidates.iter().max_by(|a, b| rank(a).cmp(&rank(b)))
    }

    /// The record that stands at the target. Where each of several operations claims to have seen the others, none
    /// does.
    pub fn value<'a>(&self, author: impl Fn(WriterId) -> &'a str) -> Option<Cid> {
        match self.winner(author) {
            Some(winner) => winner.value,
            None if self.seen.is_empty() => self.base,
            None => None,
        }
    }

    /// The state without what stood there before the log, as snapshots have it: what a snapshot counts is never taken
    /// back, so nothing comes of that record any more.
    #[must_use]
    pub fn settled(mut self) -> Self {
        self.base = None;
        self
    }

    /// The stored bytes.
    pub fn encode(&self) -> Bytes {
        let mut w = Cbor::with_capacity(192);
        w.array(3);
        match &self.base {
            Some(base) => w.link(base),
            None => w.null(),
        }
        self.seen.write(&mut w);
        w.array(self.candidates.len() as u64);
        for c in &self.candidates {
            w.array(5);
            w.uint(u64::from(c.writer));
            w.uint(c.seq);
            w.bytes(&c.id.0);
            w.uint(c.time.0);
            match &c.value {
                Some(value) => w.link(value),
                None => w.null(),
            }
        }
        w.into_bytes().into()
    }

    /// Reads the stored bytes; `None` if they are anything else.
    pub fn decode(bytes: &[u8]) -> Option<Self> {
        let Ok(Ipld::List(parts)) = dag_cbor::decode(bytes) else {
            return None;
        };
        let link = |value: &Ipld| match value {
            Ipld::Link(cid) => Some(Some(*cid)),
            Ipld::Null => Some(None),
            _ => None,
        };
        let [base, seen, Ipld::List(items)] = &parts[..] else {
            return None;
        };
        let mut state = Self {
            base: link(base)?,
            seen: VectorClock::read(seen)?,
            candidates: Vec::with_capacity(items.len()),
        };
        for item in items {
            let Ipld::List(fields) = item else {
                return None;
            };
            let [
                Ipld::Integer(writer),
                Ipld::Integer(seq),
                Ipld::Bytes(id),
                Ipld::Integer(time),
                value,
            ] = &fields[..]
            else {
                return None;
            };
            state.candidates.push(Candidate {
                writer: WriterId::try_from(*writer).ok()?,
                seq: u64::try_from(*seq).ok()?,
                id: OperationId(id.as_slice().try_into().ok()?),
                time: HybridTime(u64::try_from(*time).ok()?),
                value: link(value)?,
            });
        }
        Some(state)
    }
}
