//! Why a text is not DAG-JSON.

use crate::content_id::CidError;

/// A text that is not accepted, and where.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("not DAG-JSON at byte {at}: {kind}")]
pub struct DecodeError {
    /// Offset from the start of the text.
    pub at: usize,
    /// What is wrong there.
    pub kind: DecodeErrorKind,
}

/// What is wrong with a text.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum DecodeErrorKind {
    /// The text ends too early.
    #[error("the text ends here, more expected")]
    Truncated,
    /// Something follows the value.
    #[error("the value is complete, nothing may follow")]
    Trailing,
    /// A character that does not belong here.
    #[error("{expected} expected, found {found:?}")]
    Unexpected {
        /// What could stand here.
        expected: &'static str,
        /// The byte that does.
        found: char,
    },
    /// The text is not UTF-8.
    #[error("a text is not UTF-8")]
    Utf8,
    /// An escape that JSON does not have, or half of a surrogate pair.
    #[error("an escape is malformed")]
    Escape,
    /// A number that JSON does not write like this.
    #[error("a number is malformed")]
    Number,
    /// An integer outside of -2^64 .. 2^64-1, or a float too large.
    #[error("a number is out of range")]
    Range,
    /// A float where none is allowed.
    #[error("floating point numbers are not allowed here")]
    Float,
    /// A key that was there before.
    #[error("key {0:?} is repeated")]
    DuplicateKey(String),
    /// The reserved key with something that is neither a link nor bytes.
    #[error("{{\"/\": …}} is reserved for links and bytes, and stands alone")]
    Reserved,
    /// A link whose CID is malformed.
    #[error("a link holds no CID: {0}")]
    Link(#[from] CidError),
    /// Bytes that are not base64 without padding.
    #[error("bytes are not base64 without padding")]
    Base64,
    /// Nested deeper than allowed.
    #[error("nested deeper than {0}")]
    TooDeep(usize),
    /// Longer than allowed.
    #[error("at most {0} bytes allowed")]
    TooLong(usize),
    /// More values than allowed.
    #[error("more than {0} values")]
    TooManyItems(usize),
    /// The meaning is right, the form is not the canonical one.
    #[error("not in canonical form: white space, order of keys, or another way to write the same")]
    NotCanonical,
}
