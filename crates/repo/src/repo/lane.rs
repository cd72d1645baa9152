//! The write lane of one repository: a queue, the newest state, and the making of commits.
//!
//! Writes of one repository are ordered, but need not wait for the disk one after another. Whoever
//! finds the lane idle drains it: takes what has queued up (as one commit, where the requests do
//! not depend on each other), signs, hands the batch to the committer and goes on with the next
//! while the disk still syncs. The committer is first in, first out, so a later commit is never
//! durable before an earlier one; each caller is answered when its own commit is durable.

use std::collections::VecDeque;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, OnceLock};

use parking_lot::Mutex;
use tokio::sync::oneshot;
use ues_data::Cid;
use ues_data::mst::Tree;
use ues_storage::Store;

use crate::blob_store::BlobStores;
use crate::crypto::SigningKey;
use crate::syntax::{Did, TidClock};

use super::blobs;
use super::draft_commit::{Announce, Change, Changes, damaged};
use super::layout::{Head, Keyspaces};
use super::shared::{LoggedChange, OperationLog};
use super::subjects::{Link, Recent, is_linking};
use super::usage::{Growth, Room, Usage};
use super::write::{
    Applied, MAX_COMMIT_BLOCKS_BYTES, MAX_OPS, MAX_RECORD_BYTES, Outcome, Record, RecordPath,
    Write, WriteError, WriteKind,
};

/// Nodes of one lane's tree that stay in memory between commits.
const MAX_RESIDENT_NODES: usize = 4096;

/// Rows of subjects that stay in memory while commits are in flight.
const MAX_RECENT_ROWS: usize = 4096;

/// A queued call of `apply_writes`.
pub(super) struct Request {
    pub writes: Vec<Write>,
    pub swap_commit: Option<Cid>,
    /// How much room records have.
    pub room: Room,
    pub answer: oneshot::Sender<Result<Applied, WriteError>>,
}

/// The newest state of a repository, ahead of the disk by what is in flight.
pub(super) struct LaneState {
    pub head: Head,
    pub tree: Tree,
    pub key: Arc<SigningKey>,
    /// Whether any record refers to a blob; spares the look-up for all who have none.
    pub has_blobs: bool,
    /// How much the repository holds.
    pub usage: Usage,
    /// Rows of subjects that may be in flight.
    pub recent: Recent,
}

/// One repository's lane.
pub(super) struct Lane {
    pub did: Did,
    queue: Mutex<VecDeque<Request>>,
    draining: AtomicBool,
    /// `None`: not loaded, or lost by a failure.
    pub state: tokio::sync::Mutex<Option<LaneState>>,
    /// Commits handed to the committer and not yet durable.
    in_flight: Arc<tokio::sync::Semaphore>,
    /// Changes that were no commits.
    changes: AtomicU64,
    used: AtomicBool,
}

/// Commits of one lane that may be in flight: bounds memory when the disk is slow.
const MAX_IN_FLIGHT: usize = 256;

/// What a lane needs of its surroundings.
#[derive(Clone)]
pub(super) struct Surroundings {
    pub store: Store,
    pub ks: Keyspaces,
    pub clock: Arc<TidClock>,
    /// Where the content of blobs is.
    pub content: BlobStores,
    /// The log of repositories with several writers, if this node keeps one.
    pub operations: Arc<OnceLock<Arc<dyn OperationLog>>>,
}

/// The commit being made: what it changes, and who waits for it.
#[derive(Default)]
struct Draft {
    changes: Changes,
    bytes: usize,
    growth: Growth,
    waiters: Vec<Waiter>,
}

/// A caller whose writes are in the draft.
struct Waiter {
    results: Vec<Outcome>,
    /// Whether any of its writes changes anything.
    changed: bool,
    answer: oneshot::Sender<Result<Applied, WriteError>>,
}

impl Lane {
    pub fn new(did: Did) -> Self {
        Self {
            did,
            queue: Mutex::default(),
            draining: AtomicBool::new(false),
            state: tokio::sync::Mutex::new(None),
            in_flight: Arc::new(tokio::sync::Semaphore::new(MAX_IN_FLIGHT)),
            changes: AtomicU64::new(0),
            used: AtomicBool::new(true),
        }
    }

    /// Notes that somebody wants it.
    pub fn wanted(&self) {
        self.used.store(true, Ordering::Release);
    }

    /// Whether somebody wanted it since the last call.
    pub fn was_wanted(&self) -> bool {
        self.used.swap(false, Ordering::AcqRel)
    }

    /// Queues a request; `true` if the caller must see to it that the lane is drained.
    pub fn push(&self, request: Request) -> bool {
        self.queue.lock().push_back(request);
        !self.draining.swap(true, Ordering::AcqRel)
    }

    /// Whether nothing is queued or in work.
    pub fn is_idle(&self) -> bool {
        !self.draining.load(Ordering::Acquire) && self.queue.lock().is_empty() && !self.is_busy()
    }

    fn is_busy(&self) -> bool {
        self.in_flight.available_permits() < MAX_IN_FLIGHT
    }

    /// Notes a change that need not be a commit.
    pub fn changed(&self) {
        self.changes.fetch_add(1, Ordering::AcqRel);
    }

    /// How many changes were noted while the lane is in memory.
    pub fn changes(&self) -> u64 {
        self.changes.load(Ordering::Acquire)
    }

    /// Waits until nothing of this lane is in flight: what it wrote can then be read in the store.
    pub async fn settle(&self) {
        let _all = self.in_flight.acquire_many(MAX_IN_FLIGHT as u32).await;
    }

    /// Takes requests until none is left. `load` brings the state where it is not in memory.
    pub async fn drain<F, L>(self: Arc<Self>, around: Surroundings, load: F)
    where
        F: Fn(Did) -> L + Send,
        L: Future<Output = Result<LaneState, WriteError>> + Send,
    {
        let mut guard = self.state.lock().await;
        loop {
            let Some(first) = self.queue.lock().pop_front() else {
                self.draining.store(false, Ordering::Release);
                // A request may have come between the look and the mark.
                if self.queue.lock().is_empty() || self.draining.swap(true, Ordering::AcqRel) {
                    return;
                }
                continue;
            };
            if guard.is_none() {
                self.settle().await;
                match load(self.did.clone()).await {
                    Ok(state) => *guard = Some(state),
                    Err(e) => {
                        let _ = first.answer.send(Err(e));
                        continue;
                    }
                }
            }
            let Some(state) = guard.as_mut() else {
                continue;
            };
            if let Err(e) = self.commit_group(&around, state, first).await {
                tracing::error!(did = %self.did, error = %e, "repository lane failed; reloading");
                *guard = None;
            }
            // Who waits for the lane comes next, however many writes are queued.
            drop(guard);
            guard = self.state.lock().await;
        }
    }

    /// Makes one commit of `first` and of what is queued behind it and fits.
    async fn commit_group(
        self: &Arc<Self>,
        around: &Surroundings,
        state: &mut LaneState,
        first: Request,
    ) -> Result<(), WriteError> {
        if !self.is_busy() {
            state.recent.clear();
        }
        let mut draft = Draft::default();
        let mut later = self.stage(around, state, &mut draft, first);
        while later.is_none() {
            let next = {
                let mut queue = self.queue.lock();
                match queue.front() {
                    Some(r) if draft.admits(r) => queue.pop_front(),
                    _ => None,
                }
            };
            match next {
                Some(request) => later = self.stage(around, state, &mut draft, request),
                None => break,
            }
        }
        if let Some(request) = later {
            self.queue.lock().push_front(request);
        }
        if draft.changes.is_empty() {
            for Waiter {
                results, answer, ..
            } in draft.waiters
            {
                let _ = answer.send(Ok(Applied {
                    commit: None,
                    results,
                    seq: None,
                }));
            }
            return Ok(());
        }
        let log = around.log_of(&self.did);
        // What replaced records refer to, and how large they are, is read from the store.
        let unseen = |cid: Cid| !matches!(around.store.has_block(cid.hash()), Ok(true));
        let replaces = |(path, change): (&RecordPath, &Change)| {
            let refers = state.has_blobs || is_linking(path.collection());
            change.before.is_some_and(|cid| refers || unseen(cid))
        };
        if log.is_some() || (self.is_busy() && draft.changes.iter().any(replaces)) {
            self.settle().await;
            state.recent.clear();
        }
        let mut batch = around.store.batch();
        let made = state
            .make_commit(
                around,
                &self.did,
                &draft.changes,
                Announce::Commit,
                &mut batch,
            )
            .and_then(|made| {
                if let Some(log) = &log {
                    log.record(&self.did, draft.logged(), &mut batch)?;
                }
                Ok(made)
            });
        let made = match made {
            Ok(made) => made,
            Err(e) => {
                draft.fail(&e);
                return Err(e);
            }
        };
        let permit = Arc::clone(&self.in_flight).acquire_owned().await;
        let ticket = match around.store.submit(batch) {
            Ok(ticket) => ticket,
            Err(e) => {
                let e = WriteError::Storage(e.to_string());
                if let Some(log) = &log {
                    log.settled(&self.did, false);
                }
                draft.fail(&e);
                return Err(e);
            }
        };
        let did = self.did.clone();
        let logged = log.is_some();
        let answers = async move {
            let outcome = ticket.await;
            drop(permit);
            if let Some(log) = log {
                log.settled(&did, outcome.is_ok());
            }
            match outcome {
                Ok(done) => {
                    for Waiter {
                        results,
                        changed,
                        answer,
                    } in draft.waiters
                    {
                        let _ = answer.send(Ok(Applied {
                            commit: changed.then(|| made.clone()),
                            results,
                            seq: changed.then_some(done.last_seq).flatten(),
                        }));
                    }
                }
                Err(e) => draft.fail(&WriteError::Storage(e.to_string())),
            }
        };
        if logged {
            // The next operation builds on what is durable.
            answers.await;
        } else {
            tokio::spawn(answers);
        }
        if state.tree.resident_nodes() > MAX_RESIDENT_NODES || state.recent.len() > MAX_RECENT_ROWS
        {
            // Only what the store already shows may be forgotten.
            self.settle().await;
            state.tree.unload_to(MAX_RESIDENT_NODES / 2);
            state.recent.clear();
        }
        Ok(())
    }

    /// Checks a request against the state and the draft; takes it in whole, or answers it, or gives
    /// it back for the commit after this one.
    fn stage(
        &self,
        around: &Surroundings,
        state: &LaneState,
        draft: &mut Draft,
        request: Request,
    ) -> Option<Request> {
        match check(&self.did, around, state, draft, &request) {
            Ok(Some((staged, growth, results))) => {
                draft.growth = draft.growth.and(growth);
                let changed = !staged.is_empty();
                for (path, change) in staged {
                    draft.bytes += change.after.as_ref().map_or(0, |r| r.bytes.len());
                    draft.changes.insert(path, change);
                }
                draft.waiters.push(Waiter {
                    results,
                    changed,
                    answer: request.answer,
                });
            }
            Ok(None) => return Some(request),
            Err(e) => {
                let _ = request.answer.send(Err(e));
            }
        }
        None
    }
}

impl Surroundings {
    /// The log of operations, for a repository with several writers.
    pub fn log_of(&self, did: &Did) -> Option<Arc<dyn OperationLog>> {
        self.operations.get().filter(|log| log.keeps(did)).cloned()
    }
}

impl Draft {
    /// The changes as the log of operations takes them.
    fn logged(&self) -> Vec<LoggedChange> {
        let change = |(path, change): (&RecordPath, &Change)| LoggedChange {
            path: path.clone(),
            before: change.before,
            after: change.after.as_ref().map(|r| (r.cid, r.bytes.clone())),
        };
        self.changes.iter().map(change).collect()
    }

    /// Whether a request can share the commit: it would be answered the same on its own, but for
    /// the commit's name.
    fn admits(&self, request: &Request) -> bool {
        let bytes: usize = request
            .writes
            .iter()
            .filter_map(|w| w.record.as_ref())
            .map(|r| r.bytes.len())
            .sum();
        request.swap_commit.is_none()
            && self.changes.len() + request.writes.len() <= MAX_OPS
            && self.bytes + bytes <= MAX_COMMIT_BLOCKS_BYTES / 2
            && request
                .writes
                .iter()
                .all(|w| !self.changes.contains_key(&w.path))
    }

    /// Whether it changes, or may change, which records of a collection refer to a subject.
    fn touches(&self, collection: &str, link: &Link) -> bool {
        self.changes.iter().any(|(path, change)| {
            change.link.as_ref() == Some(link)
                || (change.before.is_some() && path.collection() == collection)
        })
    }

    fn fail(self, error: &WriteError) {
        for waiter in self.waiters {
            let _ = waiter.answer.send(Err(error.clone()));
        }
    }
}

/// The records that a write which replaces others replaces.
///
/// `None`: the draft decides that; the request must wait for the next commit.
fn replaced(
    around: &Surroundings,
    state: &LaneState,
    draft: &Draft,
    staged: &Changes,
    write: &Write,
) -> Result<Option<Vec<RecordPath>>, WriteError> {
    let collection = write.path.collection();
    let link = write
        .record
        .as_ref()
        .and_then(|record| Link::of(state.head.content, collection, &record.bytes));
    let Some(link) = link else {
        return Ok(Some(Vec::new()));
    };
    if draft.touches(collection, &link) {
        return Ok(None);
    }
    let mut paths = state.recent.referring(around, collection, &link)?;
    paths.retain(|path| !staged.contains_key(path));
    let staged = staged.iter().filter(|(_, c)| c.link == Some(link));
    paths.extend(staged.map(|(path, _)| path.clone()));
    Ok(Some(paths))
}

/// What a request would change, and what it is answered; `None` if it must wait for the next commit.
fn check(
    did: &Did,
    around: &Surroundings,
    state: &LaneState,
    draft: &Draft,
    request: &Request,
) -> Result<Option<(Changes, Growth, Vec<Outcome>)>, WriteError> {
    if !state.head.status.is_active() {
        return Err(WriteError::Inactive(state.head.status));
    }
    if around.log_of(did).is_some_and(|log| !log.may_write(did)) {
        return Err(WriteError::NotAWriter(did.clone()));
    }
    if request.writes.len() > MAX_OPS {
        return Err(WriteError::TooManyOps);
    }
    let stale = request
        .swap_commit
        .is_some_and(|expected| expected != state.head.commit);
    // What is so already needs no swap.
    let idempotent = |kind| matches!(kind, WriteKind::Put | WriteKind::DeleteIfPresent);
    let may_be_so = request.writes.iter().all(|w| idempotent(w.kind));
    if stale && (request.writes.is_empty() || !may_be_so) {
        return Err(WriteError::SwapCommit {
            current: state.head.commit,
        });
    }
    debug_assert!(request.swap_commit.is_none() || draft.waiters.is_empty());
    let mut staged = Changes::new();
    let mut results = Vec::with_capacity(request.writes.len());
    let now = |staged: &Changes, path: &RecordPath| match staged.get(path) {
        Some(change) => Ok(change.after.as_ref().map(|r| r.cid)),
        None => state
            .tree
            .get(&around.store, path.as_str().as_bytes())
            .map_err(|e| damaged(did, e)),
    };
    for write in &request.writes {
        let before = now(&staged, &write.path)?;
        let wanted = write.record.as_ref().map(|record| record.cid);
        if let Some(expected) = write.swap
            && expected != before
            && !(idempotent(write.kind) && wanted == before)
        {
            return Err(WriteError::SwapRecord { current: before });
        }
        let content = || {
            write
                .record
                .clone()
                .ok_or_else(|| WriteError::NoContent(write.path.clone()))
        };
        let mut kind = write.kind;
        if kind == WriteKind::CreateReplacing {
            let Some(paths) = replaced(around, state, draft, &staged, write)? else {
                return Ok(None);
            };
            kind = WriteKind::Create;
            for path in paths {
                if path == write.path {
                    kind = WriteKind::Put;
                } else if let Some(before) = now(&staged, &path)? {
                    set(&mut staged, path, Some(before), None, None);
                }
            }
        }
        let (outcome, after) = match (kind, before) {
            (WriteKind::Create | WriteKind::CreateReplacing, Some(_)) => {
                return Err(WriteError::RecordExists(write.path.clone()));
            }
            (WriteKind::Update | WriteKind::Delete, None) => {
                return Err(WriteError::RecordMissing(write.path.clone()));
            }
            (WriteKind::DeleteIfPresent, None) => (Outcome::Unchanged(None), None),
            (WriteKind::Delete | WriteKind::DeleteIfPresent, Some(_)) => (Outcome::Deleted, None),
            (WriteKind::Create | WriteKind::CreateReplacing | WriteKind::Put, None) => {
                let record = content()?;
                (Outcome::Created(record.cid), Some(record))
            }
            (WriteKind::Update | WriteKind::Put, Some(before)) => {
                let record = content()?;
                if record.cid == before {
                    (Outcome::Unchanged(Some(before)), None)
                } else {
                    (Outcome::Updated(record.cid), Some(record))
                }
            }
        };
        if let Some(record) = &after {
            if record.bytes.len() > MAX_RECORD_BYTES {
                return Err(WriteError::TooLarge {
                    what: "a record",
                    bytes: record.bytes.len(),
                    limit: MAX_RECORD_BYTES,
                });
            }
            blobs::require(around, did, state.head.numbers(), &record.blobs)?;
        }
        if !matches!(outcome, Outcome::Unchanged(_)) {
            let link = after.as_ref().and_then(|record| {
                Link::of(state.head.content, write.path.collection(), &record.bytes)
            });
            set(&mut staged, write.path.clone(), before, after, link);
        }
        results.push(outcome);
    }
    // Created and deleted again, or changed and changed back, in one request: nothing happened.
    staged.retain(|_, c| c.before != c.after.as_ref().map(|r| r.cid));
    if stale && !staged.is_empty() {
        return Err(WriteError::SwapCommit {
            current: state.head.commit,
        });
    }
    // Replaced records count too.
    if staged.len() > MAX_OPS {
        return Err(WriteError::TooManyOps);
    }
    if !draft.waiters.is_empty() && draft.changes.len() + staged.len() > MAX_OPS {
        return Ok(None);
    }
    let mut growth = Growth::default();
    if request.room.is_bounded() {
        growth = Growth::of(around, &staged).map_err(|e| WriteError::Storage(e.to_string()))?;
        let mut usage = state.usage;
        usage.grow(draft.growth);
        request.room.admit(usage, growth)?;
    }
    Ok(Some((staged, growth, results)))
}

/// Sets what is at a path after the request.
fn set(
    staged: &mut Changes,
    path: RecordPath,
    before: Option<Cid>,
    after: Option<Record>,
    link: Option<Link>,
) {
    match staged.get_mut(&path) {
        Some(change) => (change.after, change.link) = (after, link),
        None => {
            let change = Change {
                before,
                after,
                link,
            };
            staged.insert(path, change);
        }
    }
}
