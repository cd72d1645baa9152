//! All repositories of one store.

use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use parking_lot::Mutex;
use tokio::sync::oneshot;
use ues_data::Cid;
use ues_data::mst::Tree;
use ues_storage::{Batch, Committed, StorageError, Store};

use crate::blob_store::{BlobStoreError, BlobStores};
use crate::crypto::SigningKey;
use crate::syntax::{Did, TidClock};

use super::blob_index;
use super::blobs;
use super::draft_commit::{FirstCommit, first_commit};
use super::event::{CommitEvent, LogEvent};
use super::lane::{Lane, LaneState, Request, Surroundings};
use super::layout::{Head, Keyspaces, Status, head_key};
use super::mirror::FIRST_OWNER;
use super::subjects::{self, Recent};
use super::usage::{Room, Usage};
use super::write::{Applied, CommitMeta, Write, WriteError};

/// Lanes kept in memory before idle ones are dropped.
const MAX_LANES: usize = 1024;

/// Where the signing keys of accounts are.
pub trait KeySource: Send + Sync {
    /// The key of an account; `None` if this node does not have it.
    fn signing_key(&self, did: &Did) -> Result<Option<Arc<SigningKey>>, KeySourceError>;
}

/// A key that is there but cannot be read.
#[derive(Debug, thiserror::Error)]
#[error("{0}")]
pub struct KeySourceError(pub String);

/// Why a repository cannot be read.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum RepoError {
    /// No repository of this DID.
    #[error("no repository of {0} here")]
    NotFound(Did),
    /// The store failed.
    #[error(transparent)]
    Storage(#[from] StorageError),
    /// A blob's content cannot be read.
    #[error("the content of a blob cannot be read: {0}")]
    Unreadable(#[from] BlobStoreError),
    /// What is stored is not what was written.
    #[error("the repository of {did} is damaged: {reason}")]
    Damaged {
        /// Account.
        did: Did,
        /// What was found.
        reason: String,
    },
}

/// The repositories of one store. Cheap to clone.
#[derive(Clone)]
pub struct Repositories {
    inner: Arc<Inner>,
}

struct Inner {
    around: Surroundings,
    keys: Arc<dyn KeySource>,
    lanes: Mutex<HashMap<Did, Arc<Lane>>>,
    /// The first number that this process gives.
    first_owner: u64,
    next_owner: AtomicU64,
}

/// Whether somebody works with a lane or is about to: the map holds one reference.
fn is_in_use(lane: &Arc<Lane>) -> bool {
    Arc::strong_count(lane) > 1 || !lane.is_idle()
}

impl Surroundings {
    /// The time for an event, RFC 3339 with milliseconds.
    pub fn now(&self) -> String {
        crate::syntax::Datetime::now().to_string()
    }
}

impl Repositories {
    /// Opens the repositories of a store, which keeps the content of their blobs too.
    pub fn open(store: Store, keys: Arc<dyn KeySource>) -> Result<Self, RepoError> {
        let content = BlobStores::new(&store, None);
        Self::open_with(store, keys, content)
    }

    /// The same with other places for the content of blobs.
    pub fn open_with(
        store: Store,
        keys: Arc<dyn KeySource>,
        content: BlobStores,
    ) -> Result<Self, RepoError> {
        let ks = Keyspaces::open(&store)?;
        blob_index::build(&store, &ks)?;
        Self::with(store, ks, keys, content, 1)
    }

    /// The repositories of the same store that others have written: their rows are beside those of this node's own,
    /// under numbers of their own, and found by keyspaces of their own.
    pub(super) fn of_others(&self, keys: Arc<dyn KeySource>) -> Result<Self, RepoError> {
        let store = self.store().clone();
        let ks = Keyspaces {
            heads: store.keyspace("mirror_heads")?,
            owners: store.keyspace("mirror_owners")?,
            ..self.around().ks.clone()
        };
        let content = self.around().content.clone();
        Self::with(store, ks, keys, content, FIRST_OWNER)
    }

    fn with(
        store: Store,
        ks: Keyspaces,
        keys: Arc<dyn KeySource>,
        content: BlobStores,
        first: u64,
    ) -> Result<Self, RepoError> {
        let number = |key: bytes::Bytes| key.as_ref().try_into().ok().map(u64::from_be_bytes);
        let mut last = None;
        for rows in [&ks.owners, &ks.loose] {
            let row = rows.prefix([]).next_back().transpose()?;
            last = last.max(row.and_then(|(key, _)| number(key)));
        }
        let next = last.map_or(first, |last| first.max(last + 1));
        let around = Surroundings {
            store,
            ks,
            clock: Arc::new(TidClock::random()),
            content,
            operations: Arc::default(),
        };
        Ok(Self {
            inner: Arc::new(Inner {
                around,
                keys,
                lanes: Mutex::default(),
                first_owner: next,
                next_owner: AtomicU64::new(next),
            }),
        })
    }

    /// A number that no repository has had.
    pub(super) fn next_owner(&self) -> u64 {
        self.inner.next_owner.fetch_add(1, Ordering::Relaxed)
    }

    /// Whether a number was given before this process.
    pub(super) fn is_older(&self, number: u64) -> bool {
        number < self.inner.first_owner
    }

    /// The store below.
    pub fn store(&self) -> &Store {
        &self.inner.around.store
    }

    pub(super) fn around(&self) -> &Surroundings {
        &self.inner.around
    }

    /// The lane of a DID, made if need be; old idle lanes make room.
    pub(super) fn lane(&self, did: &Did) -> Arc<Lane> {
        let mut lanes = self.inner.lanes.lock();
        if let Some(lane) = lanes.get(did) {
            lane.wanted();
            return Arc::clone(lane);
        }
        if lanes.len() >= MAX_LANES {
            lanes.retain(|_, lane| is_in_use(lane));
        }
        let lane = Arc::new(Lane::new(did.clone()));
        lanes.insert(did.clone(), Arc::clone(&lane));
        lane
    }

    /// Forgets what is in memory of repositories to which nobody has written since the last call: trees, above all.
    /// Gives how many are left.
    pub fn forget_unused(&self) -> usize {
        let mut lanes = self.inner.lanes.lock();
        lanes.retain(|_, lane| lane.was_wanted() || is_in_use(lane));
        lanes.shrink_to_fit();
        lanes.len()
    }

    /// Reads a lane's state from the store, of which nothing may be in flight.
    pub(super) async fn load(&self, did: &Did) -> Result<LaneState, WriteError> {
        let head = self
            .head(did)
            .map_err(|e| WriteError::Storage(e.to_string()))?
            .filter(|h| h.status != Status::Deleted)
            .ok_or_else(|| WriteError::RepoNotFound(did.clone()))?;
        let key = self.signing_key(did)?;
        let storage = |e: StorageError| WriteError::Storage(e.to_string());
        let has_blobs = blobs::any(&self.around().ks, head.content).map_err(storage)?;
        if !subjects::is_marked(self.around(), head.content).map_err(storage)? {
            let (around, did, head) = (self.around().clone(), did.clone(), head.clone());
            tokio::task::spawn_blocking(move || subjects::build(&around, &did, &head))
                .await
                .map_err(|e| WriteError::Storage(e.to_string()))??;
        }
        let usage = self.load_usage(did).await?;
        Ok(LaneState {
            usage,
            tree: Tree::load(head.data),
            head,
            key,
            has_blobs,
            recent: Recent::default(),
        })
    }

    fn signing_key(&self, did: &Did) -> Result<Arc<SigningKey>, WriteError> {
        let failed = |reason: String| WriteError::Key {
            did: did.clone(),
            reason,
        };
        self.inner
            .keys
            .signing_key(did)
            .map_err(|e| failed(e.to_string()))?
            .ok_or_else(|| failed("this node does not hold it".into()))
    }

    /// Makes a repository with an empty, signed first commit.
    ///
    /// `extra` (an account's rows, for example) lands in the same atomic batch; `announce`
    /// (identity and account events) stands in the log before the commit.
    pub async fn create(
        &self,
        did: &Did,
        key: &SigningKey,
        extra: Batch,
        announce: Vec<LogEvent>,
    ) -> Result<CommitMeta, WriteError> {
        self.create_as(did, key, extra, announce, Status::Active)
            .await
    }

    /// The same with a hosting status. The commit of a repository that is not active is not announced.
    pub async fn create_as(
        &self,
        did: &Did,
        key: &SigningKey,
        extra: Batch,
        announce: Vec<LogEvent>,
        status: Status,
    ) -> Result<CommitMeta, WriteError> {
        let around = self.around();
        let lane = self.lane(did);
        let mut state = lane.state.lock().await;
        lane.settle().await;
        let existing = self
            .head(did)
            .map_err(|e| WriteError::Storage(e.to_string()))?;
        if state.is_some() || existing.is_some_and(|h| h.status != Status::Deleted) {
            return Err(WriteError::RepoExists(did.clone()));
        }
        let owner = self.next_owner();
        let mut batch = extra;
        for event in announce {
            batch.append_event(event.encode());
        }
        let FirstCommit {
            meta,
            data,
            commit_car,
            sync_car,
        } = first_commit(around, did, owner, key, &mut batch);
        let head = Head {
            owner,
            content: owner,
            commit: meta.cid,
            data,
            rev: meta.rev,
            status,
        };
        batch.put(&around.ks.heads, head_key(did), head.encode());
        batch.put(&around.ks.owners, owner.to_be_bytes(), head_key(did));
        subjects::mark(around, owner, &mut batch);
        Usage::default().put(around, owner, &mut batch);
        if status.is_active() {
            let time = around.now();
            batch.append_event(
                LogEvent::Commit(Box::new(CommitEvent {
                    repo: did.clone(),
                    commit: meta.cid,
                    rev: meta.rev,
                    since: None,
                    prev_data: None,
                    ops: Vec::new(),
                    blocks: commit_car,
                    time: time.clone(),
                }))
                .encode(),
            );
            batch.append_event(
                LogEvent::Sync {
                    did: did.clone(),
                    rev: meta.rev,
                    blocks: sync_car,
                    time,
                }
                .encode(),
            );
        }
        around
            .store
            .commit(batch)
            .await
            .map_err(|e| WriteError::Storage(e.to_string()))?;
        // The next write loads the state, with the key from the key source.
        *state = None;
        Ok(meta)
    }

    /// Writes records: all of `writes` or none, in one commit.
    ///
    /// Calls for one repository that wait at the same time may share a commit. The answer comes
    /// after the commit is durable. With `swap_commit` it is refused if that is not the newest commit,
    /// unless it only puts or deletes what is so, or gone, already.
    pub async fn apply_writes(
        &self,
        did: &Did,
        writes: Vec<Write>,
        swap_commit: Option<Cid>,
    ) -> Result<Applied, WriteError> {
        let room = Room::default();
        self.apply_writes_within(did, writes, swap_commit, room)
            .await
    }

    /// The same, refused when the repository would be larger than it may be.
    pub async fn apply_writes_within(
        &self,
        did: &Did,
        writes: Vec<Write>,
        swap_commit: Option<Cid>,
        room: Room,
    ) -> Result<Applied, WriteError> {
        let (answer, outcome) = oneshot::channel();
        let lane = self.lane(did);
        if lane.push(Request {
            writes,
            swap_commit,
            room,
            answer,
        }) {
            let this = self.clone();
            let around = self.around().clone();
            tokio::spawn(lane.drain(around, move |did| {
                let this = this.clone();
                async move { this.load(&did).await }
            }));
        }
        outcome
            .await
            .unwrap_or_else(|_| Err(WriteError::Storage("the repository's lane stopped".into())))
    }

    /// Appends an event to the log, with `extra` in the same batch.
    pub async fn emit(&self, event: &LogEvent, extra: Batch) -> Result<Committed, WriteError> {
        let mut batch = extra;
        batch.append_event(event.encode());
        self.store()
            .commit(batch)
            .await
            .map_err(|e| WriteError::Storage(e.to_string()))
    }

    /// The time as events carry it.
    pub fn now(&self) -> String {
        self.around().now()
    }

    /// Drops a lane's state, so that the next write reads it from the store.
    pub(super) async fn forget(&self, did: &Did) {
        *self.lane(did).state.lock().await = None;
    }

    /// Runs a change on a lane's state with nothing else in flight, and commits its batch.
    pub(super) async fn exclusive<F>(
        &self,
        did: &Did,
        change: F,
        extra: Batch,
    ) -> Result<(), WriteError>
    where
        F: FnOnce(&mut LaneState, &mut Batch) -> Result<(), WriteError>,
    {
        let lane = self.lane(did);
        let mut guard = lane.state.lock().await;
        lane.settle().await;
        let mut state = match guard.take() {
            Some(state) => state,
            None => self.load(did).await?,
        };
        let mut batch = extra;
        change(&mut state, &mut batch)?;
        lane.changed();
        let outcome = self.store().commit(batch).await;
        if let Some(log) = self.around().log_of(did) {
            log.settled(did, outcome.is_ok());
        }
        outcome.map_err(|e| WriteError::Storage(e.to_string()))?;
        *guard = Some(state);
        Ok(())
    }
}
