//! A list of values in an order that several writers change.

use std::sync::Arc;

use ues_data::Ipld;
use ues_data::dag_cbor::{Kind, Reader, Writer};

use super::dot::{Dot, Seen};
use super::error::{CodecError, CrdtError};
use super::rule::{Edit, Origin, Rule};
use super::sequence::{Content, Mend, Place, Sequence, Step, Steps};
use super::value::Value;
use super::wire::{self, bounded, narrow, tuple};

/// Values next to each other.
#[derive(Clone, Debug)]
struct Items {
    values: Arc<[Value]>,
    from: u32,
    to: u32,
}

impl Items {
    fn new(values: &[Value]) -> Self {
        Self {
            values: values.into(),
            from: 0,
            to: u32::try_from(values.len()).unwrap_or(u32::MAX),
        }
    }

    fn values(&self) -> &[Value] {
        let range = self.from as usize..self.to as usize;
        self.values.get(range).unwrap_or_default()
    }
}

impl Content for Items {
    fn len(&self) -> u32 {
        self.to - self.from
    }

    fn split_off(&mut self, at: u32) -> Self {
        let middle = self.from + at;
        let rest = Self {
            values: Arc::clone(&self.values),
            from: middle,
            to: self.to,
        };
        self.to = middle;
        rest
    }
}

/// One change of a list.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ListStep {
    /// Puts values in, as many indices as there are; at least one value.
    Insert(Place, Vec<Value>),
    /// Deletes this element and those that follow it in its operation, so many in all.
    Delete(Dot, u32),
}

/// Changes of a list, applied together. All are made for the list as it was before the edit; an insertion can refer to
/// elements that an earlier one of the same edit made.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ListEdit {
    /// The changes, in this order.
    pub steps: Vec<ListStep>,
}

impl ListEdit {
    fn with_steps<R>(&self, then: impl FnOnce(&[Step<'_, Items>]) -> R) -> R {
        let items: Vec<Items> = self
            .steps
            .iter()
            .map(|step| match step {
                ListStep::Insert(_, values) => Items::new(values),
                ListStep::Delete(..) => Items::new(&[]),
            })
            .collect();
        let steps: Vec<Step<'_, Items>> = self
            .steps
            .iter()
            .zip(&items)
            .map(|(step, items)| match step {
                ListStep::Insert(place, _) => Step::Insert(*place, items),
                ListStep::Delete(first, count) => Step::Delete(*first, *count),
            })
            .collect();
        then(&steps)
    }
}

impl Edit for ListEdit {
    fn width(&self) -> u32 {
        self.with_steps(Steps::width)
    }

    fn references(&self) -> Vec<Dot> {
        self.with_steps(Steps::references)
    }

    fn encode(&self) -> Result<Vec<u8>, CodecError> {
        let mut out = Writer::new();
        out.array(self.steps.len() as u64);
        for step in &self.steps {
            out.array(2);
            match step {
                ListStep::Insert(place, values) => {
                    if values.is_empty() {
                        return Err(CodecError::Empty("an insertion"));
                    }
                    place.write(&mut out);
                    write_values(values.iter(), values.len(), &mut out);
                }
                ListStep::Delete(first, count) => {
                    if *count == 0 {
                        return Err(CodecError::Empty("a deletion"));
                    }
                    first.write(&mut out);
                    out.uint((*count).into());
                }
            }
        }
        bounded(out.into_bytes())
    }

    fn decode(bytes: &[u8]) -> Result<Self, CodecError> {
        let mut input = Reader::with_limits(bytes, wire::EDIT);
        let mut steps = Vec::new();
        for _ in 0..input.array()? {
            tuple(&mut input, 2)?;
            let mut ahead = input.clone();
            ahead.skip()?;
            steps.push(if ahead.peek()? == Kind::Int {
                let first = Dot::read(&mut input)?;
                match narrow(input.uint()?)? {
                    0 => return Err(CodecError::Empty("a deletion")),
                    count => ListStep::Delete(first, count),
                }
            } else {
                ListStep::Insert(Place::read(&mut input)?, read_values(&mut input)?)
            });
        }
        input.finish()?;
        Ok(Self { steps })
    }
}

fn write_values<'a>(values: impl Iterator<Item = &'a Value>, len: usize, out: &mut Writer) {
    out.array(len as u64);
    for value in values {
        value.write(out);
    }
}

fn read_values(input: &mut Reader<'_>) -> Result<Vec<Value>, CodecError> {
    let mut values = Vec::new();
    for _ in 0..input.array()? {
        values.push(Value::read(input)?);
    }
    if values.is_empty() {
        return Err(CodecError::Empty("an insertion"));
    }
    Ok(values)
}

/// A list. Positions count the values that a reader sees, from 0.
#[derive(Clone, Debug, Default)]
pub struct List {
    seen: Seen,
    items: Sequence<Items>,
}

impl List {
    /// The number of values.
    #[must_use]
    pub fn len(&self) -> u64 {
        self.items.len()
    }

    /// Whether there are none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// The value at a position.
    #[must_use]
    pub fn get(&self, position: u64) -> Option<&Value> {
        let (items, offset) = self.items.find(position)?;
        items.values().get(offset as usize)
    }

    /// The values in their order.
    pub fn values(&self) -> impl Iterator<Item = &Value> {
        self.items.contents().flat_map(Items::values)
    }

    /// The element at a position, which keeps its dot wherever it moves.
    ///
    /// # Errors
    /// If there is none.
    pub fn element(&self, position: u64) -> Result<Dot, CrdtError> {
        self.items.at(position)
    }

    /// The step that puts values in at a position.
    ///
    /// # Errors
    /// If the position lies behind the end.
    pub fn insert(&self, position: u64, values: Vec<Value>) -> Result<ListStep, CrdtError> {
        let left = match position.checked_sub(1) {
            Some(before) => Some(self.items.at(before)?),
            None => None,
        };
        Ok(ListStep::Insert(self.items.place_behind(left), values))
    }

    /// The steps that delete `count` values from a position on.
    ///
    /// # Errors
    /// If there are not so many.
    pub fn delete(&self, position: u64, count: u64) -> Result<Vec<ListStep>, CrdtError> {
        let ranges = self.items.ranges(position, count)?.into_iter();
        Ok(ranges
            .map(|(first, count)| ListStep::Delete(first, count))
            .collect())
    }
}

impl Rule for List {
    type Edit = ListEdit;

    fn apply(&mut self, origin: &Origin, edit: &ListEdit) -> Result<(), CrdtError> {
        edit.with_steps(|steps| {
            let width = Steps::width(steps);
            self.seen.check(origin.dot, width)?;
            let steps = Steps {
                first: origin.dot,
                steps,
            };
            steps.check(&self.items)?;
            steps.carry_out(&mut self.items);
            self.seen.note(origin.dot, width);
            Ok(())
        })
    }

    fn mend(&self, origin: &Origin, edit: ListEdit) -> ListEdit {
        let mend = Mend {
            own: origin.dot,
            sequence: &self.items,
        };
        let steps = edit.steps.into_iter().filter_map(|step| match step {
            ListStep::Insert(place, values) => Some(ListStep::Insert(mend.place(place), values)),
            ListStep::Delete(first, count) => mend
                .range(first, count)
                .map(|count| ListStep::Delete(first, count)),
        });
        ListEdit {
            steps: steps.collect(),
        }
    }

    fn value(&self) -> Ipld {
        Ipld::List(self.values().map(Value::to_ipld).collect())
    }

    fn encode(&self) -> Vec<u8> {
        let mut out = Writer::new();
        out.array(2);
        self.seen.write(&mut out);
        self.items.write(&mut out, |pieces, out| {
            let len = pieces.iter().map(|items| items.values().len()).sum();
            write_values(pieces.iter().flat_map(|items| items.values()), len, out);
        });
        out.into_bytes()
    }

    fn decode(bytes: &[u8]) -> Result<Self, CodecError> {
        let mut input = Reader::with_limits(bytes, wire::STATE);
        tuple(&mut input, 2)?;
        let seen = Seen::read(&mut input)?;
        let items = Sequence::read(&mut input, &seen, |input| {
            Ok(Items::new(&read_values(input)?))
        })?;
        input.finish()?;
        let list = Self { seen, items };
        match list.encode() == bytes {
            true => Ok(list),
            false => Err(CodecError::NotCanonical),
        }
    }
}
