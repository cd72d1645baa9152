//! The failures that callers of the store can meet, one enum per kind of call.

use std::path::PathBuf;
use std::sync::Arc;

use crate::batch::BatchError;
use crate::engine::EngineError;

/// Why a store could not be opened.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum OpenError {
    /// Another process has the folder open.
    #[error("another process already uses the store in {}; stop it first, or use another folder", .0.display())]
    InUse(PathBuf),
    /// The folder was written by a newer program.
    #[error(
        "the store has format version {found}, but this program reads versions up to {supported}; use a newer program"
    )]
    NewerFormat {
        /// Version written in the store.
        found: u32,
        /// Highest version that this program reads.
        supported: u32,
    },
    /// The version marker is not one that any version wrote.
    #[error("{} is not a store: expected a line such as \"ues-store 1\", found {found:?}", path.display())]
    NotAStore {
        /// The marker that was read.
        path: PathBuf,
        /// Its beginning.
        found: String,
    },
    /// A file of the store could not be read or written.
    #[error("cannot open {}: {source}", path.display())]
    Io {
        /// The file or folder.
        path: PathBuf,
        /// What the operating system said.
        source: std::io::Error,
    },
    /// The engine could not open or recover its files.
    #[error("the storage engine cannot open: {0}")]
    Engine(#[from] EngineError),
    /// The content contradicts the format.
    #[error("the store is damaged: {0}")]
    Damaged(String),
}

/// Why a read failed.
#[derive(Debug, Clone, thiserror::Error)]
#[non_exhaustive]
pub enum StorageError {
    /// The engine failed.
    #[error(transparent)]
    Engine(#[from] EngineError),
    /// A stored row does not have the form that the format prescribes.
    #[error("damaged row in keyspace {keyspace}: {what}")]
    Damaged {
        /// Keyspace of the row.
        keyspace: &'static str,
        /// What was expected and what was found.
        what: String,
    },
    /// The keyspace name is reserved for the store, empty or too long.
    #[error(
        "keyspace name {0:?} is not allowed: 1 to 64 of a-z, 0-9, '_', '-', and not one of the store's own"
    )]
    KeyspaceName(String),
    /// A write that the call needed was refused.
    #[error(transparent)]
    Commit(#[from] CommitError),
}

/// Why a batch was not committed.
#[derive(Debug, Clone, thiserror::Error)]
#[non_exhaustive]
pub enum CommitError {
    /// An earlier write or sync failed; the store takes no further write until it is opened anew.
    #[error("the store takes no more writes because an earlier one failed: {0}")]
    Poisoned(Arc<str>),
    /// The store was closed before the batch became durable.
    #[error("the store is closed")]
    Closed,
    /// The batch itself is not acceptable; nothing of it was written.
    #[error("the batch is not acceptable: {0}")]
    Invalid(#[from] BatchError),
}
