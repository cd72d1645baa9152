//! Values in a store, under the CID of their encoding.

use bytes::Bytes;
use cid::Cid;
use ipld_core::ipld::Ipld;
use ues_storage::{Batch, BlockRef, CommitError, StorageError, Store};

use crate::Limits;
use crate::block::{self, CodecError};
use crate::content_id::{DAG_CBOR, HashAlgorithm, HashMismatch, cid_of, verify};
use crate::path::{self, PathError, PathLimits, Resolved};

/// How a value becomes a block.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Encoding {
    /// The codec.
    pub codec: u64,
    /// The hash that names the block.
    pub hash: HashAlgorithm,
}

impl Encoding {
    /// DAG-CBOR and BLAKE3: everything of our own.
    pub const OWN: Self = Self {
        codec: DAG_CBOR,
        hash: HashAlgorithm::Blake3,
    };

    /// DAG-CBOR and SHA-256: what AT Protocol reads.
    pub const ATPROTO: Self = Self {
        codec: DAG_CBOR,
        hash: HashAlgorithm::Sha2_256,
    };
}

impl Default for Encoding {
    fn default() -> Self {
        Self::OWN
    }
}

/// Why a value could not be kept or found.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum IpldStoreError {
    /// The value has no such encoding, or the block is not what its CID says.
    #[error(transparent)]
    Codec(#[from] CodecError),
    /// The block has another hash.
    #[error(transparent)]
    Hash(#[from] HashMismatch),
    /// The store could not write.
    #[error(transparent)]
    Commit(#[from] CommitError),
    /// The store could not read.
    #[error(transparent)]
    Storage(#[from] StorageError),
}

/// A store of values.
///
/// Blocks are kept alive by references in the name of one owner; [`remove`](Self::remove) gives a reference back, and
/// the store frees the block when nobody else holds it.
#[derive(Clone)]
pub struct IpldStore {
    store: Store,
    reference: BlockRef,
}

impl IpldStore {
    /// Values of `store` that are kept in the name of `reference`.
    #[must_use]
    pub const fn new(store: Store, reference: BlockRef) -> Self {
        Self { store, reference }
    }

    /// Keeps a value; returns its CID when it is on the disk.
    pub async fn put(&self, value: &Ipld, encoding: Encoding) -> Result<Cid, IpldStoreError> {
        let mut batch = self.store.batch();
        let cid = self.stage(&mut batch, value, encoding)?;
        self.store.commit(batch).await?;
        Ok(cid)
    }

    /// [`put`](Self::put) for threads that may block.
    pub fn put_blocking(&self, value: &Ipld, encoding: Encoding) -> Result<Cid, IpldStoreError> {
        let mut batch = self.store.batch();
        let cid = self.stage(&mut batch, value, encoding)?;
        self.store.commit_blocking(batch)?;
        Ok(cid)
    }

    /// Adds a value to a batch that the caller commits.
    pub fn stage(
        &self,
        batch: &mut Batch,
        value: &Ipld,
        encoding: Encoding,
    ) -> Result<Cid, IpldStoreError> {
        let bytes = block::encode(encoding.codec, value)?;
        let cid = cid_of(encoding.codec, encoding.hash, &bytes);
        batch.put_block(cid.hash(), bytes, self.reference);
        Ok(cid)
    }

    /// The value of a CID, or `None` if the store does not have it.
    pub fn get(&self, cid: &Cid) -> Result<Option<Ipld>, IpldStoreError> {
        match self.store.block(cid.hash())? {
            Some(bytes) => Ok(Some(block::decode(cid.codec(), &bytes, Limits::GENERAL)?)),
            None => Ok(None),
        }
    }

    /// Follows a path from a CID, across links.
    pub fn resolve(&self, root: &Cid, path: &str) -> Result<Resolved, PathError> {
        path::resolve(&self.store, root, path, PathLimits::default())
    }

    /// Gives the reference to a value back.
    pub async fn remove(&self, cid: &Cid) -> Result<(), IpldStoreError> {
        let mut batch = self.store.batch();
        batch.release_block(cid.hash(), self.reference);
        self.store.commit(batch).await?;
        Ok(())
    }

    /// The CID that a value has, without keeping it.
    pub fn compute_cid(value: &Ipld, encoding: Encoding) -> Result<Cid, IpldStoreError> {
        let bytes = block::encode(encoding.codec, value)?;
        Ok(cid_of(encoding.codec, encoding.hash, &bytes))
    }

    /// Checks that bytes are the block of a CID: the right hash, and well-formed in its codec.
    pub fn validate_cid(cid: &Cid, bytes: &Bytes) -> Result<(), IpldStoreError> {
        verify(cid, bytes)?;
        block::decode(cid.codec(), bytes, Limits::GENERAL)?;
        Ok(())
    }
}
