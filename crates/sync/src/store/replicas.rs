//! The logs of all repositories that several devices hold.

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;

use bytes::Bytes;
use parking_lot::RwLock;
use tokio::sync::watch;
use ues_data::Cid;
use ues_repo::crypto::{SigningKey, VerifyingKey};
use ues_repo::repo::write::{Record, RecordPath, WriteError};
use ues_repo::repo::{KeySource, LoggedChange, OperationLog, RepoError, Repositories, blobs_in};
use ues_repo::syntax::Did;
use ues_storage::{Batch, Keyspace, StorageError};

use crate::clock::{ROOT, WriterId};
use crate::log::{Change, Incoming, LocalChange, Refused, Replica, ReplicaError};
use crate::protocol::{ArchiveError, SnapshotArchive, Taken};

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

/// One who may write to a repository, or might once.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Device {
    /// Its number.
    pub writer: WriterId,
    /// Its key, as a `did:key`.
    pub key: String,
    /// What people call it.
    pub name: String,
    /// How many operations of it are here.
    pub operations: u64,
    /// Time of the last one, in milliseconds since 1970; 0 without any.
    pub last_ms: u64,
    /// Whether its right to write was taken back.
    pub revoked: bool,
    /// The number that it signed twice: from there on nothing of it counts.
    pub fork: Option<u64>,
    /// Whether it is this device.
    pub here: bool,
    /// Whether it is the repository's own key.
    pub root: bool,
}

/// The logs of a store's repositories. Cheap to clone.
#[derive(Clone)]
pub struct Replicas(Arc<Inner>);

struct Inner {
    repos: Repositories,
    keys: Arc<dyn KeySource>,
    device: SigningKey,
    /// Repository number, row key -> row.
    rows: Keyspace,
    /// DID -> number of a repository that has a log.
    index: Keyspace,
    shared: RwLock<HashMap<Did, Arc<Shared>>>,
    /// How many there are; whoever watches it hears of new ones.
    count: watch::Sender<usize>,
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

    /// The writers of a repository.
    pub fn devices(&self, did: &Did) -> Result<Vec<Device>, ReplicasError> {
        let shared = self.needed(did)?;
        let replica = Arc::clone(&shared.state.borrow().replica);
        let me = replica.me();
        let device = |(writer, w): (WriterId, &crate::log::Writer)| Device {
            writer,
            key: w.did_key.to_string(),
            name: w.name.to_string(),
            operations: w.seq(),
            last_ms: w.tip.as_ref().map_or(0, |tip| tip.time.ms()),
            revoked: w.revoked.is_some(),
            fork: w.fork,
            here: me == Some(writer),
            root: writer == ROOT,
        };
        Ok(replica.roster().iter().map(device).collect())
    }

    /// Whether a key may take part: that of a device which may write.
    pub fn may_sync(&self, did: &Did, did_key: &str) -> bool {
        self.shared(did).is_some_and(|shared| {
            shared
                .state
                .borrow()
                .replica
                .roster()
                .find(did_key)
                .is_some()
        })
    }

    /// Whether this device has the repository's own key.
    pub fn has_root_key(&self, did: &Did) -> bool {
        self.root_key(did).is_ok()
    }

    /// Lets a device write. The log begins with the first.
    ///
    /// # Errors
    /// [`ReplicasError::NoRootKey`] where the repository's key is not.
    pub async fn grant(
        &self,
        did: &Did,
        key: &VerifyingKey,
        name: &str,
    ) -> Result<WriterId, ReplicasError> {
        self.begin(did).await?;
        let root = self.root_key(did)?;
        let mut number = ROOT;
        self.change(did, |replica, rows, change| {
            number = replica.grant(rows, key, name, now_ms(), &root, change)?;
            Ok(())
        })
        .await?;
        Ok(number)
    }

    /// Takes a device's right to write back.
    ///
    /// # Errors
    /// [`ReplicasError::NoRootKey`] where the repository's key is not.
    pub async fn revoke(&self, did: &Did, writer: WriterId) -> Result<(), ReplicasError> {
        let root = self.root_key(did)?;
        self.change(did, |replica, rows, change| {
            replica.revoke_writer(rows, writer, now_ms(), &root, change)
        })
        .await
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

    /// Signs what the repository is now and packs it up for a new device.
    ///
    /// # Errors
    /// [`ReplicasError::NoRootKey`] where the repository's key is not.
    pub async fn snapshot(&self, did: &Did) -> Result<Bytes, ReplicasError> {
        let root = self.root_key(did)?;
        let mut made = None;
        self.change(did, |replica, rows, change| {
            let damaged = |e: RepoError| ReplicaError::Damaged {
                repo: did.clone(),
                what: e.to_string(),
            };
            // With nothing in flight: what is exported is what is signed.
            let export = self.0.repos.export(did, None).map_err(damaged)?;
            let head = self.0.repos.head(did).map_err(damaged)?;
            let head = head.ok_or_else(|| damaged(RepoError::NotFound(did.clone())))?;
            let snapshot = replica.sign_snapshot(rows, head.data, now_ms(), &root, change)?;
            made = Some((snapshot, export));
            Ok(())
        })
        .await?;
        let Some((snapshot, export)) = made else {
            return Err(ReplicasError::NotShared(did.clone()));
        };
        let mut blocks = BTreeMap::new();
        for (_, cid) in snapshot.values() {
            if let Some(bytes) = self.0.repos.store().block(cid.hash())? {
                blocks.insert(cid, bytes);
            }
        }
        let mut car = Vec::new();
        for piece in export {
            car.extend_from_slice(&piece?);
        }
        let archive = SnapshotArchive {
            snapshot,
            blocks,
            car: car.into(),
        };
        Ok(archive.write())
    }

    /// Begins a log with a snapshot, in a repository that was made empty for it. `root` is the repository's key.
    ///
    /// # Errors
    /// [`ReplicasError::Refused`] when the snapshot is not what the root signed; the repository may have other records
    /// then, and no log.
    pub async fn restore(
        &self,
        did: &Did,
        root: &VerifyingKey,
        archive: Bytes,
    ) -> Result<(), ReplicasError> {
        let archive = SnapshotArchive::read(archive)?;
        let car = std::io::Cursor::new(archive.car.clone());
        self.0.repos.import(did, car).await?;
        let mut begun = None;
        self.0
            .repos
            .merge(did, |head, batch| {
                let failed = |e: ReplicaError| WriteError::Storage(e.to_string());
                if head.data != archive.snapshot.records {
                    return Err(WriteError::BadArchive(
                        "its records are not those that the snapshot names".to_owned(),
                    ));
                }
                let restored = Replica::restore(
                    did.clone(),
                    root,
                    self.0.device.verifying_key(),
                    &archive.snapshot,
                    &archive.blocks,
                    &self.rows(head.owner),
                );
                let (replica, change) = restored
                    .map_err(failed)?
                    .map_err(|refused| WriteError::BadArchive(refused.to_string()))?;
                put(&change, &self.0.rows, head.owner, batch);
                self.put_index(did, head.owner, batch);
                begun = Some((head.owner, replica, head.data));
                Ok(Vec::new())
            })
            .await?;
        if let Some((owner, replica, records)) = begun {
            self.enter(did, owner, replica, records);
        }
        Ok(())
    }

    /// Begins the log of a repository that only this device has.
    async fn begin(&self, did: &Did) -> Result<(), ReplicasError> {
        if self.shared(did).is_some() {
            return Ok(());
        }
        let root = self.account_key(did)?;
        let device = self.0.device.verifying_key().clone();
        let name = crate::log::LOCAL_NAME;
        let mut begun = None;
        self.0
            .repos
            .merge(did, |head, batch| {
                if self.shared(did).is_some() {
                    return Ok(Vec::new());
                }
                let (mut replica, mut change) =
                    Replica::begin(did.clone(), root.verifying_key(), &device);
                let rows = self.rows(head.owner);
                replica
                    .grant(&rows, &device, name, now_ms(), &root, &mut change)
                    .map_err(|e| WriteError::Storage(e.to_string()))?;
                put(&change, &self.0.rows, head.owner, batch);
                self.put_index(did, head.owner, batch);
                begun = Some((head.owner, replica, head.data));
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
        let fresh: HashMap<&Cid, &Bytes> = change
            .held
            .iter()
            .filter_map(|(_, cid, bytes)| Some((cid, bytes.as_ref()?)))
            .collect();
        let mut out = Vec::new();
        for (path, value) in replica.outcome(rows, change)? {
            let record = match value {
                Some(cid) => {
                    let bytes = match fresh.get(&cid) {
                        Some(bytes) => Some(Bytes::clone(bytes)),
                        None => self.0.repos.store().block(cid.hash())?,
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

    fn shared(&self, did: &Did) -> Option<Arc<Shared>> {
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

impl OperationLog for Replicas {
    fn keeps(&self, did: &Did) -> bool {
        self.0.shared.read().contains_key(did)
    }

    fn may_write(&self, did: &Did) -> bool {
        self.shared(did)
            .is_some_and(|shared| shared.state.borrow().replica.me().is_some())
    }

    fn record(
        &self,
        did: &Did,
        changes: Vec<LoggedChange>,
        batch: &mut Batch,
    ) -> Result<(), WriteError> {
        let Some(shared) = self.shared(did) else {
            return Ok(());
        };
        let rows = self.rows(shared.owner);
        let mut replica = shared.working();
        let mut change = Change::default();
        let local = changes.into_iter().map(|change| LocalChange {
            path: change.path,
            existed: change.existed,
            after: change.after,
        });
        replica
            .record(
                &rows,
                local.collect(),
                now_ms(),
                &self.0.device,
                &mut change,
            )
            .map_err(|e| match e {
                ReplicaError::NotAWriter(did) => WriteError::NotAWriter(did),
                other => WriteError::Storage(other.to_string()),
            })?;
        put(&change, &self.0.rows, shared.owner, batch);
        *shared.pending.lock() = Some(replica);
        Ok(())
    }

    fn settled(&self, did: &Did, durable: bool) {
        let Some(shared) = self.shared(did) else {
            return;
        };
        let pending = shared.pending.lock().take();
        if !durable {
            return;
        }
        let records = match self.0.repos.head(did) {
            Ok(Some(head)) => head.data,
            Ok(None) => return,
            Err(e) => {
                tracing::error!(%did, error = %e, "a repository cannot be read after a commit");
                return;
            }
        };
        shared.state.send_modify(|state| {
            if let Some(replica) = pending {
                state.replica = Arc::new(replica);
            }
            state.records = records;
        });
    }
}

pub(super) fn now_ms() -> u64 {
    let since = std::time::SystemTime::now()
        .duration_since(std::time::UNIX_EPOCH)
        .unwrap_or_default();
    u64::try_from(since.as_millis()).unwrap_or(u64::MAX)
}
