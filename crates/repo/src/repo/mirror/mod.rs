//! Copies of repositories that belong to others: kept whole, verified against the account's key, and moved from one
//! revision to the next by what differs.
//!
//! A copy lies in the rows of repositories, under a number of its own range, and is named by keyspaces of its own: it is
//! read like a repository of this node and never listed, announced or written as one.

mod judge;
pub(super) mod links;
mod rebuild;
mod row;
mod tidy;
mod update;

use std::sync::Arc;

use ues_storage::{Batch, Keyspace, StorageError};

use crate::crypto::SigningKey;
use crate::syntax::{Did, Tid};

use super::blobs::RefChanges;
use super::lane::Surroundings;
use super::layout::Numbers;
use super::repositories::{KeySource, KeySourceError};
use super::usage::Usage;
use super::verify::VerifyError;
use super::{RepoError, Repositories};

pub use judge::{Judged, Offered, Refused, judge};
pub use row::{Mirror, Refusal};
pub use update::{Taken, Update};

/// Numbers of copies begin here; those of this node's repositories lie below.
pub(super) const FIRST_OWNER: u64 = 1 << 62;

/// Rows that one batch writes when a whole copy is gone through.
const SLICE: usize = 4096;

/// Why a copy was not changed.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum MirrorError {
    /// Nothing is kept of this DID.
    #[error("{0} is not mirrored here")]
    NotMirrored(Did),
    /// The copy would be larger than it may be.
    #[error(
        "the repository has more than {limit} bytes: `ues mirror add --max` says how many are taken"
    )]
    TooLarge {
        /// The most that it may have.
        limit: u64,
    },
    /// Blocks are still to come.
    #[error("{0} blocks are missing")]
    Incomplete(usize),
    /// What came is not a repository.
    #[error(transparent)]
    Verify(#[from] VerifyError),
    /// The repository cannot be read.
    #[error(transparent)]
    Repo(#[from] RepoError),
    /// The store failed.
    #[error(transparent)]
    Storage(#[from] StorageError),
    /// The store did not take a change.
    #[error("the store did not take the change: {0}")]
    Commit(String),
}

/// The copies of one store. Cheap to clone.
#[derive(Clone)]
pub struct Mirrors {
    repos: Repositories,
    /// DID -> [`Mirror`], JSON.
    rows: Keyspace,
    /// DID -> the number under which a copy is being put together.
    staging: Keyspace,
    /// Number, digest -> the revision of which it is a tree node, or 0: what came and is not part of a copy yet.
    staged: Keyspace,
    /// Number -> what is to be freed of it.
    trash: Keyspace,
}

/// Nobody writes to a copy.
struct NoKeys;

impl KeySource for NoKeys {
    fn signing_key(&self, _: &Did) -> Result<Option<Arc<SigningKey>>, KeySourceError> {
        Ok(None)
    }
}

impl Mirrors {
    /// Opens the copies in the store of a node's repositories.
    ///
    /// # Errors
    /// When the store cannot be read.
    pub fn open(repos: &Repositories) -> Result<Self, RepoError> {
        let store = repos.store();
        Ok(Self {
            rows: store.keyspace("mirrors")?,
            staging: store.keyspace("mirror_staging")?,
            staged: store.keyspace("mirror_staged")?,
            trash: store.keyspace("mirror_trash")?,
            repos: repos.of_others(Arc::new(NoKeys))?,
        })
    }

    /// The copies as repositories, to be read.
    pub fn repos(&self) -> &Repositories {
        &self.repos
    }
}

fn commit_error(e: impl std::fmt::Display) -> MirrorError {
    MirrorError::Commit(e.to_string())
}

fn number(row: &[u8]) -> Option<u64> {
    row.try_into().map(u64::from_be_bytes).ok()
}

/// Adds the blobs that records came to refer to, or no longer do, to a batch. A copy counts nobody's use.
fn refer(
    refs: RefChanges,
    around: &Surroundings,
    owner: u64,
    rev: &Tid,
    batch: &mut Batch,
) -> Result<(), MirrorError> {
    let numbers = Numbers::same(owner);
    let written = refs.write(around, numbers, rev, &mut Usage::default(), batch);
    written.map_err(commit_error)
}
