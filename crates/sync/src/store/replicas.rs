//! The logs of all repositories that several devices hold.

use std::collections::HashMap;
use std::sync::{Arc, OnceLock};

use bytes::Bytes;
use parking_lot::RwLock;
use tokio::sync::watch;
use ues_data::Cid;
use ues_repo::crypto::SigningKey;
use ues_repo::lexicon::Lexicons;
use ues_repo::repo::layout::Head;
use ues_repo::repo::write::{Record, RecordPath, WriteError};
use ues_repo::repo::{KeySource, RepoError, Repositories, blobs_in};
use ues_repo::syntax::Did;
use ues_storage::{Batch, Keyspace, StorageError};

use crate::clock::ROOT;
use crate::log::{Change, Incoming, Refused, Replica, ReplicaError};
use crate::merge::{FieldRule, rules_of};
use crate::protocol::{ArchiveError, Taken};

use super::copy::StoredCopy;
use super::rows::{StoredRows, put};
use super::shared::{Shared, State};

/// Why a log cannot be used.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ReplicasError {
    /// The log itself.
    #[error(transparent)]
    Replica(#[from] ReplicaError),
    /// The repository below.
    #[error(transparent)]
    Write(#[from] WriteError),
    /// The repository cannot be read.
    #[error(transparent)]
    Repo(#[from] RepoError),
    /// The store failed.
    #[error(transparent)]
    Storage(#[from] StorageError),
    /// Only this device has the repository.
    #[error("{0} is on this device alone: `ues device invite` lets another one hold it")]
    NotShared(Did),
    /// Another device has the repository's key.
    #[error("the signing key of {0} is on another device: do this there")]
    NoRootKey(Did),
    /// What came is not what the root signed.
    #[error("the snapshot is refused: {0}")]
    Refused(#[from] Refused),
    /// What came is no snapshot.
    #[error(transparent)]
    Archive(#[from] ArchiveError),
}

/// The logs of a store's repositories. Cheap to clone.
#[derive(Clone)]
pub struct Replicas(pub(super) Arc<Inner>);

pub(super) struct Inner {
    pub(super) repos: Repositories,
    pub(super) keys: Arc<dyn KeySource>,
    pub(super) device: SigningKey,
    /// Repository number, row key -> row.
    pub(super) rows: Keyspace,
    /// DID -> number of a repository that has a log.
    pub(super) index: Keyspace,
    pub(super) shared: RwLock<HashMap<Did, Arc<Shared>>>,
    /// What says how records merge.
    pub(super) lexicons: OnceLock<Lexicons>,
    /// How many there are; whoever watches it hears of new ones.
    pub(super) count: watch::Sender<usize>,
}

impl Replicas {
    /// Opens the logs of a store, and from then on sees to it that commits tell them. `device` is this device's key.
    ///
    /// # Errors
    /// When a log cannot be read.
    pub fn open(
        repos: Repositories,
        keys: Arc<dyn KeySource>,
        device: SigningKey,
    ) -> Result<Self, ReplicasError> {
        let store = repos.store();
        let inner = Inner {
            rows: store.keyspace("sync_rows")?,
            index: store.keyspace("sync_repos")?,
            keys,
            device,
            shared: RwLock::default(),
            lexicons: OnceLock::new(),
            count: watch::Sender::new(0),
            repos,
        };
        let this = Self(Arc::new(inner));
        for row in this.0.index.prefix("") {
            let (did, owner) = row?;
            let did = std::str::from_utf8(&did)
                .ok()
                .and_then(|did| Did::parse(did).ok());
            let owner = owner[..].try_into().ok().map(u64::from_be_bytes);
            if let (Some(did), Some(owner)) = (did, owner) {
                this.load(&did, owner)?;
            }
        }
        this.0.repos.set_operation_log(Arc::new(this.clone()));
        Ok(this)
    }

    /// Has records merge as their lexicons declare, once, before anything is written.
    pub fn merge_by(&self, lexicons: Lexicons) {
        let _ = self.0.lexicons.set(lexicons);
    }

    /// The merge rules of a collection, by field.
    pub(super) fn rules(&self, collection: &str) -> Vec<FieldRule> {
        let lexicons = self.0.lexicons.get();
        lexicons.map_or_else(Vec::new, |all| rules_of(&all.merge_rules(collection)))
    }

    /// This device's key.
    pub fn device(&self) -> &SigningKey {
        &self.0.device
    }

    /// All repositories below.
    pub fn repos(&self) -> &Repositories {
        &self.0.repos
    }

    /// The repositories that several devices hold.
    pub fn list(&self) -> Vec<Did> {
        let mut all: Vec<Did> = self.0.shared.read().keys().cloned().collect();
        all.sort_unstable();
        all
    }

    /// Hears when another repository comes to be shared.
    pub fn watch_list(&self) -> watch::Receiver<usize> {
        self.0.count.subscribe()
    }

    /// The durable state of a log; `None` if the repository has none.
    pub fn watch(&self, did: &Did) -> Option<watch::Receiver<State>> {
        self.shared(did).map(|shared| shared.state.subscribe())
    }

    /// This device's copy as it is durable now, for a session; without a log if there is none.
    pub fn copy(&self, did: &Did) -> StoredCopy {
        let shared = self.shared(did);
        // The state first: rows may be newer than it, not older.
        let state = shared.as_ref().map(|shared| shared.state.borrow().clone());
        StoredCopy {
            state,
            rows: self.rows(shared.map_or(0, |shared| shared.owner)),
            store: self.0.repos.store().clone(),
        }
    }

    /// Takes in operations of others.
    pub async fn admit(&self, did: &Did, batch: Vec<Incoming>) -> Result<Taken, ReplicasError> {
        let mut taken = Taken::default();
        self.change(did, |replica, rows, change| {
            for incoming in batch {
                let result = replica.admit(rows, incoming, now_ms(), change)?;
                taken.results.push(result);
            }
            Ok(())
        })
        .await?;
        Ok(taken)
    }

    /// Takes in proofs against writers that contradicted themselves. Answers which of them prove nothing, and why.
    pub async fn admit_proofs(
        &self,
        did: &Did,
        proofs: Vec<[Bytes; 2]>,
    ) -> Result<Taken, ReplicasError> {
        let mut taken = Taken::default();
        self.change(did, |replica, rows, change| {
            for proof in proofs {
                if let Err(refused) = replica.admit_proof(rows, proof, change)? {
                    tracing::warn!(%did, %refused, "a proof that proves nothing");
                    taken.results.push(Err(refused));
                }
            }
            Ok(())
        })
        .await?;
        Ok(taken)
    }

    /// Begins the log of a repository that only this device has.
    pub(super) async fn begin(&self, did: &Did) -> Result<(), ReplicasError> {
        if self.shared(did).is_some() {
            return Ok(());
        }
        let root = self.account_key(did)?;
        let device = self.0.device.verifying_key().clone();
        let name = crate::log::LOCAL_NAME;
        self.begin_with(did, |head| {
            if self.shared(did).is_some() {
                return Ok(None);
            }
            let (mut replica, mut change) =
                Replica::begin(did.clone(), root.verifying_key(), &device);
            let rows = self.rows(head.owner);
            replica
                .grant(&rows, &device, name, now_ms(), &root, &mut change)
                .map_err(|e| WriteError::Storage(e.to_string()))?;
            Ok(Some((replica, change)))
        })
        .await
    }

    /// Begins a log with what `make` gives, if it gives something.
    pub(super) async fn begin_with<F>(&self, did: &Did, make: F) -> Result<(), ReplicasError>
    where
        F: FnOnce(&Head) -> Result<Option<(Replica, Change)>, WriteError> + Send,
    {
        let mut begun = None;
        self.0
            .repos
            .merge(did, |head, batch| {
                if let Some((replica, change)) = make(head)? {
                    put(&change, &self.0.rows, head.owner, batch);
                    self.put_index(did, head.owner, batch);
                    begun = Some((head.owner, replica, head.data));
                }
                Ok(Vec::new())
            })
            .await?;
        if let Some((owner, replica, records)) = begun {
            self.enter(did, owner, replica, records);
        }
        Ok(())
    }

    /// Changes a log, and the records that follow from it, in one batch.
    pub(super) async fn change<F>(&self, did: &Did, work: F) -> Result<(), ReplicasError>
    where
        F: FnOnce(&mut Replica, &StoredRows, &mut Change) -> Result<(), ReplicaError> + Send,
    {
        let shared = self.needed(did)?;
        let mut failed = None;
        let outcome = self
            .0
            .repos
            .merge(did, |head, batch| {
                let rows = self.rows(head.owner);
                let mut replica = shared.working();
                let mut change = Change::default();
                let records = work(&mut replica, &rows, &mut change)
                    .and_then(|()| self.records(&replica, &rows, &change));
                let records = match records {
                    Ok(records) => records,
                    Err(e) => {
                        let text = e.to_string();
                        failed = Some(e);
                        return Err(WriteError::Storage(text));
                    }
                };
                put(&change, &self.0.rows, head.owner, batch);
                *shared.pending.lock() = Some(replica);
                Ok(records)
            })
            .await;
        match failed {
            Some(e) => Err(e.into()),
            None => Ok(outcome?),
        }
    }

    /// The records that follow from a change.
    fn records(
        &self,
        replica: &Replica,
        rows: &StoredRows,
        change: &Change,
    ) -> Result<Vec<(RecordPath, Option<Record>)>, ReplicaError> {
        let mut out = Vec::new();
        let blocks = |cid: &Cid| Ok(self.store().block(cid.hash())?);
        for (path, value) in replica.outcome(rows, change, &blocks)? {
            let record = match value {
                Some((cid, bytes)) => {
                    let bytes = match bytes {
                        Some(bytes) => Some(bytes),
                        None => blocks(&cid)?,
                    };
                    let bytes = bytes.ok_or_else(|| ReplicaError::Damaged {
                        repo: replica.repo().clone(),
                        what: format!("the block of {path} is missing"),
                    })?;
                    let blobs = blobs_in(&bytes);
                    Some(Record { cid, bytes, blobs })
                }
                None => None,
            };
            out.push((path, record));
        }
        Ok(out)
    }

    pub(super) fn rows(&self, owner: u64) -> StoredRows {
        StoredRows {
            repos: self.0.repos.clone(),
            rows: self.0.rows.clone(),
            state: self.0.repos.store().snapshot(),
            owner,
        }
    }

    pub(super) fn store(&self) -> &ues_storage::Store {
        self.0.repos.store()
    }

    /// The root of the record tree, once asked for; with nothing in flight it is that of the log.
    pub(super) fn records_root(
        &self,
        did: &Did,
    ) -> impl FnOnce() -> Result<Cid, ReplicaError> + Send + use<> {
        let (repos, did) = (self.0.repos.clone(), did.clone());
        move || {
            let damaged = |e: RepoError| ReplicaError::Damaged {
                repo: did.clone(),
                what: e.to_string(),
            };
            let head = repos.head(&did).map_err(damaged)?;
            let head = head.ok_or_else(|| damaged(RepoError::NotFound(did.clone())))?;
            Ok(head.data)
        }
    }

    fn put_index(&self, did: &Did, owner: u64, batch: &mut Batch) {
        batch.put(&self.0.index, did.as_str(), owner.to_be_bytes());
    }

    fn load(&self, did: &Did, owner: u64) -> Result<(), ReplicasError> {
        let Some(head) = self.0.repos.head(did)?.filter(|head| head.owner == owner) else {
            // The repository is gone, or another one has its name.
            return Ok(());
        };
        if let Some(replica) = Replica::open(&self.rows(owner))? {
            self.enter(did, owner, replica, head.data);
        }
        Ok(())
    }

    fn enter(&self, did: &Did, owner: u64, replica: Replica, records: Cid) {
        let state = State {
            replica: Arc::new(replica),
            records,
        };
        let mut shared = self.0.shared.write();
        shared.insert(did.clone(), Arc::new(Shared::new(owner, state)));
        self.0.count.send_replace(shared.len());
    }

    pub(super) fn shared(&self, did: &Did) -> Option<Arc<Shared>> {
        self.0.shared.read().get(did).cloned()
    }

    pub(super) fn needed(&self, did: &Did) -> Result<Arc<Shared>, ReplicasError> {
        self.shared(did)
            .ok_or_else(|| ReplicasError::NotShared(did.clone()))
    }

    /// The key with which this node signs commits: on the root's device the repository's own.
    fn account_key(&self, did: &Did) -> Result<Arc<SigningKey>, ReplicasError> {
        let key = self.0.keys.signing_key(did).ok().flatten();
        key.ok_or_else(|| ReplicasError::NoRootKey(did.clone()))
    }

    pub(super) fn root_key(&self, did: &Did) -> Result<Arc<SigningKey>, ReplicasError> {
        let key = self.account_key(did)?;
        let is_root = match self.shared(did) {
            Some(shared) => *shared.state.borrow().replica.roster().author(ROOT) == *key.did_key(),
            None => key.kind().is_atproto(),
        };
        match is_root {
            true => Ok(key),
            false => Err(ReplicasError::NoRootKey(did.clone())),
        }
    }
}

pub(super) fn now_ms() -> u64 {
    let since = std::time::SystemTime::now()
        .duration_since(std::time::UNIX_EPOCH)
        .unwrap_or_default();
    u64::try_from(since.as_millis()).unwrap_or(u64::MAX)
}
