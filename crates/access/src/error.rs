//! The failures that callers can meet.

use ues_storage::{CommitError, StorageError};

use crate::{KeyId, OwnerId};

/// Why access was refused, or why owners and keys could not be read or changed.
#[derive(Debug, Clone, thiserror::Error)]
#[non_exhaustive]
pub enum AccessError {
    /// The text does not have the form of a key.
    #[error("a key such as ues_…_… expected")]
    Malformed,
    /// There is no such key.
    #[error("the key is not known")]
    Unknown,
    /// The key is no longer valid.
    #[error("the key expired")]
    Expired,
    /// The key was revoked.
    #[error("the key was revoked")]
    Revoked,
    /// There is no owner of this id.
    #[error("there is no owner {0}")]
    NoSuchOwner(OwnerId),
    /// There is no key of this id.
    #[error("there is no key {0}")]
    NoSuchKey(KeyId),
    /// A key without any scope would be of no use.
    #[error("a key needs at least one scope")]
    NoScopes,
    /// The name of a key is too long.
    #[error("the name of a key has at most {limit} bytes, found {found}")]
    NameTooLong {
        /// The most that is allowed.
        limit: usize,
        /// What was given.
        found: usize,
    },
    /// A rule for reading names more than can be.
    #[error("at most 1024 readers with names of at most 128 bytes expected")]
    Readers,
    /// The operating system gave no random bytes.
    #[error("no random bytes: {0}")]
    Random(String),
    /// A stored row cannot be understood.
    #[error("damaged row of owners and keys: {0}")]
    Damaged(String),
    /// Owners and keys lie elsewhere, and cannot be had from there now.
    #[error("owners and keys cannot be had: {0}")]
    Unavailable(String),
    /// The store cannot be read.
    #[error(transparent)]
    Storage(#[from] StorageError),
    /// The store cannot be written.
    #[error(transparent)]
    Commit(#[from] CommitError),
}

impl AccessError {
    /// Whether the fault lies with the key that was presented, rather than with the request or this program.
    pub fn is_denial(&self) -> bool {
        matches!(
            self,
            Self::Malformed | Self::Unknown | Self::Expired | Self::Revoked
        )
    }
}
