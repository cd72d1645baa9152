//! Operations: what writers sign.
//!
//! The block of an operation is the DAG-CBOR list `[payload, signature]`. The signature covers [`DOMAIN`] and then the
//! payload's bytes as they stand, so that nothing has to be encoded again to check it. The operation is named by the
//! BLAKE3 CID of its block. `docs/sync.md` describes the payload field by field.

use bytes::Bytes;
use ues_data::content_id::{DAG_CBOR, blake3_cid};
use ues_data::dag_cbor::{self, Limits, Reader, Writer};
use ues_data::{Cid, Ipld};
use ues_repo::crypto::{SigningKey, VerifyingKey};
use ues_repo::repo::write::RecordPath;
use ues_repo::syntax::Did;

use crate::clock::{ROOT, VectorClock, WriterId};
use crate::hybrid_time::HybridTime;
use crate::merge::Merge;

/// Version of a payload that says nothing about merging.
const VERSION: u64 = 1;
/// Version of a payload that does.
const MERGING: u64 = 2;
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

    /// The payload's bytes. Keys stand by length, then by bytes, as DAG-CBOR wants them.
    fn encode(&self) -> Vec<u8> {
        let mut w = Writer::with_capacity(320);
        let of_action = match &self.action {
            Action::Put { .. } | Action::Grant { .. } | Action::Revoke { .. } => 2,
            Action::Delete { .. } => 1,
            Action::Snapshot(_) => 3,
        };
        let merge = self.action.merge();
        w.map(7 + of_action + u64::from(self.prev.is_some()) + u64::from(merge.is_some()));
        w.text("v");
        w.uint(match merge {
            Some(_) => MERGING,
            None => VERSION,
        });
        w.text("w");
        w.uint(u64::from(self.writer));
        if let Action::Revoke { writer, .. } = &self.action {
            w.text("of");
            w.uint(u64::from(*writer));
        }
        w.text("act");
        w.text(self.action.name());
        match &self.action {
            Action::Revoke { cut, .. } => {
                w.text("cut");
                w.uint(*cut);
            }
            Action::Grant { key, .. } => {
                w.text("key");
                w.text(key);
            }
            _ => {}
        }
        if let Some(merge) = merge {
            w.text("mrg");
            w.raw(&merge.encode());
        }
        w.text("seq");
        w.uint(self.seq);
        if let Some(value) = self.action.value() {
            w.text("val");
            w.link(value);
        }
        w.text("deps");
        self.deps.write(&mut w);
        if let Action::Grant { name, .. } = &self.action {
            w.text("name");
            w.text(name);
        }
        if let Some(path) = self.action.target() {
            w.text("path");
            w.text(path.as_str());
        }
        if let Some(prev) = self.prev.and_then(|prev| prev.cid()) {
            w.text("prev");
            w.link(&prev);
        }
        w.text("repo");
        w.text(self.repo.as_str());
        if let Action::Snapshot(sums) = &self.action {
            w.text("sums");
            w.bytes(&sums.states);
        }
        w.text("time");
        w.uint(self.time.0);
        if let Action::Snapshot(sums) = &self.action {
            w.text("tips");
            w.array(sums.tips.len() as u64);
            for tip in &sums.tips {
                w.array(3);
                w.uint(u64::from(tip.writer));
                w.uint(tip.seq);
                w.bytes(&tip.id.0);
            }
            w.text("records");
            w.link(&sums.records);
        }
        w.into_bytes()
    }

    fn decode(bytes: &[u8]) -> Result<Self, OperationError> {
        let value = dag_cbor::decode_with(bytes, limits()).map_err(|e| malformed(e.to_string()))?;
        let Ipld::Map(map) = value else {
            return Err(malformed("the payload is not a map"));
        };
        let mut fields = Fields { map };
        let version = fields.uint("v")?;
        if !matches!(version, VERSION | MERGING) {
            return Err(OperationError::Version(version));
        }
        let merge = fields.merge()?;
        if merge.is_some() != (version == MERGING) {
            return Err(malformed("mrg belongs to version 2, and version 2 has it"));
        }
        let act = fields.text("act")?;
        let path = |fields: &mut Fields| {
            let text = fields.text("path")?;
            RecordPath::parse(&text).map_err(|e| malformed(e.to_string()))
        };
        let action = match act.as_str() {
            "create" | "update" => Action::Put {
                path: path(&mut fields)?,
                value: fields
                    .link("val")?
                    .filter(ues_data::content_id::is_atproto)
                    .ok_or_else(|| malformed("val is not the link of a record"))?,
                update: act == "update",
                merge: merge.filter(|merge| !matches!(**merge, Merge::End(_))),
            },
            "delete" => Action::Delete {
                path: path(&mut fields)?,
                merge: merge.filter(|merge| matches!(**merge, Merge::End(_))),
            },
            "grant" => Action::Grant {
                key: fields.text("key")?.into(),
                name: fields
                    .text("name")
                    .ok()
                    .filter(|name| {
                        name.len() <= MAX_NAME_BYTES && !name.chars().any(char::is_control)
                    })
                    .ok_or_else(|| malformed("name: at most 128 bytes of plain text"))?
                    .into(),
            },
            "revoke" => Action::Revoke {
                writer: fields.writer("of")?,
                cut: fields.uint("cut")?,
            },
            "snapshot" => Action::Snapshot(fields.sums()?),
            other => {
                let other: String = other.chars().take(40).collect();
                return Err(malformed(format!("unknown act {other:?}")));
            }
        };
        let prev = match fields.link("prev")? {
            Some(cid) => Some(
                OperationId::from_cid(&cid)
                    .ok_or_else(|| malformed("prev does not name an operation"))?,
            ),
            None => None,
        };
        let payload = Self {
            repo: Did::parse(&fields.text("repo")?).map_err(|e| malformed(e.to_string()))?,
            writer: fields.writer("w")?,
            seq: fields.uint("seq")?,
            prev,
            deps: fields
                .take("deps")
                .and_then(|deps| VectorClock::read(&deps))
                .ok_or_else(|| malformed("deps is not a clock"))?,
            time: HybridTime(fields.uint("time")?),
            action,
        };
        fields.finish()?;
        if (version == MERGING) != payload.action.merge().is_some() {
            return Err(malformed(format!(
                "mrg is not what {} can have",
                payload.action.name()
            )));
        }
        let within = |merge: &Merge| merge.is_within(&payload.clock());
        if !payload.action.merge().is_none_or(within) {
            return Err(malformed("mrg refers to what the writer had not seen"));
        }
        if payload.seq == 0 || payload.prev.is_some() != (payload.seq > 1) {
            return Err(malformed("seq begins at 1, and only the first has no prev"));
        }
        if payload.deps.get(payload.writer) != 0 {
            return Err(malformed("deps names the writer itself"));
        }
        if payload.action.is_for_root() != (payload.writer == ROOT) {
            return Err(malformed(format!(
                "{} is not for writer {}",
                payload.action.name(),
                payload.writer
            )));
        }
        Ok(payload)
    }
}

/// The fields of a payload, each of which may be taken once.
struct Fields {
    map: std::collections::BTreeMap<String, Ipld>,
}

impl Fields {
    fn take(&mut self, name: &str) -> Option<Ipld> {
        self.map.remove(name)
    }

    fn uint(&mut self, name: &str) -> Result<u64, OperationError> {
        match self.take(name) {
            Some(Ipld::Integer(n)) => u64::try_from(n).ok(),
            _ => None,
        }
        .ok_or_else(|| malformed(format!("{name} is not a number")))
    }

    fn writer(&mut self, name: &str) -> Result<WriterId, OperationError> {
        WriterId::try_from(self.uint(name)?)
            .map_err(|_| malformed(format!("{name} is not a writer")))
    }

    fn text(&mut self, name: &str) -> Result<String, OperationError> {
        match self.take(name) {
            Some(Ipld::String(text)) => Ok(text),
            _ => Err(malformed(format!("{name} is not a text"))),
        }
    }

    fn link(&mut self, name: &str) -> Result<Option<Cid>, OperationError> {
        match self.take(name) {
            Some(Ipld::Link(cid)) => Ok(Some(cid)),
            None => Ok(None),
            Some(_) => Err(malformed(format!("{name} is not a link"))),
        }
    }

    fn merge(&mut self) -> Result<Option<Box<Merge>>, OperationError> {
        let Some(value) = self.take("mrg") else {
            return Ok(None);
        };
        let bytes = dag_cbor::encode(&value).map_err(|e| malformed(e.to_string()))?;
        let merge = Merge::decode(&bytes).map_err(|e| malformed(format!("mrg: {e}")))?;
        Ok(Some(Box::new(merge)))
    }

    fn sums(&mut self) -> Result<SnapshotSums, OperationError> {
        let digest = |value: Option<Ipld>| match value {
            Some(Ipld::Bytes(bytes)) => <[u8; 32]>::try_from(bytes).ok(),
            _ => None,
        };
        let states = digest(self.take("sums")).ok_or_else(|| malformed("sums is not a digest"))?;
        let Some(Ipld::List(items)) = self.take("tips") else {
            return Err(malformed("tips is not a list"));
        };
        let mut tips = Vec::with_capacity(items.len());
        for item in items {
            let Ipld::List(parts) = item else {
                return Err(malformed("a tip is not a list"));
            };
            let [Ipld::Integer(writer), Ipld::Integer(seq), Ipld::Bytes(id)] = &parts[..] else {
                return Err(malformed("a tip is not a writer, a number and a digest"));
            };
            let (Ok(writer), Ok(seq), Ok(id)) = (
                WriterId::try_from(*writer),
                u64::try_from(*seq),
                id.as_slice().try_into(),
            ) else {
                return Err(malformed("a tip is not a writer, a number and a digest"));
            };
            if tips
                .last()
                .is_some_and(|last: &SnapshotTip| last.writer >= writer)
            {
                return Err(malformed("tips are not sorted"));
            }
            let id = OperationId(id);
            tips.push(SnapshotTip { writer, seq, id });
        }
        let records = self
            .link("records")?
            .ok_or_else(|| malformed("no link to records"))?;
        Ok(SnapshotSums {
            records,
            states,
            tips,
        })
    }

    fn finish(self) -> Result<(), OperationError> {
        match self.map.keys().next() {
            None => Ok(()),
            Some(name) => {
                let name: String = name.chars().take(40).collect();
                Err(malformed(format!("unknown field {name:?}")))
            }
        }
    }
}

fn limits() -> Limits {
    Limits {
        max_depth: 6,
        ..Limits::default()
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
#[path = "operation_tests.rs"]
mod tests;
