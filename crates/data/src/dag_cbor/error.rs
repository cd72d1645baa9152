//! Why bytes are not DAG-CBOR.

use super::reader::Kind;
use crate::content_id::CidBytesError;

/// An encoding that is not accepted, and where.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("not DAG-CBOR at byte {at}: {kind}")]
pub struct DecodeError {
    /// Offset of the offending item from the start of the input.
    pub at: usize,
    /// What is wrong there.
    pub kind: DecodeErrorKind,
}

/// What is wrong with an encoding.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum DecodeErrorKind {
    /// The input ends too early.
    #[error("the input ends here, more bytes expected")]
    Truncated,
    /// Bytes follow the value.
    #[error("{0} bytes follow the value")]
    Trailing(usize),
    /// A value of another kind stands here.
    #[error("{expected} expected, found {found}")]
    Unexpected {
        /// What the caller asked for.
        expected: Kind,
        /// What there is.
        found: Kind,
    },
    /// A number or a length takes more bytes than it needs.
    #[error("an integer or length is not in its shortest form")]
    NotMinimal,
    /// A length that is left open, or a reserved form.
    #[error("indefinite lengths and reserved forms are not allowed (initial byte 0x{0:02x})")]
    Indefinite(u8),
    /// A tag other than 42.
    #[error("tag 42 (a CID) is the only one allowed, found {0}")]
    Tag(u64),
    /// A simple value other than true, false and null, or a short float.
    #[error(
        "true, false, null and 64-bit floats are the only simple values, found initial byte 0x{0:02x}"
    )]
    Simple(u8),
    /// NaN or an infinity.
    #[error("NaN and infinities are not allowed")]
    NotFinite,
    /// A float where none is allowed.
    #[error("floating point numbers are not allowed here")]
    Float,
    /// A text that is not UTF-8.
    #[error("a text is not UTF-8")]
    Utf8,
    /// A map key that is not greater than the one before.
    #[error("map key {0:?} is out of order or repeated")]
    KeyOrder(String),
    /// A link without the 0x00 byte in front of its CID.
    #[error("a link starts with the byte 0x00")]
    LinkPrefix,
    /// A link whose CID is malformed.
    #[error("a link holds no CID: {0}")]
    Link(#[from] CidBytesError),
    /// The number does not fit the type asked for.
    #[error("the integer {0} is out of range here")]
    Range(i128),
    /// Nested deeper than allowed.
    #[error("nested deeper than {0}")]
    TooDeep(usize),
    /// Longer than allowed.
    #[error("at most {max} bytes allowed, found {found}")]
    TooLong {
        /// The limit.
        max: usize,
        /// The length of the input, or the part of it that was seen.
        found: usize,
    },
    /// More values than allowed.
    #[error("more than {0} values")]
    TooManyItems(usize),
    /// The input could not be read.
    #[error("the input could not be read: {0}")]
    Io(String),
}

/// Shortens foreign text for a message.
pub(super) fn excerpt(text: &str) -> String {
    text.chars().take(64).collect()
}
