//! The state of one target: what its record was before the log, the operations that no other one has replaced, and what
//! edits have made that merge.

use bytes::Bytes;
use ues_data::dag_cbor::{self, Reader, Writer as Cbor};
use ues_data::{Cid, Ipld};

use crate::clock::{VectorClock, WriterId};
use crate::crdt::{Dot, Origin};
use crate::hybrid_time::HybridTime;
use crate::merge::{Lineage, LineageId, MergeState};
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
    /// The lineage with which its edits merge.
    pub lineage: Option<LineageId>,
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
    /// What edits have made of fields that merge.
    pub merges: MergeState,
}

/// The record that stands at a target.
#[derive(Clone, Copy, Debug)]
pub struct Shown<'a> {
    /// The record of the operation that counts.
    pub value: Cid,
    /// What others have changed at the same time is to be merged into it: [`crate::merge::merged_record`].
    pub lineage: Option<&'a Lineage>,
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
            lineage: None,
        }
    }
}

impl TargetState {
    /// Takes in an operation: it replaces all that its writer had seen, unless somebody had seen it. The result is the
    /// same in any order in which each operation comes after those that it names, also when writers lie about what they
    /// had seen. `author` is the writer's `did:key`.
    pub fn insert(&mut self, operation: &Operation, author: &str) {
        let lineage = self.merge(operation, author);
        self.supersede(operation, lineage);
        let Self {
            candidates, merges, ..
        } = self;
        for candidate in candidates {
            let lineage = candidate.lineage.take();
            candidate.lineage = lineage.filter(|id| merges.lineage(*id).is_some());
        }
    }

    fn merge(&mut self, operation: &Operation, author: &str) -> Option<LineageId> {
        let payload = &operation.payload;
        let origin = Origin {
            dot: Dot::new(payload.writer, payload.seq, 0),
            time: payload.time.0,
            author: author.into(),
        };
        self.merges.apply(&origin, payload.action.merge()?)
    }

    fn supersede(&mut self, operation: &Operation, lineage: Option<LineageId>) {
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
        let candidate = Candidate {
            lineage,
            ..Candidate::of(operation)
        };
        candidates.insert(at, candidate);
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

    /// The lineage with which the record merges that counts.
    pub fn lineage<'a>(&self, author: impl Fn(WriterId) -> &'a str) -> Option<&Lineage> {
        self.merges.lineage(self.winner(author)?.lineage?)
    }

    /// The record that stands at the target. A record which nobody changed at the same time is as its writer wrote it.
    pub fn shown<'a>(&self, author: impl Fn(WriterId) -> &'a str + Copy) -> Option<Shown<'_>> {
        let value = self.value(author)?;
        let lineage = self.lineage(author).filter(|_| self.candidates.len() > 1);
        Some(Shown { value, lineage })
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
        let merges = !self.merges.is_empty();
        w.array(3 + u64::from(merges));
        match &self.base {
            Some(base) => w.link(base),
            None => w.null(),
        }
        self.seen.write(&mut w);
        w.array(self.candidates.len() as u64);
        for c in &self.candidates {
            w.array(5 + u64::from(c.lineage.is_some()));
            w.uint(u64::from(c.writer));
            w.uint(c.seq);
            w.bytes(&c.id.0);
            w.uint(c.time.0);
            match &c.value {
                Some(value) => w.link(value),
                None => w.null(),
            }
            if let Some(lineage) = &c.lineage {
                w.bytes(&lineage.0);
            }
        }
        if merges {
            let mut inner = Cbor::new();
            self.merges.write(&mut inner);
            w.bytes(inner.as_bytes());
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
        let [base, seen, Ipld::List(items), merges @ ..] = &parts[..] else {
            return None;
        };
        let merges = match merges {
            [] => MergeState::default(),
            [Ipld::Bytes(bytes)] => {
                let mut input = Reader::new(bytes);
                let merges = MergeState::read(&mut input).ok()?;
                input.finish().ok()?;
                merges
            }
            _ => return None,
        };
        let mut state = Self {
            base: link(base)?,
            seen: VectorClock::read(seen)?,
            candidates: Vec::with_capacity(items.len()),
            merges,
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
                lineage @ ..,
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
                lineage: match lineage {
                    [] => None,
                    [Ipld::Bytes(id)] => Some(LineageId(id.as_slice().try_into().ok()?)),
                    _ => return None,
                },
            });
        }
        Some(state)
    }
}
