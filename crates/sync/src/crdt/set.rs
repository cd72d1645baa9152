//! A set in which an addition wins against a concurrent removal (observed-remove set).

use std::collections::{BTreeMap, BTreeSet};

use ues_data::Ipld;
use ues_data::dag_cbor::{Reader, Writer};

use super::dot::{Dot, Seen};
use super::error::{CodecError, CrdtError};
use super::rule::{Edit, Origin, Rule};
use super::value::Value;
use super::wire::{self, bounded, tuple};

/// One change of a set.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum SetChange {
    /// Puts the value in. Takes one index.
    Add(Value),
    /// Takes out what the author saw: the additions of the value with these dots, in rising order.
    Remove(Value, Vec<Dot>),
}

/// Changes of a set, applied together.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct SetEdit {
    /// The changes, in this order.
    pub changes: Vec<SetChange>,
}

impl Edit for SetEdit {
    fn width(&self) -> u32 {
        let adds = |change: &&SetChange| matches!(change, SetChange::Add(_));
        let count = self.changes.iter().filter(adds).count();
        u32::try_from(count).unwrap_or(u32::MAX).max(1)
    }

    fn references(&self) -> Vec<Dot> {
        let mut dots = Vec::new();
        for change in &self.changes {
            if let SetChange::Remove(_, observed) = change {
                dots.extend_from_slice(observed);
            }
        }
        dots
    }

    fn encode(&self) -> Result<Vec<u8>, CodecError> {
        let mut out = Writer::new();
        out.array(self.changes.len() as u64);
        for change in &self.changes {
            out.array(2);
            match change {
                SetChange::Add(value) => {
                    value.write(&mut out);
                    out.null();
                }
                SetChange::Remove(value, observed) => {
                    value.write(&mut out);
                    Dot::write_all(observed.iter(), &mut out);
                }
            }
        }
        bounded(out.into_bytes())
    }

    fn decode(bytes: &[u8]) -> Result<Self, CodecError> {
        let mut input = Reader::with_limits(bytes, wire::EDIT);
        let mut changes = Vec::new();
        for _ in 0..input.array()? {
            tuple(&mut input, 2)?;
            let value = Value::read(&mut input)?;
            changes.push(if input.try_null()? {
                SetChange::Add(value)
            } else {
                SetChange::Remove(value, Dot::read_all(&mut input)?)
            });
        }
        input.finish()?;
        Ok(Self { changes })
    }
}

/// Values, each with the additions that hold it: at most the last one of each writer.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Set {
    seen: Seen,
    members: BTreeMap<Value, BTreeSet<Dot>>,
}

impl Set {
    /// Whether the value is in the set.
    #[must_use]
    pub fn contains(&self, value: &Value) -> bool {
        self.members.contains_key(value)
    }

    /// The values, in the order of their encodings.
    pub fn values(&self) -> impl Iterator<Item = &Value> {
        self.members.keys()
    }

    /// The number of values.
    #[must_use]
    pub fn len(&self) -> usize {
        self.members.len()
    }

    /// Whether there are none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.members.is_empty()
    }

    /// The change that takes the value out as it is here.
    #[must_use]
    pub fn remove(&self, value: &Value) -> SetChange {
        let dots = self.members.get(value).into_iter().flatten();
        SetChange::Remove(value.clone(), dots.copied().collect())
    }
}

impl Rule for Set {
    type Edit = SetEdit;

    fn apply(&mut self, origin: &Origin, edit: &SetEdit) -> Result<(), CrdtError> {
        let width = edit.width();
        self.seen.check(origin.dot, width)?;
        self.seen.require(&edit.references())?;
        let mut added = 0;
        for change in &edit.changes {
            match change {
                SetChange::Add(value) => {
                    let dot = origin.dot.within(added);
                    added += 1;
                    let dots = self.members.entry(value.clone()).or_default();
                    // A writer has seen its own additions, so the new one stands for them.
                    dots.retain(|held| held.writer != dot.writer);
                    dots.insert(dot);
                }
                SetChange::Remove(value, observed) => {
                    if let Some(dots) = self.members.get_mut(value) {
                        for dot in observed {
                            dots.remove(dot);
                        }
                        if dots.is_empty() {
                            self.members.remove(value);
                        }
                    }
                }
            }
        }
        self.seen.note(origin.dot, width);
        Ok(())
    }

    fn mend(&self, _: &Origin, mut edit: SetEdit) -> SetEdit {
        for change in &mut edit.changes {
            if let SetChange::Remove(_, observed) = change {
                observed.retain(|dot| self.seen.knows(*dot));
            }
        }
        edit
    }

    /// The values as a list, in the order of their encodings.
    fn value(&self) -> Ipld {
        Ipld::List(self.members.keys().map(Value::to_ipld).collect())
    }

    fn encode(&self) -> Vec<u8> {
        let mut out = Writer::new();
        out.array(2);
        self.seen.write(&mut out);
        out.array(self.members.len() as u64);
        for (value, dots) in &self.members {
            out.array(2);
            value.write(&mut out);
            Dot::write_all(dots.iter(), &mut out);
        }
        out.into_bytes()
    }

    fn decode(bytes: &[u8]) -> Result<Self, CodecError> {
        let mut input = Reader::with_limits(bytes, wire::STATE);
        tuple(&mut input, 2)?;
        let seen = Seen::read(&mut input)?;
        let mut members = BTreeMap::new();
        for _ in 0..input.array()? {
            tuple(&mut input, 2)?;
            let value = Value::read(&mut input)?;
            let dots = Dot::read_all(&mut input)?;
            if dots.is_empty() {
                return Err(CodecError::Empty("the dots of a member"));
            }
            seen.vouch(&dots)?;
            if members
                .last_key_value()
                .is_some_and(|(last, _)| *last >= value)
            {
                return Err(CodecError::Order("members"));
            }
            members.insert(value, dots.into_iter().collect());
        }
        input.finish()?;
        Ok(Self { seen, members })
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

    fn edit(change: SetChange) -> SetEdit {
        SetEdit {
            changes: vec![change],
        }
    }

    #[test]
    fn an_addition_wins_against_a_concurrent_removal() {
        let value = Value::new(&Ipld::String("tea".into())).unwrap();
        let mut set = Set::default();
        let add = edit(SetChange::Add(value.clone()));
        set.apply(&origin(1, 0), &add).unwrap();
        let remove = edit(set.remove(&value));
        let mut other = set.clone();
        set.apply(&origin(2, 0), &add).unwrap();
        set.apply(&origin(3, 0), &remove).unwrap();
        other.apply(&origin(3, 0), &remove).unwrap();
        assert!(!other.contains(&value));
        other.apply(&origin(2, 0), &add).unwrap();
        assert!(set.contains(&value));
        assert_eq!(set.encode(), other.encode());
    }

    #[test]
    fn a_removal_of_what_was_never_seen_is_refused() {
        let value = Value::new(&Ipld::Null).unwrap();
        let dot = Dot::new(9, 9, 9);
        let mut set = Set::default();
        let remove = edit(SetChange::Remove(value, vec![dot]));
        assert_eq!(
            set.apply(&origin(1, 0), &remove),
            Err(CrdtError::Missing(dot))
        );
        assert_eq!(set, Set::default());
    }
}
