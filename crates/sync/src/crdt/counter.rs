//! A counter that grows and shrinks (PN-counter).

use std::collections::BTreeMap;

use ues_data::Ipld;
use ues_data::dag_cbor::{Reader, Writer};

use super::dot::{Dot, Seen};
use super::error::{CodecError, CrdtError};
use super::rule::{Edit, Origin, Rule};
use super::wire::{self, narrow, tuple};

/// Adds to a counter. Encoded as the amount alone.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct CounterEdit {
    /// How much; negative to take away.
    pub amount: i64,
}

impl Edit for CounterEdit {
    fn width(&self) -> u32 {
        1
    }

    fn references(&self) -> Vec<Dot> {
        Vec::new()
    }

    fn encode(&self) -> Result<Vec<u8>, CodecError> {
        let mut out = Writer::new();
        out.int(self.amount);
        Ok(out.into_bytes())
    }

    fn decode(bytes: &[u8]) -> Result<Self, CodecError> {
        let mut input = Reader::with_limits(bytes, wire::EDIT);
        let amount = input.i64()?;
        input.finish()?;
        Ok(Self { amount })
    }
}

/// What one writer added and took away; each stays at the greatest number once it is reached.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
struct Share {
    grown: u64,
    shrunk: u64,
}

/// Sums of each writer; the value is their total.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Counter {
    seen: Seen,
    shares: BTreeMap<u32, Share>,
}

impl Counter {
    /// The exact total. Each writer's additions and subtractions saturate at 2^64-1, so that this never overflows.
    #[must_use]
    pub fn total(&self) -> i128 {
        self.shares
            .values()
            .map(|share| i128::from(share.grown) - i128::from(share.shrunk))
            .sum()
    }
}

impl Rule for Counter {
    type Edit = CounterEdit;

    fn apply(&mut self, origin: &Origin, edit: &CounterEdit) -> Result<(), CrdtError> {
        self.seen.check(origin.dot, 1)?;
        let share = self.shares.entry(origin.dot.writer).or_default();
        let side = if edit.amount < 0 {
            &mut share.shrunk
        } else {
            &mut share.grown
        };
        *side = side.saturating_add(edit.amount.unsigned_abs());
        self.seen.note(origin.dot, 1);
        Ok(())
    }

    fn mend(&self, _: &Origin, edit: CounterEdit) -> CounterEdit {
        edit
    }

    /// The total as an integer of 64 bits with sign, which is what AT Protocol has; a total beyond it stays at its end.
    fn value(&self) -> Ipld {
        let total = self.total();
        Ipld::Integer(total.clamp(i64::MIN.into(), i64::MAX.into()))
    }

    fn encode(&self) -> Vec<u8> {
        let mut out = Writer::new();
        out.array(2);
        self.seen.write(&mut out);
        out.array(self.shares.len() as u64);
        for (&writer, share) in &self.shares {
            out.array(3);
            out.uint(writer.into());
            out.uint(share.grown);
            out.uint(share.shrunk);
        }
        out.into_bytes()
    }

    fn decode(bytes: &[u8]) -> Result<Self, CodecError> {
        let mut input = Reader::with_limits(bytes, wire::STATE);
        tuple(&mut input, 2)?;
        let seen = Seen::read(&mut input)?;
        let mut shares = BTreeMap::new();
        let mut previous = None;
        for _ in 0..input.array()? {
            tuple(&mut input, 3)?;
            let writer = narrow(input.uint()?)?;
            if previous >= Some(writer) {
                return Err(CodecError::Order("shares"));
            }
            previous = Some(writer);
            let (grown, shrunk) = (input.uint()?, input.uint()?);
            shares.insert(writer, Share { grown, shrunk });
        }
        input.finish()?;
        Ok(Self { seen, shares })
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a test may panic")]
    use super::*;

    fn origin(writer: u32, seq: u64) -> Origin {
        Origin {
            dot: Dot::new(writer, seq, 0),
            time: seq,
            author: "did:example:a".into(),
        }
    }

    #[test]
    fn saturates_at_both_ends() {
        let mut counter = Counter::default();
        for seq in 0..3 {
            let amount = i64::MAX;
            counter
                .apply(&origin(1, seq), &CounterEdit { amount })
                .unwrap();
        }
        assert_eq!(counter.total(), i128::from(u64::MAX));
        assert_eq!(counter.value(), Ipld::Integer(i64::MAX.into()));
        for seq in 0..6 {
            let amount = i64::MIN;
            counter
                .apply(&origin(2, seq), &CounterEdit { amount })
                .unwrap();
        }
        assert_eq!(counter.total(), 0);
        let amount = -5;
        counter
            .apply(&origin(3, 0), &CounterEdit { amount })
            .unwrap();
        assert_eq!(counter.value(), Ipld::Integer(-5));
    }

    #[test]
    fn an_edit_counts_once() {
        let mut counter = Counter::default();
        counter
            .apply(&origin(1, 4), &CounterEdit { amount: 7 })
            .unwrap();
        let again = counter.apply(&origin(1, 4), &CounterEdit { amount: 7 });
        assert_eq!(again, Err(CrdtError::Applied(Dot::new(1, 4, 0))));
        assert_eq!(counter.total(), 7);
    }
}
