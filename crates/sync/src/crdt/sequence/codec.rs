//! A sequence as bytes.

use ues_data::dag_cbor::{Reader, Writer};

use crate::crdt::dot::{Dot, Seen};
use crate::crdt::error::CodecError;
use crate::crdt::wire::{narrow, tuple};

use super::order::Handle;
use super::{Content, Place, Sequence, Span};

/// What one entry of the encoding says: elements of a run next to each other, as many as possible.
struct Entry {
    first: Dot,
    len: u32,
    deleted: bool,
    place: Option<Place>,
}

impl<C: Content> Sequence<C> {
    /// Writes the spans in their order. Neighbours that continue each other are one entry, so that it does not matter how
    /// they were parted.
    pub fn write(&self, out: &mut Writer, write_content: impl Fn(&[&C], &mut Writer)) {
        let mut entries: Vec<(Entry, Vec<&C>)> = Vec::new();
        for at in self.walk() {
            let span = self.span(at);
            let deleted = span.content.is_none();
            if let Some((last, contents)) = entries.last_mut()
                && span.place.is_none()
                && last.first.distance_to(span.first) == Some(last.len)
                && last.deleted == deleted
            {
                last.len += span.len;
                contents.extend(&span.content);
                continue;
            }
            let entry = Entry {
                first: span.first,
                len: span.len,
                deleted,
                place: span.place,
            };
            entries.push((entry, span.content.iter().collect()));
        }
        out.array(entries.len() as u64);
        for (entry, contents) in &entries {
            out.array(3);
            entry.first.write(out);
            match &entry.place {
                Some(place) => place.write(out),
                None => out.null(),
            }
            if entry.deleted {
                out.uint(entry.len.into());
            } else {
                write_content(contents, out);
            }
        }
    }

    /// Reads what [`Sequence::write`] wrote. A number stands for deleted elements; all else goes to `read_content`.
    pub fn read(
        input: &mut Reader<'_>,
        seen: &Seen,
        read_content: impl Fn(&mut Reader<'_>) -> Result<C, CodecError>,
    ) -> Result<Self, CodecError> {
        let mut sequence = Self::default();
        let mut last = None;
        for _ in 0..input.array()? {
            tuple(input, 3)?;
            let first = Dot::read(input)?;
            let place = match input.try_null()? {
                true => None,
                false => Some(Place::read(input)?),
            };
            let content = match input.peek()? {
                ues_data::dag_cbor::Kind::Int => None,
                _ => Some(read_content(input)?),
            };
            let len = match &content {
                Some(content) => content.len(),
                None => narrow(input.uint()?)?,
            };
            let end = len.checked_sub(1).and_then(|more| first.plus(more));
            let Some(end) = end else {
                return Err(contradiction(first, "a span is empty or too long"));
            };
            seen.vouch(&[end])?;
            let weight = content.as_ref().map_or(0, |_| len);
            let at = sequence.order.insert_after(last, weight);
            last = Some(at);
            sequence.spans.push(Span {
                first,
                len,
                content,
                place,
                continued: None,
                left: Vec::new(),
                right: Vec::new(),
            });
            if sequence.index.insert(first, at).is_some() {
                return Err(contradiction(first, "it is there twice"));
            }
        }
        sequence.check_overlaps()?;
        sequence.link()?;
        sequence.check_walk()?;
        Ok(sequence)
    }

    fn check_overlaps(&self) -> Result<(), CodecError> {
        let mut previous: Option<(Dot, u32)> = None;
        for (&first, &at) in &self.index {
            if let Some((before, len)) = previous
                && before.distance_to(first).is_some_and(|away| away < len)
            {
                return Err(contradiction(first, "it is there twice"));
            }
            previous = Some((first, self.span(at).len));
        }
        Ok(())
    }

    /// Gives every span to its parent. Siblings come in the order of the list.
    fn link(&mut self) -> Result<(), CodecError> {
        let handles: Vec<Handle> = self.walk().collect();
        let mut before: Option<Handle> = None;
        for at in handles {
            let (first, place) = (self.span(at).first, self.span(at).place);
            match place {
                None => {
                    let parent = first
                        .index
                        .checked_sub(1)
                        .map(|index| Dot { index, ..first });
                    let parent = parent.and_then(|dot| self.locate(dot));
                    let Some((parent, _)) = parent else {
                        return Err(contradiction(first, "what it continues is missing"));
                    };
                    if before == Some(parent)
                        && self.span(at).content.is_some() == self.span(parent).content.is_some()
                    {
                        return Err(contradiction(first, "it belongs to the span before"));
                    }
                    self.spans[parent.index()].continued = Some(at);
                }
                Some(Place::After { parent: None, next }) => {
                    self.require(first, next)?;
                    self.roots.push(at);
                }
                Some(Place::After {
                    parent: Some(parent),
                    next,
                }) => {
                    self.require(first, next)?;
                    match self.locate(parent) {
                        Some((parent, offset)) if offset + 1 == self.span(parent).len => {
                            self.spans[parent.index()].right.push(at);
                        }
                        _ => return Err(contradiction(first, "its parent is no end of a span")),
                    }
                }
                Some(Place::Before { parent }) => match self.locate(parent) {
                    Some((parent, 0)) => self.spans[parent.index()].left.push(at),
                    _ => return Err(contradiction(first, "its parent is no start of a span")),
                },
            }
            before = Some(at);
        }
        Ok(())
    }

    fn require(&self, first: Dot, next: Option<Dot>) -> Result<(), CodecError> {
        match next {
            Some(dot) if !self.contains(dot) => {
                Err(contradiction(first, "what it was put before is missing"))
            }
            _ => Ok(()),
        }
    }

    /// Checks that the list is what a walk over the tree gives, and that siblings are in order.
    fn check_walk(&self) -> Result<(), CodecError> {
        enum Task {
            Enter(Handle),
            Pass(Handle),
        }
        let mut tasks: Vec<Task> = self.roots.iter().rev().copied().map(Task::Enter).collect();
        self.check_siblings(&self.roots)?;
        let mut list = self.walk();
        while let Some(task) = tasks.pop() {
            match task {
                Task::Enter(at) => {
                    let span = self.span(at);
                    if span.continued.is_some() && !span.right.is_empty() {
                        return Err(contradiction(span.first, "a child inside of a run"));
                    }
                    self.check_siblings(&span.left)?;
                    self.check_siblings(&span.right)?;
                    let after = span.continued.iter().chain(span.right.iter().rev());
                    tasks.extend(after.copied().map(Task::Enter));
                    tasks.push(Task::Pass(at));
                    tasks.extend(span.left.iter().rev().copied().map(Task::Enter));
                }
                Task::Pass(at) => {
                    if list.next() != Some(at) {
                        let dot = self.span(at).first;
                        return Err(contradiction(dot, "it is not where the tree has it"));
                    }
                }
            }
        }
        match list.next() {
            Some(at) => Err(contradiction(self.span(at).first, "it hangs in the air")),
            None => Ok(()),
        }
    }

    fn check_siblings(&self, siblings: &[Handle]) -> Result<(), CodecError> {
        for pair in siblings.windows(2) {
            if let [before, behind] = pair {
                let span = self.span(*behind);
                let ordered = span
                    .place
                    .is_some_and(|place| self.stands_before(*before, span.first, place));
                if !ordered {
                    return Err(contradiction(span.first, "siblings out of order"));
                }
            }
        }
        Ok(())
    }
}

fn contradiction(dot: Dot, what: &'static str) -> CodecError {
    CodecError::Contradiction { dot, what }
}
