//! Insertions and deletions as edits carry them.

use crate::crdt::dot::Dot;
use crate::crdt::error::CrdtError;

use super::order::Order;
use super::{Content, Place, Sequence};

/// The most elements that one edit deletes.
pub(crate) const MAX_DELETED: u64 = 1 << 20;

/// A step of an edit, as far as the order of elements is concerned.
pub(crate) enum Step<'a, C> {
    Insert(Place, &'a C),
    Delete(Dot, u32),
    /// Takes an index and refers to these elements.
    Other([Option<Dot>; 2]),
}

/// The steps of one edit, which begins at a dot.
pub(crate) struct Steps<'a, C> {
    pub first: Dot,
    pub steps: &'a [Step<'a, C>],
}

impl<C: Content> Steps<'_, C> {
    /// How many indices the steps take.
    pub fn width(steps: &[Step<'_, C>]) -> u32 {
        let widths = steps.iter().map(|step| match step {
            Step::Insert(_, content) => content.len(),
            Step::Delete(..) => 0,
            Step::Other(_) => 1,
        });
        widths.fold(0_u32, u32::saturating_add).max(1)
    }

    /// The elements that the steps refer to.
    pub fn references(steps: &[Step<'_, C>]) -> Vec<Dot> {
        let mut dots = Vec::new();
        for step in steps {
            match step {
                Step::Insert(place, _) => dots.extend(place.references()),
                // The elements of a range are of one operation.
                Step::Delete(first, _) => dots.push(*first),
                Step::Other(anchors) => dots.extend(anchors.iter().flatten()),
            }
        }
        dots
    }

    /// Checks that all that the steps refer to is there, in `sequence` or made by an earlier step.
    pub fn check(&self, sequence: &Sequence<C>) -> Result<(), CrdtError> {
        // Each insertion and each end of a deletion makes two spans more at most.
        if sequence.order.len() + 2 * self.steps.len() > Order::MAX {
            return Err(CrdtError::Full(Order::MAX));
        }
        let mut made = Made {
            first: self.first,
            ends: Vec::new(),
            taken: 0,
        };
        let mut deleted = 0_u64;
        for step in self.steps {
            match *step {
                Step::Insert(place, content) => {
                    self.check_place(place, &made, sequence)?;
                    made.taken = made.taken.saturating_add(content.len());
                    made.ends.push((made.taken, true));
                }
                Step::Delete(first, count) => {
                    // Before the walk over the range, so that its cost is bounded too.
                    deleted += u64::from(count);
                    if deleted > MAX_DELETED {
                        let (max, found) = (MAX_DELETED, deleted);
                        return Err(CrdtError::TooManyDeleted { max, found });
                    }
                    let known = sequence.known(first, count);
                    if known < count {
                        return Err(CrdtError::Missing(first.within(known)));
                    }
                }
                Step::Other(anchors) => {
                    for dot in anchors.into_iter().flatten() {
                        if !made.contains(dot) && !sequence.contains(dot) {
                            return Err(CrdtError::Missing(dot));
                        }
                    }
                    made.taken = made.taken.saturating_add(1);
                    made.ends.push((made.taken, false));
                }
            }
        }
        Ok(())
    }

    fn check_place(
        &self,
        place: Place,
        made: &Made,
        sequence: &Sequence<C>,
    ) -> Result<(), CrdtError> {
        for dot in place.references() {
            if !made.contains(dot) && !sequence.contains(dot) {
                return Err(CrdtError::Missing(dot));
            }
        }
        match place {
            Place::After {
                parent: Some(parent),
                ..
            } if !made.ends_run(parent) && !sequence.ends_run(parent) => {
                Err(CrdtError::InsideRun(parent))
            }
            _ => Ok(()),
        }
    }

    /// Carries out the steps, which passed [`Steps::check`].
    pub fn carry_out(&self, sequence: &mut Sequence<C>) {
        let mut dot = self.first;
        for step in self.steps {
            match *step {
                Step::Insert(place, content) => {
                    sequence.insert(dot, place, content.clone());
                    dot = dot.within(content.len());
                }
                Step::Delete(first, count) => sequence.delete(first, count),
                Step::Other(_) => dot = dot.within(1),
            }
        }
    }
}

/// What the steps so far have made.
struct Made {
    first: Dot,
    /// Behind the last index of each step that takes indices, and whether its indices are elements.
    ends: Vec<(u32, bool)>,
    taken: u32,
}

impl Made {
    fn find(&self, dot: Dot) -> Option<(u32, u32)> {
        let offset = self.first.distance_to(dot)?;
        let step = self.ends.partition_point(|(end, _)| *end <= offset);
        let (end, elements) = self.ends.get(step).copied()?;
        elements.then_some((offset, end))
    }

    fn contains(&self, dot: Dot) -> bool {
        self.find(dot).is_some()
    }

    fn ends_run(&self, dot: Dot) -> bool {
        self.find(dot)
            .is_some_and(|(offset, end)| offset + 1 == end)
    }
}
