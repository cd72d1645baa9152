//! Operations: what writers sign.
//!
//! The block of an operation is the DAG-CBOR list `[payload, signature]`. The signature covers [`DOMAIN`] and then the
//! payload's bytes as they stand, so that nothing has to be encoded again to check it. The operation is named by the
//! BLAKE3 CID of its block. `docs/sync.md` describes the payload field by field.

mod payload;

use bytes::Bytes;
use ues_data::Cid;
use ues_data::content_id::{DAG_CBOR, blake3_cid};
use ues_data::dag_cbor::{self, Reader, Writer};
use ues_repo::crypto::{SigningKey, VerifyingKey};
use ues_repo::repo::write::RecordPath;
use ues_repo::syntax::Did;

use crate::clock::{VectorClock, WriterId};
use crate::hybrid_time::HybridTime;
use crate::merge::Merge;

use payload::{MERGING, VERSION};

/// What a signature covers before the payload.
pub const DOMAIN: &[u8] = b"ues operation 1\0";
/// Most bytes of a block.
pub const MAX_OPERATION_BYTES: usize = 96 << 10;
/// Most bytes of a writer's name.
pub const MAX_NAME_BYTES: usize = 128;

/// The name of an operation: BLAKE3 of its block.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct OperationId(pub [u8; 32]);

impl OperationId {
    /// Names a block.
    pub fn of(block: &[u8]) -> Self {
        Self(*blake3::hash(block).as_bytes())
    }

    /// The CID: version 1, DAG-CBOR, BLAKE3.
    pub fn cid(&self) -> Option<Cid> {
        let hash = ues_data::Multihash::wrap(ues_data::content_id::BLAKE3, &self.0).ok()?;
        Some(Cid::new_v1(DAG_CBOR, hash))
    }

    fn from_cid(cid: &Cid) -> Option<Self> {
        let right = cid.codec() == DAG_CBOR && cid.hash().code() == ues_data::content_id::BLAKE3;
        let digest = cid.hash().digest().try_into().ok()?;
        right.then_some(Self(digest))
    }
}

impl std::fmt::Debug for OperationId {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self.cid() {
            Some(cid) => cid.fmt(f),
            None => f.write_str("?"),
        }
    }
}

impl std::fmt::Display for OperationId {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self.cid() {
            Some(cid) => cid.fmt(f),
            None => f.write_str("?"),
        }
    }
}

/// The state of a repository that the root signs: where the log of later devices begins.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SnapshotSums {
    /// Root of the record tree.
    pub records: Cid,
    /// BLAKE3 over the states of all targets, see [`crate::log::states_digest`].
    pub states: [u8; 32],
    /// The last operation of each other writer, by writer.
    pub tips: Vec<SnapshotTip>,
}

/// The last operation of a writer that a snapshot counts. It counts from then on, whatever turns out about the writer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SnapshotTip {
    /// Who.
    pub writer: WriterId,
    /// Its number.
    pub seq: u64,
    /// Its name.
    pub id: OperationId,
}

/// What an operation does.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Action {
    /// The record at a path has a new content, whatever it had.
    Put {
        /// Where.
        path: RecordPath,
        /// The record's block.
        value: Cid,
        /// Whether the writer saw a record there before (`update`) or not (`create`).
        update: bool,
        /// What the writer changed in fields that have a merge rule.
        merge: Option<Box<Merge>>,
    },
    /// The record at a path is gone.
    Delete {
        /// Where.
        path: RecordPath,
        /// The level of merging that ends, if anything merged.
        merge: Option<Box<Merge>>,
    },
    /// A key may write from now on, as the writer with this operation's `seq` as its number. Root only.
    Grant {
        /// The key, as a `did:key`.
        key: Box<str>,
        /// What people call it.
        name: Box<str>,
    },
    /// A writer may write no more. Root only.
    Revoke {
        /// Which.
        writer: WriterId,
        /// Its last operation that counts in any case.
        cut: u64,
    },
    /// What the repository is at this operation's clock. Root only.
    Snapshot(SnapshotSums),
}

impl Action {
    /// The path of the record that is changed.
    pub fn target(&self) -> Option<&RecordPath> {
        match self {
            Self::Put { path, .. } | Self::Delete { path, .. } => Some(path),
            _ => None,
        }
    }

    /// The record's block, if it brings one.
    pub fn value(&self) -> Option<&Cid> {
        match self {
            Self::Put { value, .. } => Some(value),
            _ => None,
        }
    }

    /// What it says about merging.
    pub fn merge(&self) -> Option<&Merge> {
        match self {
            Self::Put { merge, .. } | Self::Delete { merge, .. } => merge.as_deref(),
            _ => None,
        }
    }

    /// The name in the payload.
    pub fn name(&self) -> &'static str {
        match self {
            Self::Put { update: false, .. } => "create",
            Self::Put { update: true, .. } => "update",
            Self::Delete { .. } => "delete",
            Self::Grant { .. } => "grant",
            Self::Revoke { .. } => "revoke",
            Self::Snapshot(_) => "snapshot",
        }
    }

    /// Whether only the root may do it.
    pub fn is_for_root(&self) -> bool {
        matches!(
            self,
            Self::Grant { .. } | Self::Revoke { .. } | Self::Snapshot(_)
        )
    }
}

/// What is signed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Payload {
    /// The repository.
    pub repo: Did,
    /// Who.
    pub writer: WriterId,
    /// The how-manieth operation of this writer, from 1.
    pub seq: u64,
    /// The writer's operation before this one.
    pub prev: Option<OperationId>,
    /// What the writer had seen of others.
    pub deps: VectorClock,
    /// When.
    pub time: HybridTime,
    /// What.
    pub action: Action,
}

/// A signed operation, with the block that it was read from or written to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Operation {
    /// What is signed.
    pub payload: Payload,
    id: OperationId,
    block: Bytes,
    /// Bytes of the payload within the block.
    signed: (usize, usize),
    signature: [u8; 64],
}

/// Why bytes are not an operation.
#[derive(Clone, Debug, thiserror::Error, PartialEq, Eq)]
pub enum OperationError {
    /// Larger than any operation.
    #[error("an operation has at most {MAX_OPERATION_BYTES} bytes, found {0}")]
    TooLarge(usize),
    /// Not canonical DAG-CBOR, or not the fields of an operation.
    #[error("not an operation: {0}")]
    Malformed(String),
    /// A version that this program does not know.
    #[error("operation of version {0}, expected {VERSION} or {MERGING}")]
    Version(u64),
}

fn malformed(what: impl Into<String>) -> OperationError {
    OperationError::Malformed(what.into())
}

impl Payload {
    /// Signs it.
    pub fn sign(self, key: &SigningKey) -> Operation {
        let payload = self.encode();
        let mut message = Vec::with_capacity(DOMAIN.len() + payload.len());
        message.extend_from_slice(DOMAIN);
        message.extend_from_slice(&payload);
        let signature = key.sign(&message);
        let mut w = Writer::with_capacity(payload.len() + 72);
        w.array(2);
        let start = w.as_bytes().len();
        w.raw(&payload);
        w.bytes(&signature);
        let block = Bytes::from(w.into_bytes());
        Operation {
            payload: self,
            id: OperationId::of(&block),
            signed: (start, start + payload.len()),
            block,
            signature,
        }
    }

    /// The clock of the operation itself: what it had seen, and itself.
    pub fn clock(&self) -> VectorClock {
        let mut clock = self.deps.clone();
        clock.set(self.writer, self.seq);
        clock
    }
}

impl Operation {
    /// Reads a block.
    ///
    /// # Errors
    /// [`OperationError`] for anything but a payload of this version and a signature, in canonical DAG-CBOR. The
    /// signature is not checked here, see [`verify`](Self::verify).
    pub fn decode(block: Bytes) -> Result<Self, OperationError> {
        if block.len() > MAX_OPERATION_BYTES {
            return Err(OperationError::TooLarge(block.len()));
        }
        let cbor = |e: dag_cbor::DecodeError| malformed(e.to_string());
        let mut reader = Reader::new(&block);
        if reader.array().map_err(cbor)? != 2 {
            return Err(malformed("not a payload and a signature"));
        }
        let start = block.len() - reader.remaining().len();
        let payload = reader.skip().map_err(cbor)?;
        let end = start + payload.len();
        let signature = reader.bytes().map_err(cbor)?;
        let signature = signature
            .try_into()
            .map_err(|_| malformed("the signature does not have 64 bytes"))?;
        reader.finish().map_err(cbor)?;
        Ok(Self {
            payload: Payload::decode(payload)?,
            id: OperationId::of(&block),
            block,
            signed: (start, end),
            signature,
        })
    }

    /// Its name.
    pub fn id(&self) -> OperationId {
        self.id
    }

    /// The block.
    pub fn block(&self) -> &Bytes {
        &self.block
    }

    /// The CID of the block.
    pub fn cid(&self) -> Cid {
        blake3_cid(DAG_CBOR, &self.block)
    }

    /// Whether the signature is that of a key.
    pub fn verify(&self, key: &VerifyingKey) -> bool {
        let (start, end) = self.signed;
        let mut message = Vec::with_capacity(DOMAIN.len() + end - start);
        message.extend_from_slice(DOMAIN);
        message.extend_from_slice(self.block.get(start..end).unwrap_or_default());
        key.verify(&message, &self.signature).is_ok()
    }
}

#[cfg(test)]
mod tests;
