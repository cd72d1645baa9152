//! Changes of a text.

use std::sync::Arc;

use ues_data::dag_cbor::{Kind, Reader, Writer};

use crate::crdt::dot::Dot;
use crate::crdt::error::CodecError;
use crate::crdt::rule::Edit;
use crate::crdt::sequence::{Place, Step, Steps};
use crate::crdt::wire::{self, bounded, narrow};

use super::mark::Mark;
use super::piece::Piece;

/// One change of a text.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum TextStep {
    /// Puts characters in, as many indices as there are Unicode scalar values; at least one.
    Insert(Place, Arc<str>),
    /// Deletes this character and those that follow it in its operation, so many in all.
    Delete(Dot, u32),
    /// Marks a range. Takes one index.
    Mark(Mark),
}

/// Changes of a text, applied together. All are made for the text as it was before the edit; insertions and marks can
/// refer to characters that an earlier insertion of the same edit made.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct TextEdit {
    /// The changes, in this order.
    pub steps: Vec<TextStep>,
}

impl TextEdit {
    pub(super) fn with_steps<R>(&self, then: impl FnOnce(&[Step<'_, Piece>]) -> R) -> R {
        let pieces: Vec<Option<Piece>> = self
            .steps
            .iter()
            .map(|step| match step {
                TextStep::Insert(_, text) => Some(Piece::new(text)),
                TextStep::Delete(..) | TextStep::Mark(_) => None,
            })
            .collect();
        let mut steps = Vec::with_capacity(self.steps.len());
        for (step, piece) in self.steps.iter().zip(&pieces) {
            match (step, piece) {
                (TextStep::Insert(place, _), Some(piece)) => {
                    steps.push(Step::Insert(*place, piece));
                }
                (TextStep::Delete(first, count), _) => steps.push(Step::Delete(*first, *count)),
                (TextStep::Mark(mark), _) => {
                    steps.push(Step::Other([mark.start.dot(), mark.end.dot()]));
                }
                (TextStep::Insert(..), None) => {}
            }
        }
        then(&steps)
    }
}

impl Edit for TextEdit {
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
            match step {
                TextStep::Insert(place, text) => {
                    if text.is_empty() {
                        return Err(CodecError::Empty("an insertion"));
                    }
                    out.array(2);
                    place.write(&mut out);
                    out.text(text);
                }
                TextStep::Delete(first, count) => {
                    if *count == 0 {
                        return Err(CodecError::Empty("a deletion"));
                    }
                    out.array(2);
                    first.write(&mut out);
                    out.uint((*count).into());
                }
                TextStep::Mark(mark) => mark.write(&mut out)?,
            }
        }
        bounded(out.into_bytes())
    }

    fn decode(bytes: &[u8]) -> Result<Self, CodecError> {
        let mut input = Reader::with_limits(bytes, wire::EDIT);
        let mut steps = Vec::new();
        for _ in 0..input.array()? {
            steps.push(read_step(&mut input)?);
        }
        input.finish()?;
        Ok(Self { steps })
    }
}

fn read_step(input: &mut Reader<'_>) -> Result<TextStep, CodecError> {
    match input.array()? {
        2 => {}
        Mark::ITEMS => return Ok(TextStep::Mark(Mark::read(input)?)),
        found => return Err(CodecError::Length { expected: 2, found }),
    }
    let mut ahead = input.clone();
    ahead.skip()?;
    if ahead.peek()? == Kind::Int {
        let first = Dot::read(input)?;
        return match narrow(input.uint()?)? {
            0 => Err(CodecError::Empty("a deletion")),
            count => Ok(TextStep::Delete(first, count)),
        };
    }
    let place = Place::read(input)?;
    match input.text()? {
        "" => Err(CodecError::Empty("an insertion")),
        text => Ok(TextStep::Insert(place, text.into())),
    }
}
