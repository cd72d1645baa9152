//! What a caller asks to be written, what comes of it, and why it may be refused.

use bytes::Bytes;
use ues_data::Cid;

use crate::syntax::{Did, Nsid, RecordKey, Tid};

use super::layout::Status;

/// Most operations in one commit (Sync 1.1).
pub const MAX_OPS: usize = 200;
/// Most bytes of one record.
pub const MAX_RECORD_BYTES: usize = 1_000_000;
/// Most bytes of the blocks in one commit event (Sync 1.1).
pub const MAX_COMMIT_BLOCKS_BYTES: usize = 2_000_000;

/// Where a record stands in its repository: `collection/rkey`.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct RecordPath {
    text: Box<str>,
    collection: u16,
}

impl RecordPath {
    /// Joins a collection and a record key.
    pub fn new(collection: &Nsid, rkey: &RecordKey) -> Self {
        let collection = collection.as_str();
        Self {
            text: format!("{collection}/{}", rkey.as_str()).into(),
            // An NSID has at most 317 characters.
            collection: collection.len() as u16,
        }
    }

    /// Reads `collection/rkey`, both parts checked.
    pub fn parse(text: &str) -> Result<Self, InvalidPath> {
        let invalid = || InvalidPath(text.chars().take(200).collect());
        let (collection, rkey) = text.split_once('/').ok_or_else(invalid)?;
        let collection = Nsid::parse(collection).map_err(|_| invalid())?;
        let rkey = RecordKey::parse(rkey).map_err(|_| invalid())?;
        Ok(Self::new(&collection, &rkey))
    }

    /// The whole path.
    pub fn as_str(&self) -> &str {
        &self.text
    }

    /// The collection's NSID.
    pub fn collection(&self) -> &str {
        self.text
            .get(..usize::from(self.collection))
            .unwrap_or_default()
    }

    /// The record key.
    pub fn rkey(&self) -> &str {
        self.text
            .get(usize::from(self.collection) + 1..)
            .unwrap_or_default()
    }
}

impl std::fmt::Display for RecordPath {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&self.text)
    }
}

/// A text that is not `collection/rkey`.
#[derive(Debug, thiserror::Error)]
#[error("{0:?} is not a record path: expected collection/rkey")]
pub struct InvalidPath(String);

/// How a write treats what stands at its path.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum WriteKind {
    /// Refused if there is a record.
    Create,
    /// As `Create`, and deletes the older records of the collection that refer to the same subject:
    /// likes, reposts, follows and blocks. One of them at the same path is updated.
    CreateReplacing,
    /// Refused if there is none.
    Update,
    /// Creates or updates; the same content again changes nothing.
    Put,
    /// Refused if there is none.
    Delete,
    /// Deletes if there is a record; no commit is made if there is none.
    DeleteIfPresent,
}

/// A record's encoded content.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Record {
    /// CID of `bytes`: DAG-CBOR, SHA-256.
    pub cid: Cid,
    /// Canonical DAG-CBOR.
    pub bytes: Bytes,
    /// The blobs that it refers to.
    pub blobs: Vec<Cid>,
}

impl Record {
    /// Hashes `bytes`, which must be canonical DAG-CBOR.
    pub fn new(bytes: Bytes, blobs: Vec<Cid>) -> Self {
        Self {
            cid: ues_data::dag_cbor_cid(&bytes),
            bytes,
            blobs,
        }
    }
}

/// One write.
#[derive(Clone, Debug)]
pub struct Write {
    /// Where.
    pub path: RecordPath,
    /// How.
    pub kind: WriteKind,
    /// The new content; `None` for the two deletions.
    pub record: Option<Record>,
    /// `Some(x)`: only if the record now is `x` (`None`: only if there is none). A `Put` or
    /// `DeleteIfPresent` that has nothing to change is not refused.
    pub swap: Option<Option<Cid>>,
}

/// What one write did.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// A new record.
    Created(Cid),
    /// New content of a record.
    Updated(Cid),
    /// The record is gone.
    Deleted,
    /// All was already so.
    Unchanged(Option<Cid>),
}

/// A commit, as write methods answer it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CommitMeta {
    /// The commit.
    pub cid: Cid,
    /// Its revision.
    pub rev: Tid,
}

/// What a call of `apply_writes` did. It is durable when the caller reads it.
#[derive(Clone, Debug)]
pub struct Applied {
    /// The commit that holds the writes; `None` if nothing changed.
    pub commit: Option<CommitMeta>,
    /// One for each write, in their order.
    pub results: Vec<Outcome>,
    /// Sequence number of the event, for a query that must see this write.
    pub seq: Option<u64>,
}

/// Why nothing was written.
#[derive(Clone, Debug, thiserror::Error)]
#[non_exhaustive]
pub enum WriteError {
    /// No repository of this DID.
    #[error("no repository of {0} here")]
    RepoNotFound(Did),
    /// There is one already.
    #[error("{0} has a repository here already")]
    RepoExists(Did),
    /// The account may not write.
    #[error("the account is {}", .0.name().unwrap_or("active"))]
    Inactive(Status),
    /// This device was never allowed to write to the repository, or no longer is.
    #[error("this device may not write to {0}: its right to was never given, or was taken back")]
    NotAWriter(Did),
    /// `swapCommit` is not the newest commit.
    #[error("Commit was at {current}")]
    SwapCommit {
        /// The newest commit.
        current: Cid,
    },
    /// `swapRecord` is not the record now.
    #[error("Record was at {}", .current.map_or_else(|| "null".to_owned(), |c| c.to_string()))]
    SwapRecord {
        /// The record now.
        current: Option<Cid>,
    },
    /// The repository would be larger than it may be.
    #[error("This account may have {quota} {what} and has {has}: there is no room for {more} more")]
    NoRoom {
        /// Of what.
        what: &'static str,
        /// How much it may have.
        quota: u64,
        /// How much it has.
        has: u64,
        /// How much more there would be.
        more: u64,
    },
    /// Created twice.
    #[error("there is already a record at {0}")]
    RecordExists(RecordPath),
    /// Updated or deleted where there is none.
    #[error("there is no record at {0}")]
    RecordMissing(RecordPath),
    /// A write that needs content came without it.
    #[error("the write to {0} has no record")]
    NoContent(RecordPath),
    /// More operations than one commit may have.
    #[error("Too many writes. Max: {MAX_OPS}")]
    TooManyOps,
    /// Content too large.
    #[error("{what} of {bytes} bytes is too large, at most {limit}")]
    TooLarge {
        /// What is.
        what: &'static str,
        /// Its size.
        bytes: usize,
        /// What is allowed.
        limit: usize,
    },
    /// A blob that was not uploaded.
    #[error("Could not find blob: {0}")]
    BlobNotFound(Cid),
    /// The account's key cannot be had.
    #[error("the signing key of {did} cannot be used: {reason}")]
    Key {
        /// Account.
        did: Did,
        /// Why.
        reason: String,
    },
    /// An archive that cannot be imported.
    #[error("the archive is refused: {0}")]
    BadArchive(String),
    /// What is stored is damaged.
    #[error("the repository of {did} is damaged: {reason}")]
    Damaged {
        /// Account.
        did: Did,
        /// What was found.
        reason: String,
    },
    /// The store did not take the write.
    #[error("the write could not be stored: {0}")]
    Storage(String),
}
