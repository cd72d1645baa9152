//! Why files cannot be imported or exported.

use std::io;
use std::path::PathBuf;

use cid::Cid;

use super::message::MessageError;
use super::shard::ShardError;
use crate::content_id::HashMismatch;
use crate::dag_pb::DecodeError;
use crate::source::{BlockSinkError, BlockSourceError};

/// Why an import failed.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ImportError {
    /// A file could not be read.
    #[error("{path} could not be read")]
    Read {
        /// The file.
        path: PathBuf,
        /// What the system said.
        #[source]
        reason: io::Error,
    },
    /// The input could not be read.
    #[error("the input could not be read")]
    Io(#[from] io::Error),
    /// A block could not be kept.
    #[error(transparent)]
    Sink(#[from] BlockSinkError),
    /// A useless chunk size.
    #[error("a chunk size from 1 byte to 1 MiB expected, found {0}")]
    ChunkSize(usize),
    /// A useless number of links.
    #[error("nodes have 2 links or more, found {0}")]
    MaxLinks(usize),
    /// Something that is neither file, directory nor symbolic link, or whose name is not UTF-8.
    #[error("{0} is neither a file, a directory nor a symbolic link, or its name is not UTF-8")]
    Unsupported(PathBuf),
    /// A name that a directory cannot hold.
    #[error("a name in a directory is not empty and has no '/', found {0:?}")]
    Name(String),
    /// The same name twice in a directory.
    #[error("the directory already has {0:?}")]
    Duplicate(String),
    /// A name of a large directory whose hash is that of another one.
    #[error("the name {0:?} has the same hash as another one in its directory")]
    Collision(String),
    /// Folders nested deeper than allowed.
    #[error("folders nested deeper than {0}")]
    TooDeep(usize),
    /// The CID could not be made.
    #[error("no CID: {0}")]
    Cid(String),
}

/// Why an export failed.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ExportError {
    /// A block is not there.
    #[error("block {0} is missing")]
    Missing(Cid),
    /// The source failed.
    #[error(transparent)]
    Source(#[from] BlockSourceError),
    /// The source gave other bytes than the CID names.
    #[error(transparent)]
    Hash(#[from] HashMismatch),
    /// A block is not DAG-PB.
    #[error("block {cid}: {reason}")]
    Node {
        /// The block.
        cid: Cid,
        /// What is wrong.
        #[source]
        reason: DecodeError,
    },
    /// A block does not hold UnixFS.
    #[error("block {cid}: {reason}")]
    Message {
        /// The block.
        cid: Cid,
        /// What is wrong.
        #[source]
        reason: MessageError,
    },
    /// A block of a codec that files do not use.
    #[error("block {cid}: files are made of raw and DAG-PB blocks, found codec 0x{codec:x}")]
    Codec {
        /// The block.
        cid: Cid,
        /// Its codec.
        codec: u64,
    },
    /// Another kind of entry than was asked for.
    #[error("{expected} expected at {cid}, found {found}")]
    Kind {
        /// The block.
        cid: Cid,
        /// What was asked for.
        expected: &'static str,
        /// What there is.
        found: &'static str,
    },
    /// A malformed part of a directory that is divided over several blocks.
    #[error("block {cid}: {reason}")]
    Shard {
        /// The block.
        cid: Cid,
        /// What is wrong.
        #[source]
        reason: ShardError,
    },
    /// No entry of this name.
    #[error("directory {cid} has no entry {name:?}")]
    NotFound {
        /// The directory.
        cid: Cid,
        /// The name.
        name: String,
    },
    /// A file that says one size and has another.
    #[error("block {cid}: {expected} bytes announced, {found} found")]
    Size {
        /// The block.
        cid: Cid,
        /// The announced size.
        expected: u64,
        /// The real one, as far as it was read.
        found: u64,
    },
    /// Nodes nested deeper, or a path longer, than allowed.
    #[error("nested deeper than {0}")]
    TooDeep(usize),
}

impl From<ExportError> for io::Error {
    fn from(e: ExportError) -> Self {
        let kind = match &e {
            ExportError::Missing(_) | ExportError::NotFound { .. } => io::ErrorKind::NotFound,
            ExportError::Source(_) => io::ErrorKind::Other,
            _ => io::ErrorKind::InvalidData,
        };
        Self::new(kind, e)
    }
}
