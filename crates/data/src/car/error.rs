//! Why an archive is not accepted.

use std::io;

use crate::content_id::{CidBytesError, HashMismatch};
use crate::dag_cbor::DecodeError;
use crate::varint::VarintError;

/// An archive that is malformed, untrue or beyond limits. Offsets count bytes from its start.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum CarError {
    /// The header is not the map that the format asks for.
    #[error("the CAR header is malformed: {0}")]
    Header(#[from] DecodeError),
    /// The header has other fields than `roots` and `version`.
    #[error("the CAR header has roots and version, found {0:?}")]
    HeaderField(String),
    /// Another version of the format.
    #[error("CAR version 1 expected, found version {0}")]
    Version(u64),
    /// A length is no proper varint.
    #[error("a length is malformed at byte {at}: {reason}")]
    Length {
        /// Where the length begins.
        at: u64,
        /// What is wrong with it.
        reason: VarintError,
    },
    /// A section without content.
    #[error("an empty section at byte {at}")]
    Empty {
        /// Where the section begins.
        at: u64,
    },
    /// A section does not begin with a CID.
    #[error("a section begins with a CID, at byte {at}: {reason}")]
    Cid {
        /// Where the section begins.
        at: u64,
        /// What is wrong.
        reason: CidBytesError,
    },
    /// The bytes of a block are not what its CID says.
    #[error("a damaged block at byte {at}: {reason}")]
    Hash {
        /// Where the section begins.
        at: u64,
        /// How they differ.
        reason: HashMismatch,
    },
    /// The archive ends inside of a section or of the header.
    #[error(
        "the archive is cut off: at byte {at} a section of {expected} bytes begins, {found} of them are there"
    )]
    Truncated {
        /// Where the section begins.
        at: u64,
        /// How long it is, with its length in front; 0 if not even the length is complete.
        expected: u64,
        /// How many bytes there are.
        found: u64,
    },
    /// A header that is longer than allowed.
    #[error("a header of at most {max} bytes allowed, found {found}")]
    HeaderTooLong {
        /// The limit.
        max: usize,
        /// The announced length.
        found: u64,
    },
    /// A block that is longer than allowed.
    #[error("a block of at most {max} bytes allowed, found {found} at byte {at}")]
    BlockTooLong {
        /// Where the section begins.
        at: u64,
        /// The limit.
        max: usize,
        /// The announced length.
        found: u64,
    },
    /// More blocks than allowed.
    #[error("at most {0} blocks allowed")]
    TooManyBlocks(u64),
    /// The whole archive is longer than allowed.
    #[error("an archive of at most {0} bytes allowed")]
    TooLong(u64),
    /// The input or output failed.
    #[error("reading or writing the archive failed")]
    Io(#[from] io::Error),
}
