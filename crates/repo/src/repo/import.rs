//! Taking in a repository that another server exported.
//!
//! The archive is kept as it comes, every hash checked. Then its tree is walked once: what the walk has verified goes
//! into the store in slices, as content of a number that no head names yet. One small batch makes it the repository's,
//! whose commit is made anew and signed with the account's own key, so that what is served afterwards verifies at once;
//! a `#sync` event tells the network to look. Until then nothing of it is read, and a refused archive leaves nothing.

use std::io::Read;
use std::sync::Arc;

use bytes::Bytes;
use ues_data::car::{CarFile, CarLimits};
use ues_data::mst::MstError;
use ues_data::{Cid, Ipld};

use crate::syntax::Did;

use super::commit::Commit;
use super::event::LogEvent;
use super::export::commit_car;
use super::incoming::{Composed, Content, Source};
use super::lane::LaneState;
use super::layout::{head_key, node_ref};
use super::loose::Loose;
use super::usage::{Growth, Room};
use super::verify::{VerifyError, root_of};
use super::write::{CommitMeta, WriteError};
use super::{RepoError, Repositories};

/// Most blocks that an imported archive may have: where each lies is kept in memory, 16 bytes for one. About four
/// million records and their tree.
pub const MAX_IMPORT_BLOCKS: u64 = 5_000_000;

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
    /// owner of this repository signs what they take in. Of the archive nothing but [`MAX_IMPORT_BLOCKS`] is bounded;
    /// on the disk it is held twice meanwhile. Once it has come, the import
    /// goes to its end even if nobody waits for it any more.
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
        self.refuse_shared(did)?;
        let store = self.store().clone();
        let source = blocking(move || {
            let limits = CarLimits {
                max_blocks: MAX_IMPORT_BLOCKS,
                ..CarLimits::default()
            };
            let archive = CarFile::keep(input, || store.scratch_file(), limits);
            let archive = archive.map_err(VerifyError::from)?;
            let root = root_of(&archive)?;
            Ok(Source { archive, root })
        });
        let source = Arc::new(source.await?);
        let (this, did) = (self.clone(), did.clone());
        let import = async move { this.take_in(&did, source, room).await };
        let imported = tokio::spawn(import).await;
        imported.map_err(|e| WriteError::Storage(e.to_string()))?
    }

    fn refuse_shared(&self, did: &Did) -> Result<(), WriteError> {
        match self.around().log_of(did) {
            None => Ok(()),
            Some(_) => Err(WriteError::BadArchive(
                "several devices hold this repository: import into one that nobody shares".into(),
            )),
        }
    }

    async fn take_in(
        &self,
        did: &Did,
        source: Arc<Source>,
        room: Room,
    ) -> Result<Imported, WriteError> {
        let number = self.next_owner();
        let mut replaced = None;
        let outcome = self.replace(did, source, number, room, &mut replaced).await;
        self.free_now(replaced.unwrap_or(number)).await;
        outcome
    }

    /// Makes an archive the content of a repository, under a number; `replaced` is told which it had before.
    async fn replace(
        &self,
        did: &Did,
        source: Arc<Source>,
        number: u64,
        room: Room,
        replaced: &mut Option<u64>,
    ) -> Result<Imported, WriteError> {
        let lane = self.lane(did);
        let changes = lane.changes();
        let mut composed = self.compose(did, &source, number, room).await?;
        let mut guard = lane.state.lock().await;
        lane.settle().await;
        let mut state = match guard.take() {
            Some(state) => state,
            None => self.load(did).await?,
        };
        self.refuse_shared(did)?;
        if state.head.owner != composed.base.owner {
            return Err(WriteError::RepoNotFound(did.clone()));
        }
        if lane.changes() != changes || state.head.rev != composed.base.rev {
            // Somebody wrote meanwhile. This time nobody can.
            composed = self.compose(did, &source, number, room).await?;
        }
        let records = composed.records;
        let Some(content) = composed.content.take() else {
            *guard = Some(state);
            return Ok(Imported {
                commit: None,
                records,
            });
        };
        let growth = |after: u64, before: u64| after.cast_signed() - before.cast_signed();
        let growth = Growth {
            records: growth(records, state.usage.records),
            bytes: growth(composed.bytes, state.usage.record_bytes),
        };
        room.admit(state.usage, growth)?;
        let before = state.head.content;
        (state.usage.records, state.usage.record_bytes) = (records, composed.bytes);
        let commit = self.switch(did, &mut state, number, content).await?;
        *replaced = Some(before);
        Ok(Imported {
            commit: Some(commit),
            records,
        })
    }

    /// Verifies the archive, and stores what is not the repository's content already.
    async fn compose(
        &self,
        did: &Did,
        source: &Arc<Source>,
        number: u64,
        room: Room,
    ) -> Result<Composed, WriteError> {
        let (this, did, source) = (self.clone(), did.clone(), Arc::clone(source));
        blocking(move || {
            let failed = |e| match e {
                RepoError::NotFound(did) => WriteError::RepoNotFound(did),
                e => WriteError::Storage(e.to_string()),
            };
            // What is read while it works need not be of one state: who finds that it changed begins again.
            let head = this.view(&did).map_err(failed)?.head;
            let usage = this.usage(&did).map_err(failed)?;
            source.compose(this.around(), &did, &head, number, room, usage)
        })
        .await
    }

    /// The batch that makes the content of a number the repository's. The lane's state is to be loaded again afterwards.
    async fn switch(
        &self,
        did: &Did,
        state: &mut LaneState,
        number: u64,
        content: Content,
    ) -> Result<CommitMeta, WriteError> {
        let around = self.around();
        let Content {
            data,
            rev,
            mut batch,
        } = content;
        let commit = Commit::sign(did, data, &rev, &state.key);
        let (cid, bytes) = commit.encode();
        batch.put_block_marked(cid.hash(), &bytes, node_ref(number), rev.number());
        let loose = Loose::replaced(did, &state.head, around.store.now_ms());
        let before = state.head.content.to_be_bytes();
        batch.put(&around.ks.loose, before, loose.encode());
        batch.delete(&around.ks.loose, number.to_be_bytes());
        if state.head.content != state.head.owner {
            batch.delete(&around.ks.owners, before);
        }
        batch.put(&around.ks.owners, number.to_be_bytes(), head_key(did));
        state.usage.put(around, state.head.owner, &mut batch);
        (state.head.content, state.head.data) = (number, data);
        (state.head.commit, state.head.rev) = (cid, rev);
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
        let switched = around.store.commit(batch).await;
        switched.map_err(|e| WriteError::Storage(e.to_string()))?;
        Ok(CommitMeta { cid, rev })
    }
}

impl From<VerifyError> for WriteError {
    fn from(e: VerifyError) -> Self {
        match e {
            // The archive is kept here: that it cannot be read is not its fault.
            VerifyError::Tree(MstError::Source(e)) => Self::Storage(e.to_string()),
            e => Self::BadArchive(e.to_string()),
        }
    }
}

async fn blocking<T: Send + 'static>(
    work: impl FnOnce() -> Result<T, WriteError> + Send + 'static,
) -> Result<T, WriteError> {
    tokio::task::spawn_blocking(work)
        .await
        .map_err(|e| WriteError::Storage(e.to_string()))?
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
