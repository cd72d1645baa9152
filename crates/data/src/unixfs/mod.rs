//! UnixFS: files and directories as IPFS stores them.
//!
//! [`FileBuilder`], [`DirectoryBuilder`] and [`import_path`] make the very blocks and CIDs that `ipfs add` makes, with
//! its old defaults ([`ImportOptions::cid_v0`]) or with `--cid-version=1` ([`ImportOptions::cid_v1`]). [`open`] finds
//! what a path names, [`FileReader`] streams the bytes of a file, [`list`] lists a directory. See the
//! [specification](https://specs.ipfs.tech/unixfs/).
//!
//! Directories so large that Kubo divides them over several blocks (HAMT) are made and read in the same way.

mod directory;
mod entry;
mod error;
mod export;
mod extract;
mod file;
mod import;
mod message;
mod murmur3;
mod options;
mod shard;

pub use directory::DirectoryBuilder;
pub use entry::{DirEntry, Entry, list, open};
pub use error::{ExportError, ImportError};
pub use export::FileReader;
pub use extract::{ExtractError, ExtractLimits, Extracted, extract};
pub use file::FileBuilder;
pub use import::{MAX_NESTING, import_path, import_reader, symlink};
pub use message::MessageError;
pub use options::{CidVersion, ImportOptions};
pub use shard::ShardError;

/// What an import made: a CID and the size of everything below it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Imported {
    /// The root of what was imported.
    pub cid: cid::Cid,
    /// The bytes of all blocks below and including the root, as links state it (`Tsize`).
    pub total_size: u64,
}
