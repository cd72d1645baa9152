//! A sequence as bytes.

use ues_data::dag_cbor::{Kind, Reader, Writer};

use crate::crdt::dot::{Dot, Seen};
use crate::crdt::error::CodecError;
use crate::crdt::wire::narrow;

use super::order::Handle;
use super::{Content, Place, Sequence, Span};

/// The most operations in one entry of deleted elements. Without contents they take no bytes, and few bytes must not
/// become much memory.
const MAX_DELETED_OPERATIONS: u32 = 16;

/// What one entry of the encoding says: elements next to each other, as many as possible.
///
/// With one operation, they are of one run. With more, each operation gave one element, a run of its own and the only
/// child of the one before, as happens when people type.
struct Entry<'a, C> {
    first: Dot,
    len: u32,
    place: Option<Place>,
    operations: u32,
    /// Whether the last element is the whole of its run.
    single: bool,
    /// Empty once deleted.
    contents: Vec<&'a C>,
}

impl<'a, C: Content> Entry<'a, C> {
    fn new(span: &'a Span<C>) -> Self {
        Self {
            first: span.first,
            len: span.len,
            place: span.place,
            operations: 1,
            single: span.is_single(),
            contents: span.content.iter().collect(),
        }
    }

    /// Takes the next span in, if it continues this entry.
    fn take(&mut self, span: &'a Span<C>) -> bool {
        if span.content.is_none() != self.contents.is_empty() {
            return false;
        }
        let behind = self.first.distance_to(span.first) == Some(self.len);
        if self.operations == 1 && span.place.is_none() && behind {
            self.single = false;
        } else if self.single
            && span.is_single()
            && (span.content.is_some() || self.operations < MAX_DELETED_OPERATIONS)
            && typed(self.first, self.place, self.operations) == Some((span.first, span.place))
        {
            self.operations += 1;
        } else {
            return false;
        }
        self.len += span.len;
        self.contents.extend(&span.content);
        true
    }
}

impl<C> Span<C> {
    /// Whether it is a whole run of one element.
    fn is_single(&self) -> bool {
        self.len == 1 && self.place.is_some() && self.continued.is_none()
    }
}

/// The dot and place of the element that is typed behind `count` others, the first of which has this dot and place.
fn typed(first: Dot, place: Option<Place>, count: u32) -> Option<(Dot, Option<Place>)> {
    let next = match place? {
        Place::After { next, .. } => next,
        Place::Before { parent } => Some(parent),
    };
    let seq = first.seq.checked_add(count.into())?;
    let before = Dot {
        seq: seq.checked_sub(1)?,
        ..first
    };
    let parent = Some(before);
    Some((Dot { seq, ..first }, Some(Place::After { parent, next })))
}

impl<C: Content> Sequence<C> {
    /// Writes the spans in their order. Neighbours that continue each other are one entry, so that it does not matter how
    /// they were parted.
    pub fn write(&self, out: &mut Writer, write_content: impl Fn(&[&C], &mut Writer)) {
        let mut entries: Vec<Entry<'_, C>> = Vec::new();
        for at in self.walk() {
            let span = self.span(at);
            if !entries.last_mut().is_some_and(|last| last.take(span)) {
                entries.push(Entry::new(span));
            }
        }
        out.array(entries.len() as u64);
        for entry in &entries {
            out.array(3 + u64::from(entry.operations > 1));
            entry.first.write(out);
            match &entry.place {
                Some(place) => place.write(out),
                None => out.null(),
            }
            if entry.contents.is_empty() {
                out.uint(entry.len.into());
            } else {
                write_content(&entry.contents, out);
            }
            if entry.operations > 1 {
                out.uint(entry.operations.into());
            }
        }
    }

    /// Reads what [`Sequence::write`] wrote. A number stands for deleted elements; all else goes to `read_content`.
    ///
    /// That neighbours could be one entry is not noticed: who reads a state writes it again and compares.
    pub fn read(
        input: &mut Reader<'_>,
        seen: &Seen,
        read_content: impl Fn(&mut Reader<'_>) -> Result<C, CodecError>,
    ) -> Result<Self, CodecError> {
        let mut sequence = Self::default();
        for _ in 0..input.array()? {
            let items = input.array()?;
            if !matches!(items, 3 | 4) {
                let (expected, found) = (3, items);
                return Err(CodecError::Length { expected, found });
            }
            let first = Dot::read(input)?;
            let place = match input.try_null()? {
                true => None,
                false => Some(Place::read(input)?),
            };
            let content = match input.peek()? {
                Kind::Int => None,
                _ => Some(read_content(input)?),
            };
            let len = match &content {
                Some(content) => content.len(),
                None => narrow(input.uint()?)?,
            };
            if items == 3 {
                sequence.read_span(first, len, place, content, seen)?;
                continue;
            }
            if input.uint()? != u64::from(len) {
                return Err(contradiction(first, "not one element for each operation"));
            }
            if content.is_none() && len > MAX_DELETED_OPERATIONS {
                return Err(contradiction(first, "too many operations in one entry"));
            }
            sequence.read_typed(first, len, place, content, seen)?;
        }
        sequence.check_overlaps()?;
        sequence.link()?;
        sequence.check_walk()?;
        Ok(sequence)
    }

    fn read_typed(
        &mut self,
        first: Dot,
        len: u32,
        place: Option<Place>,
        mut content: Option<C>,
        seen: &Seen,
    ) -> Result<(), CodecError> {
        for count in 0..len {
            let one = if count == 0 {
                Some((first, place))
            } else {
                typed(first, place, count)
            };
            let Some((dot, place)) = one.filter(|(_, place)| place.is_some()) else {
                return Err(contradiction(first, "operations that cannot follow it"));
            };
            let last = count + 1 == len;
            let rest = content
                .as_mut()
                .filter(|_| !last)
                .map(|all| all.split_off(1));
            self.read_span(dot, 1, place, std::mem::replace(&mut content, rest), seen)?;
        }
        Ok(())
    }

    /// Puts a span behind all others, yet without its parent.
    fn read_span(
        &mut self,
        first: Dot,
        len: u32,
        place: Option<Place>,
        content: Option<C>,
        seen: &Seen,
    ) -> Result<(), CodecError> {
        let end = len.checked_sub(1).and_then(|more| first.plus(more));
        let Some(end) = end else {
            return Err(contradiction(first, "a span is empty or too long"));
        };
        seen.vouch(&[end])?;
        let last = self.order.len().checked_sub(1).map(Handle::at);
        let weight = content.as_ref().map_or(0, |_| len);
        let at = self.order.insert_after(last, weight);
        self.spans.push(Span {
            first,
            len,
            content,
            place,
            continued: None,
            left: Vec::new(),
            right: Vec::new(),
        });
        match self.index.insert(first, at) {
            Some(_) => Err(contradiction(first, "it is there twice")),
            None => Ok(()),
        }
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
