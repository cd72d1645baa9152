//! Errors of keys and signatures.

use super::KeyKind;

/// Why bytes or a string are not a key.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum KeyError {
    /// The string does not begin as a did:key does.
    #[error("a did:key begins with \"did:key:z\", found {found:?}")]
    NotDidKey {
        /// The beginning of what was found.
        found: String,
    },
    /// The string is not multibase base58btc (a `z` and base58 characters), or is too long.
    #[error("a multikey is \"z\" and at most 128 base58 characters")]
    NotMultibase,
    /// The multicodec prefix names no kind of key that is known here.
    #[error(
        "unsupported key type: multicodec prefix {prefix:02x?}, expected K-256, P-256 or Ed25519"
    )]
    UnsupportedKind {
        /// The first two bytes.
        prefix: Vec<u8>,
    },
    /// The bytes are not a point of the curve, or not a secret number of it.
    #[error("not a valid {kind:?} key")]
    Invalid {
        /// The kind that it should have been.
        kind: KeyKind,
    },
    /// The multikey is not one of 32 bytes for X25519.
    #[error("not an X25519 key: expected multicodec prefix ec 01 and 32 bytes")]
    NotX25519,
    /// The system gave no random bytes.
    #[error("the system gave no random bytes: {0}")]
    NoRandomness(String),
}

/// Why a signature does not hold.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum SignatureError {
    /// Not 64 bytes: DER, for example.
    #[error("a signature has 64 bytes, found {found}")]
    Length {
        /// How many bytes there are.
        found: usize,
    },
    /// The numbers in it are zero or beyond the order of the curve.
    #[error("not a well-formed {kind:?} signature")]
    Malformed {
        /// The kind of the key.
        kind: KeyKind,
    },
    /// The S value is the higher of the two, so that anyone could have changed it.
    #[error("the signature's S value is the high one, which is not accepted")]
    HighS,
    /// It is not this key's signature of this message.
    #[error("the signature does not match key and message")]
    Mismatch,
}
