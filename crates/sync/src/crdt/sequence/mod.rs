//! Elements in an order that several writers change: what lists and texts share.

mod codec;
mod mend;
mod order;
mod place;
mod steps;

use std::cmp::Ordering;
use std::collections::BTreeMap;

pub(crate) use mend::Mend;
pub use place::Place;
pub(crate) use steps::{Step, Steps};

use super::dot::Dot;
use super::error::CrdtError;
use order::{Handle, Order};

/// What the elements of a span hold.
pub(crate) trait Content: Clone {
    /// The number of elements, at least one.
    fn len(&self) -> u32;
    /// Takes off all elements from `at` on; `at` lies inside.
    fn split_off(&mut self, at: u32) -> Self;
}

/// Elements of one run that stand next to each other, all of them there or all of them deleted.
#[derive(Clone, Debug)]
struct Span<C> {
    first: Dot,
    len: u32,
    /// None once deleted.
    content: Option<C>,
    /// None for what continues the span of the element before.
    place: Option<Place>,
    /// The span that continues the run.
    continued: Option<Handle>,
    /// The left children of the first element: an element with left children is the first of its span.
    left: Vec<Handle>,
    /// The right children of the last element, the last of its run.
    right: Vec<Handle>,
}

/// A tree of runs (see [`Place`]), kept as the list that a walk over it gives.
#[derive(Clone, Debug)]
pub(crate) struct Sequence<C> {
    spans: Vec<Span<C>>,
    order: Order,
    /// Spans by their first element.
    index: BTreeMap<Dot, Handle>,
    /// The right children of the start of the list.
    roots: Vec<Handle>,
}

impl<C> Default for Sequence<C> {
    fn default() -> Self {
        Self {
            spans: Vec::new(),
            order: Order::default(),
            index: BTreeMap::new(),
            roots: Vec::new(),
        }
    }
}

impl<C: Content> Sequence<C> {
    /// The number of elements that a reader sees.
    pub fn len(&self) -> u64 {
        self.order.weight()
    }

    /// What a reader sees, piece by piece.
    pub fn contents(&self) -> impl Iterator<Item = &C> {
        self.walk().filter_map(|at| self.span(at).content.as_ref())
    }

    /// Whether the element was ever there.
    pub fn contains(&self, dot: Dot) -> bool {
        self.locate(dot).is_some()
    }

    /// How many of the elements from `first` on are known without a gap, `count` at most.
    pub fn known(&self, first: Dot, count: u32) -> u32 {
        let mut known = 0;
        while known < count {
            let Some((at, offset)) = first.plus(known).and_then(|dot| self.locate(dot)) else {
                break;
            };
            known = known.saturating_add(self.span(at).len - offset);
        }
        known.min(count)
    }

    /// Whether the element is the last of its run.
    pub fn ends_run(&self, dot: Dot) -> bool {
        self.locate(dot).is_some_and(|(at, offset)| {
            let span = self.span(at);
            offset + 1 == span.len && span.continued.is_none()
        })
    }

    /// How many elements that a reader sees stand before this one, and whether it is one itself.
    pub fn position(&self, dot: Dot) -> Option<(u64, bool)> {
        let (at, offset) = self.locate(dot)?;
        let before = self.order.weight_before(at);
        Some(match self.span(at).content {
            Some(_) => (before + u64::from(offset), true),
            None => (before, false),
        })
    }

    /// The piece with the element at a position among those that a reader sees, and the element's place in it.
    pub fn find(&self, position: u64) -> Option<(&C, u32)> {
        let (at, offset) = self.order.find(position)?;
        Some((self.span(at).content.as_ref()?, offset))
    }

    /// The element at a position among those that a reader sees.
    pub fn at(&self, position: u64) -> Result<Dot, CrdtError> {
        let found = self.order.find(position);
        let (at, offset) = found.ok_or(CrdtError::Position {
            len: self.len(),
            found: position,
        })?;
        Ok(self.span(at).first.within(offset))
    }

    /// The element right behind another one, deleted or not.
    pub fn behind(&self, dot: Option<Dot>) -> Option<Dot> {
        let Some(dot) = dot else {
            return self.order.first().map(|at| self.span(at).first);
        };
        let (at, offset) = self.locate(dot)?;
        let span = self.span(at);
        if offset + 1 < span.len {
            return Some(span.first.within(offset + 1));
        }
        self.order.next(at).map(|at| self.span(at).first)
    }

    /// The runs of deleted elements right behind an element, or at the start.
    pub fn deleted_behind(&self, dot: Option<Dot>) -> impl Iterator<Item = (Dot, u32)> {
        let mut here = match dot {
            None => self.order.first(),
            // Deleted elements are in spans of their own.
            Some(dot) => self.locate(dot).and_then(|(at, offset)| {
                let last = offset + 1 == self.span(at).len;
                last.then(|| self.order.next(at)).flatten()
            }),
        };
        std::iter::from_fn(move || {
            let at = here?;
            let span = self.span(at);
            here = self.order.next(at);
            span.content.is_none().then_some((span.first, span.len))
        })
    }

    /// Where a run goes that its author puts right behind this element, or at the start.
    pub fn place_behind(&self, left: Option<Dot>) -> Place {
        let child = match left {
            None => self.roots.first().copied(),
            Some(dot) => match self.locate(dot) {
                None => None,
                Some((at, offset)) if offset + 1 < self.span(at).len => {
                    let parent = self.span(at).first.within(offset + 1);
                    return Place::Before { parent };
                }
                Some((at, _)) => {
                    let span = self.span(at);
                    span.continued.or(span.right.first().copied())
                }
            },
        };
        match child {
            Some(child) => Place::Before {
                parent: self.span(self.leftmost(child)).first,
            },
            None => Place::After {
                parent: left,
                next: self.behind(left),
            },
        }
    }

    /// The elements from one position on, as ranges of successive dots.
    pub fn ranges(&self, position: u64, count: u64) -> Result<Vec<(Dot, u32)>, CrdtError> {
        let len = self.len();
        let end = position.checked_add(count).filter(|end| *end <= len);
        if end.is_none() {
            let found = position.saturating_add(count);
            return Err(CrdtError::Position { len, found });
        }
        let mut ranges: Vec<(Dot, u32)> = Vec::new();
        let mut left = count;
        let mut here = self.order.find(position);
        while let Some((at, offset)) = here.filter(|_| left > 0) {
            let span = self.span(at);
            if span.content.is_some() {
                let taken = u64::from(span.len - offset).min(left);
                left -= taken;
                let (first, taken) = (span.first.within(offset), taken as u32);
                match ranges.last_mut() {
                    Some((start, len)) if start.distance_to(first) == Some(*len) => *len += taken,
                    _ => ranges.push((first, taken)),
                }
            }
            here = self.order.next(at).map(|next| (next, 0));
        }
        Ok(ranges)
    }

    /// Puts a run in. That the place is a possible one was checked.
    fn insert(&mut self, first: Dot, place: Place, content: C) {
        let anchor = match place {
            Place::After { parent: None, .. } => Anchor::Start,
            Place::After {
                parent: Some(dot), ..
            } => match self.locate(dot) {
                Some((at, _)) => Anchor::RightOf(at),
                None => return,
            },
            Place::Before { parent } => match self.locate(parent) {
                Some((at, 0)) => Anchor::LeftOf(at),
                Some((at, offset)) => Anchor::LeftOf(self.split(at, offset)),
                None => return,
            },
        };
        let siblings = self.siblings(anchor);
        let rank = siblings.partition_point(|sibling| self.stands_before(*sibling, first, place));
        let gap = match (anchor, rank, siblings.get(rank)) {
            (Anchor::Start, 0, _) => Gap::After(None),
            (Anchor::RightOf(at), 0, _) => Gap::After(Some(at)),
            (Anchor::LeftOf(at), _, None) => Gap::Before(at),
            (_, _, next) => {
                let before = rank.checked_sub(1).and_then(|rank| siblings.get(rank));
                self.gap(before.copied(), next.copied())
            }
        };
        let weight = content.len();
        let new = match gap {
            Gap::After(at) => self.order.insert_after(at, weight),
            Gap::Before(at) => self.order.insert_before(at, weight),
        };
        self.spans.push(Span {
            first,
            len: weight,
            content: Some(content),
            place: Some(place),
            continued: None,
            left: Vec::new(),
            right: Vec::new(),
        });
        self.index.insert(first, new);
        self.siblings_mut(anchor).insert(rank, new);
    }

    /// Deletes elements. That they are known was checked.
    fn delete(&mut self, first: Dot, count: u32) {
        let mut done = 0;
        while done < count {
            let Some((mut at, offset)) = self.locate(first.within(done)) else {
                return;
            };
            let len = self.span(at).len - offset;
            if self.span(at).content.is_some() {
                if offset > 0 {
                    at = self.split(at, offset);
                }
                if count - done < len {
                    self.split(at, count - done);
                }
                self.spans[at.index()].content = None;
                self.order.set_weight(at, 0);
            }
            done = done.saturating_add(len);
        }
    }

    /// Parts a span in two; returns the second one.
    fn split(&mut self, at: Handle, offset: u32) -> Handle {
        let span = &mut self.spans[at.index()];
        let rest = span
            .content
            .as_mut()
            .map(|content| content.split_off(offset));
        let (first, len) = (span.first.within(offset), span.len - offset);
        span.len = offset;
        let (before, behind) = match rest {
            Some(_) => (offset, len),
            None => (0, 0),
        };
        let second = Span {
            first,
            len,
            content: rest,
            place: None,
            continued: span.continued.take(),
            left: Vec::new(),
            right: std::mem::take(&mut span.right),
        };
        self.order.set_weight(at, before);
        let new = self.order.insert_after(Some(at), behind);
        self.spans[at.index()].continued = Some(new);
        self.spans.push(second);
        self.index.insert(first, new);
        new
    }

    /// The place in the list between two siblings, one of which there is: behind the last descendant of the one, or
    /// before the first of the other. Both ways are gone at once until one ends: a new sibling has no descendants, so that
    /// long ways are not gone twice.
    fn gap(&self, before: Option<Handle>, next: Option<Handle>) -> Gap {
        let (mut before, mut next) = (before, next);
        loop {
            if let Some(at) = before {
                let span = self.span(at);
                match span.continued.or(span.right.last().copied()) {
                    None => return Gap::After(Some(at)),
                    lower => before = lower,
                }
            }
            if let Some(at) = next {
                match self.span(at).left.first() {
                    None => return Gap::Before(at),
                    lower => next = lower.copied(),
                }
            }
            if before.is_none() && next.is_none() {
                return Gap::After(None);
            }
        }
    }

    fn leftmost(&self, mut at: Handle) -> Handle {
        while let Some(left) = self.span(at).left.first() {
            at = *left;
        }
        at
    }

    /// Whether a sibling comes before a new run at this place.
    fn stands_before(&self, sibling: Handle, first: Dot, place: Place) -> bool {
        let span = self.span(sibling);
        let by_next = match (span.place, place) {
            (Some(Place::After { next: a, .. }), Place::After { next: b, .. }) => {
                self.compare_ends(b, a)
            }
            _ => Ordering::Equal,
        };
        by_next.then(span.first.cmp(&first)).is_lt()
    }

    /// Which of two elements comes first; none is the end of the list.
    fn compare_ends(&self, a: Option<Dot>, b: Option<Dot>) -> Ordering {
        if a == b {
            return Ordering::Equal;
        }
        let key = |dot: Option<Dot>| match dot.and_then(|dot| self.locate(dot)) {
            Some((at, offset)) => (self.order.rank(at), offset),
            None => (u64::MAX, 0),
        };
        key(a).cmp(&key(b))
    }

    fn siblings(&self, anchor: Anchor) -> &[Handle] {
        match anchor {
            Anchor::Start => &self.roots,
            Anchor::RightOf(at) => &self.span(at).right,
            Anchor::LeftOf(at) => &self.span(at).left,
        }
    }

    fn siblings_mut(&mut self, anchor: Anchor) -> &mut Vec<Handle> {
        match anchor {
            Anchor::Start => &mut self.roots,
            Anchor::RightOf(at) => &mut self.spans[at.index()].right,
            Anchor::LeftOf(at) => &mut self.spans[at.index()].left,
        }
    }

    /// The span that an element is in, and its place there.
    fn locate(&self, dot: Dot) -> Option<(Handle, u32)> {
        let (first, &at) = self.index.range(..=dot).next_back()?;
        let offset = first.distance_to(dot)?;
        (offset < self.span(at).len).then_some((at, offset))
    }

    fn walk(&self) -> impl Iterator<Item = Handle> {
        std::iter::successors(self.order.first(), |at| self.order.next(*at))
    }

    fn span(&self, at: Handle) -> &Span<C> {
        &self.spans[at.index()]
    }
}

/// Whose children a run is among.
#[derive(Clone, Copy)]
enum Anchor {
    Start,
    RightOf(Handle),
    LeftOf(Handle),
}

/// A place in the list of spans; behind nothing is the front.
enum Gap {
    After(Option<Handle>),
    Before(Handle),
}
