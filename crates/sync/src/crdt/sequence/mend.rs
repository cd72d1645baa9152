//! What is left of steps whose elements were taken back.

use super::{Content, Place, Sequence};
use crate::crdt::dot::Dot;

/// Looks at the elements that the steps of one edit refer to.
pub(crate) struct Mend<'a, C> {
    /// The first dot of the edit: it may refer to what it makes itself.
    pub own: Dot,
    pub sequence: &'a Sequence<C>,
}

impl<C: Content> Mend<'_, C> {
    pub fn is_there(&self, dot: Dot) -> bool {
        self.own.distance_to(dot).is_some() || self.sequence.contains(dot)
    }

    /// A place that is not there any more is the end.
    pub fn place(&self, place: Place) -> Place {
        let parent = match place {
            Place::After { parent, .. } => parent,
            Place::Before { parent } => Some(parent),
        };
        if parent.is_some_and(|parent| !self.is_there(parent)) {
            return Place::After {
                parent: None,
                next: None,
            };
        }
        match place {
            Place::After { parent, next } => Place::After {
                parent,
                next: next.filter(|next| self.is_there(*next)),
            },
            before @ Place::Before { .. } => before,
        }
    }

    /// How many of the elements from `first` on are there; none if there are none.
    pub fn range(&self, first: Dot, count: u32) -> Option<u32> {
        let known = self.sequence.known(first, count);
        (known > 0).then_some(known)
    }
}
