//! Names of single changes.

use std::collections::BTreeMap;
use std::fmt;

use ues_data::dag_cbor::{Reader, Writer};

use super::error::{CodecError, CrdtError};
use super::wire::{narrow, tuple};

/// Names one change, or one element that a change made: the writer, its operation, and the place inside of it.
///
/// An edit that makes several things (a run of text, some fields) takes as many successive indices.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Dot {
    /// The writer's number in the repository.
    pub writer: u32,
    /// The number of the writer's operation.
    pub seq: u64,
    /// The place inside of the operation.
    pub index: u32,
}

impl Dot {
    /// The dot of these numbers.
    #[must_use]
    pub const fn new(writer: u32, seq: u64, index: u32) -> Self {
        Self { writer, seq, index }
    }

    /// The dot `count` places further in the same operation; none if the index would overflow.
    #[must_use]
    pub fn plus(self, count: u32) -> Option<Self> {
        let index = self.index.checked_add(count)?;
        Some(Self { index, ..self })
    }

    /// The dot `count` places further, of an operation that is known to have it.
    pub(crate) const fn within(self, count: u32) -> Self {
        let index = self.index.saturating_add(count);
        Self { index, ..self }
    }

    /// How far `other` lies behind this dot in the same operation.
    pub(crate) fn distance_to(self, other: Self) -> Option<u32> {
        if (self.writer, self.seq) != (other.writer, other.seq) {
            return None;
        }
        other.index.checked_sub(self.index)
    }

    pub(crate) fn write(self, out: &mut Writer) {
        out.array(3);
        out.uint(self.writer.into());
        out.uint(self.seq);
        out.uint(self.index.into());
    }

    pub(crate) fn read(input: &mut Reader<'_>) -> Result<Self, CodecError> {
        tuple(input, 3)?;
        Ok(Self {
            writer: narrow(input.uint()?)?,
            seq: input.uint()?,
            index: narrow(input.uint()?)?,
        })
    }

    pub(crate) fn write_option(dot: Option<Self>, out: &mut Writer) {
        match dot {
            Some(dot) => dot.write(out),
            None => out.null(),
        }
    }

    pub(crate) fn read_option(input: &mut Reader<'_>) -> Result<Option<Self>, CodecError> {
        if input.try_null()? {
            return Ok(None);
        }
        Self::read(input).map(Some)
    }

    pub(crate) fn write_all<'a>(dots: impl ExactSizeIterator<Item = &'a Self>, out: &mut Writer) {
        out.array(dots.len() as u64);
        for dot in dots {
            dot.write(out);
        }
    }

    /// Reads dots that must rise.
    pub(crate) fn read_all(input: &mut Reader<'_>) -> Result<Vec<Self>, CodecError> {
        let mut dots = Vec::new();
        for _ in 0..input.array()? {
            let dot = Self::read(input)?;
            if dots.last().is_some_and(|before| *before >= dot) {
                return Err(CodecError::Order("dots"));
            }
            dots.push(dot);
        }
        Ok(dots)
    }
}

impl fmt::Display for Dot {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}/{}", self.writer, self.seq, self.index)
    }
}

/// The last dot of each writer that a state has applied. A writer's edits come in the order of their dots, so that this
/// says of every dot whether it was there.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Seen(BTreeMap<u32, (u64, u32)>);

impl Seen {
    /// Refuses an edit that was applied already, comes too late, or takes more indices than there are.
    pub fn check(&self, dot: Dot, width: u32) -> Result<(), CrdtError> {
        if self.knows(dot) {
            return Err(CrdtError::Applied(dot));
        }
        match dot.plus(width.max(1) - 1) {
            Some(_) => Ok(()),
            None => Err(CrdtError::Indices { dot, width }),
        }
    }

    /// Notes that an edit which passed [`Seen::check`] was applied.
    pub fn note(&mut self, dot: Dot, width: u32) {
        let last = dot.within(width.max(1) - 1);
        self.0.insert(dot.writer, (last.seq, last.index));
    }

    /// Whether the dot, or a later one of its writer, was applied.
    pub fn knows(&self, dot: Dot) -> bool {
        let last = self.0.get(&dot.writer);
        last.is_some_and(|last| (dot.seq, dot.index) <= *last)
    }

    /// Refuses dots that were not applied before.
    pub fn require(&self, dots: &[Dot]) -> Result<(), CrdtError> {
        match dots.iter().find(|dot| !self.knows(**dot)) {
            Some(missing) => Err(CrdtError::Missing(*missing)),
            None => Ok(()),
        }
    }

    /// Refuses a state that holds dots which it says it has not seen.
    pub fn vouch(&self, dots: &[Dot]) -> Result<(), CodecError> {
        match dots.iter().find(|dot| !self.knows(**dot)) {
            Some(&dot) => Err(CodecError::Contradiction {
                dot,
                what: "it was not applied",
            }),
            None => Ok(()),
        }
    }

    pub fn write(&self, out: &mut Writer) {
        out.array(self.0.len() as u64);
        for (&writer, &(seq, index)) in &self.0 {
            Dot::new(writer, seq, index).write(out);
        }
    }

    pub fn read(input: &mut Reader<'_>) -> Result<Self, CodecError> {
        let mut last = BTreeMap::new();
        let mut previous = None;
        for _ in 0..input.array()? {
            let dot = Dot::read(input)?;
            if previous >= Some(dot.writer) {
                return Err(CodecError::Order("writers"));
            }
            previous = Some(dot.writer);
            last.insert(dot.writer, (dot.seq, dot.index));
        }
        Ok(Self(last))
    }
}
