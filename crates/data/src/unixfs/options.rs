//! How files become blocks.

use bytes::Bytes;
use cid::Cid;

use super::{ImportError, Imported};
use crate::content_id::{DAG_PB, HashAlgorithm, RAW};
use crate::source::BlockSink;

/// The version of the CIDs that are made.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum CidVersion {
    /// `Qm…`, SHA-256 only.
    V0,
    /// `b…`.
    V1,
}

/// The choices that determine the CID of a file.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ImportOptions {
    /// The version of CIDs.
    pub version: CidVersion,
    /// The hash; version 0 knows SHA-256 only and ignores this.
    pub hash: HashAlgorithm,
    /// Whether the bytes of files lie in raw blocks, or in DAG-PB nodes.
    pub raw_leaves: bool,
    /// How many bytes of a file go into one block; 1 to 1 MiB.
    pub chunk_size: usize,
    /// How many links a node of a file has at most; 2 or more.
    pub max_links: usize,
    /// Whether files whose name begins with a dot are imported with their folder.
    pub hidden: bool,
}

impl ImportOptions {
    /// What `ipfs add` does: version 0, DAG-PB leaves, 256 KiB, 174 links.
    #[must_use]
    pub const fn cid_v0() -> Self {
        Self {
            version: CidVersion::V0,
            hash: HashAlgorithm::Sha2_256,
            raw_leaves: false,
            chunk_size: 256 << 10,
            max_links: 174,
            hidden: false,
        }
    }

    /// What `ipfs add --cid-version=1` does: version 1, raw leaves, 256 KiB, 174 links.
    #[must_use]
    pub const fn cid_v1() -> Self {
        Self {
            version: CidVersion::V1,
            raw_leaves: true,
            ..Self::cid_v0()
        }
    }

    pub(super) fn check(&self) -> Result<(), ImportError> {
        if self.chunk_size == 0 || self.chunk_size > 1 << 20 {
            return Err(ImportError::ChunkSize(self.chunk_size));
        }
        if self.max_links < 2 {
            return Err(ImportError::MaxLinks(self.max_links));
        }
        Ok(())
    }

    /// Names a DAG-PB node and keeps it.
    pub(super) fn put_node(
        &self,
        bytes: Vec<u8>,
        sink: &mut impl BlockSink,
    ) -> Result<Cid, ImportError> {
        let cid = match self.version {
            CidVersion::V0 => Cid::new_v0(HashAlgorithm::Sha2_256.multihash(&bytes))
                .map_err(|e| ImportError::Cid(e.to_string()))?,
            CidVersion::V1 => Cid::new_v1(DAG_PB, self.hash.multihash(&bytes)),
        };
        sink.put(&cid, Bytes::from(bytes))?;
        Ok(cid)
    }

    /// Names a raw block and keeps it. Raw blocks always have version 1.
    pub(super) fn put_raw(
        &self,
        bytes: Bytes,
        sink: &mut impl BlockSink,
    ) -> Result<Imported, ImportError> {
        let hash = match self.version {
            CidVersion::V0 => HashAlgorithm::Sha2_256,
            CidVersion::V1 => self.hash,
        };
        let cid = Cid::new_v1(RAW, hash.multihash(&bytes));
        let total_size = bytes.len() as u64;
        sink.put(&cid, bytes)?;
        Ok(Imported { cid, total_size })
    }
}
