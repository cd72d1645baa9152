//! A snapshot on its way: one message that is cut into parts.

use std::collections::BTreeMap;

use bytes::Bytes;
use prost::Message;
use ues_data::Cid;
use ues_data::content_id::cid_from_bytes;
use ues_repo::repo::write::RecordPath;

use crate::log::{ReplicaError, Snapshot};

use super::session::Copy;

/// Most bytes of an archive.
pub const MAX_ARCHIVE_BYTES: u64 = 256 << 20;

#[derive(Clone, PartialEq, Message)]
pub(super) struct Archive {
    #[prost(bytes = "bytes", repeated, tag = "1")]
    pub root_chain: Vec<Bytes>,
    #[prost(bytes = "bytes", repeated, tag = "2")]
    pub tips: Vec<Bytes>,
    #[prost(bytes = "bytes", repeated, tag = "3")]
    pub proofs: Vec<Bytes>,
    #[prost(string, repeated, tag = "4")]
    pub paths: Vec<String>,
    #[prost(bytes = "bytes", repeated, tag = "5")]
    pub states: Vec<Bytes>,
    #[prost(bytes = "bytes", repeated, tag = "6")]
    pub blocks: Vec<Bytes>,
    #[prost(bytes = "bytes", tag = "7")]
    pub records: Bytes,
    #[prost(bytes = "bytes", tag = "8")]
    pub car: Bytes,
}

/// All that a new device needs.
#[derive(Clone, Debug)]
pub struct SnapshotArchive {
    /// The log's part.
    pub snapshot: Snapshot,
    /// Blocks that the states name.
    pub blocks: BTreeMap<Cid, Bytes>,
    /// The repository as a CAR, signed by the root.
    pub car: Bytes,
}

/// Why bytes are not an archive.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("not a snapshot: {0}")]
pub struct ArchiveError(String);

/// The snapshot where a log begins, for a device that has a log which ends before it; `None` if nothing is before it.
/// Such a device has the records from before the log, so none come along.
///
/// # Errors
/// When the copy cannot be read.
pub fn floor_archive(copy: &dyn Copy) -> Result<Option<Bytes>, ReplicaError> {
    let Some(replica) = copy.replica() else {
        return Ok(None);
    };
    let Some(snapshot) = replica.floor_snapshot(copy.rows())? else {
        return Ok(None);
    };
    let mut blocks = BTreeMap::new();
    for (_, cid) in snapshot.values() {
        let block = copy.block(&cid)?;
        let block = block.ok_or_else(|| replica.damaged("the block of a record is missing"))?;
        blocks.insert(cid, block);
    }
    let archive = SnapshotArchive {
        snapshot,
        blocks,
        car: Bytes::new(),
    };
    Ok(Some(archive.write()))
}

impl SnapshotArchive {
    /// The archive's bytes.
    pub fn write(&self) -> Bytes {
        let snapshot = &self.snapshot;
        let archive = Archive {
            root_chain: snapshot.root_chain.clone(),
            tips: snapshot.tips.clone(),
            proofs: snapshot.proofs.iter().flatten().cloned().collect(),
            paths: snapshot
                .states
                .iter()
                .map(|(path, _)| path.to_string())
                .collect(),
            states: snapshot
                .states
                .iter()
                .map(|(_, state)| state.clone())
                .collect(),
            blocks: self.blocks.values().cloned().collect(),
            records: snapshot.records.to_bytes().into(),
            car: self.car.clone(),
        };
        archive.encode_to_vec().into()
    }

    /// Reads an archive. What it says is not checked here, see [`Replica::restore`](crate::log::Replica::restore).
    pub fn read(bytes: Bytes) -> Result<Self, ArchiveError> {
        let wrong = |what: &str| ArchiveError(what.to_owned());
        let size = bytes.len() as u64;
        if size > MAX_ARCHIVE_BYTES {
            return Err(wrong("larger than 256 MiB"));
        }
        let archive = Archive::decode(bytes).map_err(|e| ArchiveError(e.to_string()))?;
        if archive.paths.len() != archive.states.len() || archive.proofs.len() % 2 != 0 {
            return Err(wrong("lists that belong together have different lengths"));
        }
        let path = |path: &String| RecordPath::parse(path).map_err(|e| ArchiveError(e.to_string()));
        let paths: Vec<RecordPath> = archive.paths.iter().map(path).collect::<Result<_, _>>()?;
        if !paths.is_sorted_by(|a, b| a < b) {
            return Err(wrong("the states are not sorted"));
        }
        let proofs = archive.proofs.chunks_exact(2);
        Ok(Self {
            snapshot: Snapshot {
                root_chain: archive.root_chain,
                tips: archive.tips,
                proofs: proofs
                    .filter_map(|pair| <[Bytes; 2]>::try_from(pair.to_vec()).ok())
                    .collect(),
                states: paths.into_iter().zip(archive.states).collect(),
                records: cid_from_bytes(&archive.records)
                    .map_err(|e| ArchiveError(e.to_string()))?,
            },
            blocks: archive
                .blocks
                .into_iter()
                .map(|block| (ues_data::dag_cbor_cid(&block), block))
                .collect(),
            car: archive.car,
        })
    }
}
