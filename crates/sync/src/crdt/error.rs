//! Why an edit is not applied, and why bytes are no edit or state.

use ues_data::dag_cbor::{DecodeError, EncodeError};

use super::dot::Dot;

/// Why an edit was not applied; the state is as it was.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum CrdtError {
    /// The edit is not new: this dot, or a later one of the same writer, was applied before.
    #[error("edit {0} was applied already, or a later one of its writer")]
    Applied(Dot),
    /// The edit refers to something that has not been applied.
    #[error("the edit refers to {0}, which has not been applied")]
    Missing(Dot),
    /// The edit takes more indices than an operation has.
    #[error("an edit at {dot} cannot take {width} indices")]
    Indices {
        /// The first dot of the edit.
        dot: Dot,
        /// How many it needs.
        width: u32,
    },
    /// The edit puts a run behind an element inside of another run, which its author must have seen.
    #[error("a run may follow {0} only as a child of the element behind it")]
    InsideRun(Dot),
    /// One edit deletes more than is allowed.
    #[error("one edit deletes at most {max} elements, found {found}")]
    TooManyDeleted {
        /// The limit.
        max: u64,
        /// How many this one deletes.
        found: u64,
    },
    /// A position behind the end.
    #[error("a position up to {len} expected, found {found}")]
    Position {
        /// The length of the list or text.
        len: u64,
        /// The position asked for.
        found: u64,
    },
    /// The state holds as many spans as it can.
    #[error("no room for more than {0} spans")]
    Full(usize),
}

/// Why bytes are no edit or state, or why there are no bytes for one.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum CodecError {
    /// Not canonical DAG-CBOR, or of another shape.
    #[error(transparent)]
    Decode(#[from] DecodeError),
    /// A value that DAG-CBOR cannot express.
    #[error(transparent)]
    Encode(#[from] EncodeError),
    /// A list of another length.
    #[error("a list of {expected} items expected, found {found}")]
    Length {
        /// What the format asks for.
        expected: usize,
        /// What there is.
        found: usize,
    },
    /// A number that the format does not know, or that is too large for its field.
    #[error("{what} expected, found {found}")]
    Number {
        /// What the format asks for.
        what: &'static str,
        /// What there is.
        found: u64,
    },
    /// An edit, a key or a name is longer than allowed.
    #[error("{what} of at most {max} bytes expected, found {found}")]
    TooLong {
        /// What is too long.
        what: &'static str,
        /// The limit.
        max: usize,
        /// The length found.
        found: usize,
    },
    /// Parts that must rise do not.
    #[error("{0} out of order or repeated")]
    Order(&'static str),
    /// The value of a mark is no map.
    #[error("a map as the value of a mark expected, found another kind")]
    MarkValue,
    /// A part that must not be empty is.
    #[error("{0} is empty")]
    Empty(&'static str),
    /// A state that would be written in another way.
    #[error("not the canonical form of the state")]
    NotCanonical,
    /// Parts of a state contradict each other.
    #[error("the state contradicts itself at {dot}: {what}")]
    Contradiction {
        /// Where.
        dot: Dot,
        /// What is wrong.
        what: &'static str,
    },
}
