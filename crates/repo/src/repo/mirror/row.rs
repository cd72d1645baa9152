//! What is known of a copy beside its content.

use serde::{Deserialize, Serialize};
use ues_storage::Batch;

use crate::syntax::Did;

use super::super::RepoError;
use super::super::read::damaged;
use super::{MirrorError, Mirrors, commit_error};

/// A copy that is kept, or is to come.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Mirror {
    /// Whose repository.
    pub did: Did,
    /// Since when, milliseconds since 1970.
    pub added_ms: u64,
    /// Whether the blobs that records refer to are kept too.
    pub blobs: bool,
    /// The most bytes of blocks, and of one blob, that are taken.
    pub max_bytes: u64,
    /// Addresses of peers that may have it.
    pub peers: Vec<String>,
    /// The account's server, as its DID document named it last.
    pub server: Option<String>,
    /// The account's handle, as its DID document named it last. It was not verified.
    pub handle: Option<String>,
    /// The key that signs the repository, as a `did:key`, as the DID document named it last.
    pub key: Option<String>,
    /// Who gave the newest revision: an address of a server, or a peer.
    pub source: Option<String>,
    /// When a source last had nothing newer than what is here, milliseconds since 1970.
    pub checked_ms: Option<u64>,
    /// When the newest revision was taken, milliseconds since 1970.
    pub updated_ms: Option<u64>,
    /// Bytes of commit, tree nodes and records.
    pub bytes: u64,
    /// What the server says of the account, if it is not active: it is not served then.
    pub status: Option<String>,
    /// The last copy that was refused, until a good one comes.
    pub refused: Option<Refusal>,
}

/// A copy that was refused.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Refusal {
    /// Why.
    pub why: String,
    /// Whose it was.
    pub source: String,
    /// When, milliseconds since 1970.
    pub at_ms: u64,
}

impl Mirror {
    /// One that is to come.
    pub fn new(did: Did, now_ms: u64, max_bytes: u64) -> Self {
        Self {
            did,
            added_ms: now_ms,
            blobs: false,
            max_bytes,
            peers: Vec::new(),
            server: None,
            handle: None,
            key: None,
            source: None,
            checked_ms: None,
            updated_ms: None,
            bytes: 0,
            status: None,
            refused: None,
        }
    }

    /// Whether it is served to others, if the rules let it.
    pub fn is_active(&self) -> bool {
        self.status.is_none()
    }
}

impl Mirrors {
    /// All copies, by DID.
    ///
    /// # Errors
    /// When the store cannot be read.
    pub fn list(&self) -> Result<Vec<Mirror>, RepoError> {
        let mut out = Vec::new();
        for row in self.rows.prefix([]) {
            let (key, value) = row?;
            match serde_json::from_slice(&value) {
                Ok(row) => out.push(row),
                Err(error) => tracing::error!(?key, %error, "the row of a mirror cannot be read"),
            }
        }
        Ok(out)
    }

    /// What is known of a copy; `None` if the DID is not mirrored.
    ///
    /// # Errors
    /// When the store cannot be read.
    pub fn get(&self, did: &Did) -> Result<Option<Mirror>, RepoError> {
        match self.rows.get(did.as_str())? {
            None => Ok(None),
            Some(row) => serde_json::from_slice(&row)
                .map(Some)
                .map_err(|_| damaged(did, "the row of the mirror")),
        }
    }

    /// Writes what is known of a copy. Durable when it returns.
    ///
    /// # Errors
    /// When the store does not take it.
    pub async fn put(&self, row: &Mirror) -> Result<(), MirrorError> {
        let mut batch = self.repos.store().batch();
        self.put_in(row, &mut batch)?;
        let committed = self.repos.store().commit(batch).await;
        committed.map(drop).map_err(commit_error)
    }

    pub(super) fn put_in(&self, row: &Mirror, batch: &mut Batch) -> Result<(), MirrorError> {
        let text = serde_json::to_vec(row).map_err(commit_error)?;
        batch.put(&self.rows, row.did.as_str(), text);
        Ok(())
    }
}
