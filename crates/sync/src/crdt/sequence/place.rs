//! Where a run stands among the others: FugueMax.

use ues_data::dag_cbor::{Reader, Writer};

use crate::crdt::dot::Dot;
use crate::crdt::error::CodecError;

/// The place of a run in the tree of all elements, as its author saw it.
///
/// After Weidner and Kleppmann, "The Art of the Fugue: Minimizing Interleaving in Collaborative Text Editing", FugueMax.
/// The order of elements is the order in which a walk over the tree meets them: the left children of an element, the
/// element, its right children. Left children of one element come in the order of their dots. Right children come in
/// reverse order of the elements they were put before, then in the order of their dots. Each element of a run but the
/// first is the only right child of the one before it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Place {
    /// A right child, for an element that had none.
    After {
        /// The element on the left; none for the start of the list.
        parent: Option<Dot>,
        /// The element that stood on the right; none for the end of the list.
        next: Option<Dot>,
    },
    /// A left child.
    Before {
        /// The element on the right.
        parent: Dot,
    },
}

impl Place {
    pub(crate) fn references(&self) -> impl Iterator<Item = Dot> {
        let (one, other) = match *self {
            Self::After { parent, next } => (parent, next),
            Self::Before { parent } => (Some(parent), None),
        };
        one.into_iter().chain(other)
    }

    pub(crate) fn write(&self, out: &mut Writer) {
        match *self {
            Self::After { parent, next } => {
                out.array(2);
                Dot::write_option(parent, out);
                Dot::write_option(next, out);
            }
            Self::Before { parent } => {
                out.array(1);
                parent.write(out);
            }
        }
    }

    pub(crate) fn read(input: &mut Reader<'_>) -> Result<Self, CodecError> {
        match input.array()? {
            1 => Ok(Self::Before {
                parent: Dot::read(input)?,
            }),
            2 => Ok(Self::After {
                parent: Dot::read_option(input)?,
                next: Dot::read_option(input)?,
            }),
            found => Err(CodecError::Length { expected: 2, found }),
        }
    }
}
