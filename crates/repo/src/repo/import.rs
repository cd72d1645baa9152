//! Taking in a repository that another server exported.
//!
//! The archive is verified whole before anything is stored. Its records become the account's
//! records; the commit is made anew and signed with the account's own key, so that what is served
//! afterwards verifies at once, and a `#sync` event tells the network to look.

use std::collections::{BTreeMap, HashSet};
use std::io::Read;

use bytes::Bytes;
use ues_data::car::CarLimits;
use ues_data::mst::Tree;
use ues_data::mst::{Preorder, PreorderItem};
use ues_data::{Cid, Ipld};
use ues_storage::Batch;

use crate::syntax::Did;

use super::Repositories;
use super::blobs::RefChanges;
use super::commit::Commit;
use super::draft_commit::damaged;
use super::event::LogEvent;
use super::export::commit_car;
use super::lane::{LaneState, Surroundings};
use super::layout::{head_key, node_ref, read_record_value, record_key, record_ref, record_value};
use super::read::RepoView;
use super::usage::{Growth, Room};
use super::verify::{Archive, Verified};
use super::write::{CommitMeta, RecordPath, WriteError};

/// Most bytes of blocks that an imported archive may have: it is stored in one atomic batch.
pub const MAX_IMPORT_BYTES: u64 = 160 << 20;

/// What a row takes besides blocks and paths: keys of hashes and numbers, mostly.
const ROW_BYTES: usize = 48;

/// A verified archive, ready to be stored.
struct Incoming {
    archive: Archive,
    verified: Verified,
    nodes: Vec<Cid>,
    records: BTreeMap<RecordPath, Cid>,
}

impl Incoming {
    /// A batch with room for all of it, so that it need not grow while the archive is in memory.
    fn batch(&self) -> Batch {
        let blocks = self.archive.blocks.values().map(Bytes::len).sum::<usize>();
        let (records, nodes) = (self.records.len(), self.nodes.len());
        let paths = self.records.keys().map(|path| path.as_str().len());
        let rows = records * 3 + nodes * 2;
        Batch::with_capacity(
            rows + 16,
            blocks + paths.sum::<usize>() + rows * ROW_BYTES + 4096,
        )
    }
}

/// What an import did.
#[derive(Clone, Debug)]
pub struct Imported {
    /// The commit made here; `None` if the repository was the same already.
    pub commit: Option<CommitMeta>,
    /// Records in the repository now.
    pub records: u64,
}

impl Repositories {
    /// Replaces the records of a repository by those of an archive.
    ///
    /// The archive may come from an account with another DID, as the official server allows it: the
    /// owner of this repository signs what they take in.
    ///
    /// # Errors
    /// [`WriteError::BadArchive`] for anything that is not a whole, well-formed repository; nothing is
    /// changed then.
    pub async fn import(
        &self,
        did: &Did,
        input: impl Read + Send + 'static,
    ) -> Result<Imported, WriteError> {
        self.import_within(did, input, Room::default()).await
    }

    /// The same, refused when the repository would be larger than it may be.
    ///
    /// # Errors
    /// As [`import`](Self::import), and [`WriteError::NoRoom`].
    pub async fn import_within(
        &self,
        did: &Did,
        input: impl Read + Send + 'static,
        room: Room,
    ) -> Result<Imported, WriteError> {
        if self.around().log_of(did).is_some() {
            return Err(WriteError::BadArchive(
                "several devices hold this repository: import into one that nobody shares".into(),
            ));
        }
        let incoming = tokio::task::spawn_blocking(move || read(input))
            .await
            .map_err(|e| WriteError::Storage(e.to_string()))??;
        let around = self.around().clone();
        let records = incoming.verified.records;
        let extra = incoming.batch();
        let mut commit = None;
        self.exclusive(
            did,
            |state, batch| {
                let view = self
                    .view(did)
                    .map_err(|e| WriteError::Storage(e.to_string()))?;
                // The archive is gone from memory before the batch is written.
                let incoming = incoming;
                commit = tokio::task::block_in_place(|| {
                    replace(&around, did, state, &view, &incoming, room, batch)
                })?;
                Ok(())
            },
            extra,
        )
        .await?;
        Ok(Imported { commit, records })
    }
}

fn read(input: impl Read) -> Result<Incoming, WriteError> {
    let refused = |e: super::verify::VerifyError| WriteError::BadArchive(e.to_string());
    let limits = CarLimits {
        max_bytes: MAX_IMPORT_BYTES,
        ..CarLimits::default()
    };
    let archive = Archive::read(input, limits).map_err(refused)?;
    let mut records = BTreeMap::new();
    let mut nodes = Vec::new();
    let verified = archive
        .verify(
            None,
            |path, cid, _| {
                records.insert(path.clone(), *cid);
            },
            |cid, _| nodes.push(*cid),
        )
        .map_err(refused)?;
    Ok(Incoming {
        archive,
        verified,
        nodes,
        records,
    })
}

/// Puts the difference between what is stored and what comes in into the batch.
fn replace(
    around: &Surroundings,
    did: &Did,
    state: &mut LaneState,
    view: &RepoView,
    incoming: &Incoming,
    room: Room,
    batch: &mut Batch,
) -> Result<Option<CommitMeta>, WriteError> {
    if state.head.data == incoming.verified.data {
        return Ok(None);
    }
    let mut bytes_in = 0;
    for cid in incoming.records.values() {
        bytes_in += incoming.archive.blocks.get(cid).map_or(0, Bytes::len) as u64;
    }
    let growth = |after: u64, before: u64| after.cast_signed() - before.cast_signed();
    let growth = Growth {
        records: growth(incoming.verified.records, state.usage.records),
        bytes: growth(bytes_in, state.usage.record_bytes),
    };
    room.admit(state.usage, growth)?;
    let owner = state.head.owner;
    let storage = |e: ues_storage::StorageError| WriteError::Storage(e.to_string());
    let rev = around.clock.tick_after(&state.head.rev);
    let commit = Commit::sign(did, incoming.verified.data, &rev, &state.key);
    let (cid, bytes) = commit.encode();

    let kept: HashSet<&Cid> = incoming.nodes.iter().collect();
    for item in Preorder::new(view.clone(), state.head.data) {
        if let PreorderItem::Node { cid, .. } = item.map_err(|e| damaged(did, e))?
            && !kept.contains(&cid)
        {
            batch.release_block(cid.hash(), node_ref(owner));
        }
    }
    let block = |cid: &Cid| {
        incoming
            .archive
            .blocks
            .get(cid)
            .ok_or_else(|| damaged(did, format!("no block {cid}")))
    };
    for cid in &incoming.nodes {
        batch.put_block_marked(cid.hash(), block(cid)?, node_ref(owner), rev.number());
    }
    let mut refs = RefChanges::default();
    let mut unchanged = HashSet::new();
    for row in view
        .snapshot
        .prefix(&around.ks.records, owner.to_be_bytes())
    {
        let (key, value) = row.map_err(storage)?;
        let path = key.get(8..).and_then(|k| std::str::from_utf8(k).ok());
        let (Some(path), Some((before, _))) = (path, read_record_value(&value)) else {
            return Err(damaged(did, "a record row"));
        };
        let path = RecordPath::parse(path).map_err(|e| damaged(did, e))?;
        match incoming.records.get(&path) {
            Some(after) if *after == before => {
                unchanged.insert(path);
                continue;
            }
            Some(_) => {}
            None => batch.delete(&around.ks.records, &key),
        }
        batch.release_block(before.hash(), record_ref(owner, path.as_str()));
        if state.has_blobs {
            refs.release(around, owner, path.as_str())?;
        }
    }
    for (path, cid) in &incoming.records {
        if unchanged.contains(path) {
            continue;
        }
        let bytes = block(cid)?;
        batch.put_block(cid.hash(), bytes, record_ref(owner, path.as_str()));
        let row = record_key(owner, path.as_str());
        batch.put(&around.ks.records, row, record_value(cid, &rev));
        refs.refer(path.as_str(), &blobs_in(bytes));
    }
    if !refs.is_empty() {
        refs.write(around, owner, &rev, &mut state.usage, batch)?;
        state.has_blobs = true;
    }
    (state.usage.records, state.usage.record_bytes) = (incoming.verified.records, bytes_in);
    state.usage.put(around, owner, batch);
    batch.release_block(state.head.commit.hash(), node_ref(owner));
    batch.put_block_marked(cid.hash(), &bytes, node_ref(owner), rev.number());
    state.head.commit = cid;
    state.head.data = incoming.verified.data;
    state.head.rev = rev;
    state.tree = Tree::load(state.head.data);
    batch.put(&around.ks.heads, head_key(did), state.head.encode());
    // Who moves here imports first and is announced when the account becomes active.
    if state.head.status.is_active() {
        let event = LogEvent::Sync {
            did: did.clone(),
            rev,
            blocks: commit_car(&cid, &bytes),
            time: around.now(),
        };
        batch.append_event(event.encode());
    }
    Ok(Some(CommitMeta { cid, rev }))
}

/// The blobs that a record refers to.
///
/// Every blob reference, the older form too, has the key `mimeType`; a record without those bytes
/// is not decoded.
pub fn blobs_in(record: &Bytes) -> Vec<Cid> {
    let mut out = Vec::new();
    if memchr::memmem::find(record, b"mimeType").is_some()
        && let Ok(ipld) = ues_data::dag_cbor::decode(record)
    {
        collect_blobs(&ipld, &mut out);
        out.sort_unstable();
        out.dedup();
    }
    out
}

fn collect_blobs(ipld: &Ipld, out: &mut Vec<Cid>) {
    match ipld {
        Ipld::List(items) => items.iter().for_each(|item| collect_blobs(item, out)),
        Ipld::Map(map) => match (
            map.get("$type"),
            map.get("ref"),
            map.get("cid"),
            map.get("mimeType"),
        ) {
            (Some(Ipld::String(kind)), Some(Ipld::Link(cid)), ..) if kind == "blob" => {
                out.push(*cid)
            }
            (None, None, Some(Ipld::String(cid)), Some(_)) => {
                out.extend(ues_data::parse_cid(cid).ok());
            }
            _ => map.values().for_each(|item| collect_blobs(item, out)),
        },
        _ => {}
    }
}
