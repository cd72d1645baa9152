//! The content of a blob on its way in.

use sha2::{Digest, Sha256};
use ues_data::{Cid, Multihash, content_id};

use crate::blob_store::{BlobStore, BlobStoreError, BlobWriter, Place};

use super::Repositories;

/// Takes the content of a blob piece by piece, with a few megabytes of memory whatever its size. Dropping it unfinished
/// frees what it has stored.
pub struct BlobIntake {
    writer: Box<dyn BlobWriter>,
    hash: Sha256,
    size: u64,
    slot: u64,
}

/// Content that is stored, and not entered as a blob of its repository yet.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct StoredBlob {
    /// Its CID: raw, SHA-256.
    pub cid: Cid,
    /// Bytes.
    pub size: u64,
    /// Where its content is.
    pub place: Place,
    /// Slot under which it is held.
    pub slot: u64,
}

/// Content that is not what it should be; what was stored of it is freed.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum BlobIntakeError {
    /// The store failed.
    #[error(transparent)]
    Store(#[from] BlobStoreError),
    /// Other bytes than the CID says.
    #[error("the content of {expected} expected, found that of {found}")]
    Mismatch {
        /// What was asked for.
        expected: Box<Cid>,
        /// What came.
        found: Box<Cid>,
    },
}

impl Repositories {
    /// Begins to take in a blob for the repository of this number.
    pub fn blob_intake(&self, owner: u64) -> BlobIntake {
        let holder = self.blob_holder(owner);
        BlobIntake {
            writer: self.around().content.writer(holder),
            hash: Sha256::new(),
            size: 0,
            slot: holder.slot,
        }
    }
}

impl std::fmt::Debug for BlobIntake {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("BlobIntake")
            .field("size", &self.size)
            .finish_non_exhaustive()
    }
}

impl BlobIntake {
    /// Adds content. Blocks while earlier content is on its way.
    ///
    /// # Errors
    /// When the store fails.
    pub fn push(&mut self, bytes: &[u8]) -> Result<(), BlobStoreError> {
        self.hash.update(bytes);
        self.size += bytes.len() as u64;
        self.writer.push(bytes)
    }

    /// Bytes that came so far.
    #[must_use]
    pub fn size(&self) -> u64 {
        self.size
    }

    /// Makes the content durable. Blocks.
    ///
    /// # Errors
    /// When the store fails.
    pub fn finish(self) -> Result<StoredBlob, BlobIntakeError> {
        let cid = self.cid();
        let slot = self.slot;
        let size = self.size;
        let place = self.writer.finish()?;
        Ok(StoredBlob {
            cid,
            size,
            place,
            slot,
        })
    }

    /// Makes the content durable if it is that of `expected`. Blocks.
    ///
    /// # Errors
    /// When it is not, or the store fails.
    pub fn finish_as(self, expected: &Cid) -> Result<StoredBlob, BlobIntakeError> {
        let found = self.cid();
        if found.hash() != expected.hash() {
            return Err(BlobIntakeError::Mismatch {
                expected: Box::new(*expected),
                found: Box::new(found),
            });
        }
        self.finish()
    }

    fn cid(&self) -> Cid {
        let digest: [u8; 32] = self.hash.clone().finalize().into();
        // 32 bytes always fit.
        let hash = Multihash::wrap(content_id::SHA2_256, &digest).unwrap_or_default();
        Cid::new_v1(content_id::RAW, hash)
    }
}
