//! One device's copy of the log.

use std::collections::BTreeMap;

use bytes::Bytes;
use ues_data::dag_cbor::{self, Writer as Cbor};
use ues_data::{Cid, Ipld};
use ues_repo::crypto::{KeyKind, VerifyingKey};
use ues_repo::repo::write::RecordPath;
use ues_repo::syntax::Did;
use ues_storage::StorageError;

use crate::clock::{ROOT, VectorClock, WriterId};
use crate::hybrid_time::HybridTime;
use crate::operation::{Operation, OperationId};

use super::beyond::Beyond;
use super::change::{Change, Over};
use super::roster::{Roster, Writer};
use super::rows::{META, Rows, operation_key, path_of, states, writer_key, writers};
use super::state::TargetState;
use crate::merge::merged_record;

/// Why a replica cannot go on.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ReplicaError {
    /// The store failed.
    #[error(transparent)]
    Storage(#[from] StorageError),
    /// A row is not what was written.
    #[error("the operation log of {repo} is damaged: {what}")]
    Damaged {
        /// The repository.
        repo: Did,
        /// What was found.
        what: String,
    },
    /// This device may not write.
    #[error("this device may not write to {0}: its key is not granted, or was revoked")]
    NotAWriter(Did),
    /// The key cannot be a device's.
    #[error("a device's key is an Ed25519 key, found {0}")]
    KeyKind(&'static str),
}

/// The log of one repository on this device, as far as it is in memory. Whoever writes to it has it alone, and drops it
/// when what it handed over could not be made durable.
#[derive(Clone, Debug)]
pub struct Replica {
    pub(super) repo: Did,
    /// The `did:key` of this device.
    device: Box<str>,
    pub(super) roster: Roster,
    /// The latest time of any operation here.
    pub(super) time: HybridTime,
    /// Operations behind the cut of a revoked writer, until another writer turns out to have seen them.
    pub(super) beyond: Beyond,
    /// Number of the root's snapshot where the log begins; 0 if it has all operations.
    pub(super) floor: u64,
}

/// Gives the blocks of records that the store has.
pub type Blocks<'a> = &'a dyn Fn(&Cid) -> Result<Option<Bytes>, ReplicaError>;

/// Records by path: none for a deletion, and without a block where the store has it.
pub type Standings = Vec<(RecordPath, Option<(Cid, Option<Bytes>)>)>;

/// How far one writer has come.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Head {
    /// Who.
    pub writer: WriterId,
    /// Number of the last operation; 0 before the first.
    pub seq: u64,
    /// Its name; zero before the first.
    pub id: OperationId,
    /// The number that it signed twice.
    pub fork: Option<u64>,
}

/// What a replica is, in short: equal summaries mean equal logs.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Summary {
    /// By writer.
    pub heads: Vec<Head>,
}

impl Summary {
    /// A digest of the whole.
    pub fn fingerprint(&self) -> [u8; 16] {
        let mut hasher = blake3::Hasher::new();
        for head in &self.heads {
            hasher.update(&head.writer.to_be_bytes());
            hasher.update(&head.seq.to_be_bytes());
            hasher.update(&head.id.0);
            hasher.update(&head.fork.unwrap_or(0).to_be_bytes());
        }
        std::array::from_fn(|i| hasher.finalize().as_bytes()[i])
    }

    /// How far each writer has come.
    pub fn clock(&self) -> VectorClock {
        self.heads.iter().map(|h| (h.writer, h.seq)).collect()
    }
}

impl Replica {
    /// Begins the log of a repository. `root` is the repository's signing key, `device` that of this device.
    pub fn begin(repo: Did, root: &VerifyingKey, device: &VerifyingKey) -> (Self, Change) {
        let mut replica = Self {
            repo,
            device: device.did_key().into(),
            roster: Roster::default(),
            time: HybridTime::default(),
            beyond: Beyond::default(),
            floor: 0,
        };
        let mut change = Change::default();
        replica.keep_meta(&mut change);
        let root = Writer {
            did_key: root.did_key().into(),
            key: root.clone(),
            name: "root".into(),
            tip: None,
            revoked: None,
            fork: None,
            pinned: 0,
        };
        replica.set_writer(ROOT, root, &mut change);
        (replica, change)
    }

    /// Reads the log's present state; `None` if the repository has no log.
    pub fn open(rows: &dyn Rows) -> Result<Option<Self>, ReplicaError> {
        let Some(meta) = rows.get(META)? else {
            return Ok(None);
        };
        let Ok(Ipld::List(fields)) = dag_cbor::decode(&meta) else {
            return Err(unnamed("its first row"));
        };
        let (repo, device, floor) = match &fields[..] {
            [
                Ipld::String(repo),
                Ipld::String(device),
                Ipld::Integer(floor),
            ] => (repo, device, *floor),
            // Written before logs could begin anywhere but at their first operation.
            [Ipld::String(repo), Ipld::String(device)] => (repo, device, 0),
            _ => return Err(unnamed("its first row")),
        };
        let mut replica = Self {
            repo: Did::parse(repo).map_err(|_| unnamed("its name"))?,
            device: device.as_str().into(),
            roster: Roster::default(),
            time: HybridTime::default(),
            beyond: Beyond::default(),
            floor: u64::try_from(floor).map_err(|_| unnamed("its first row"))?,
        };
        let (from, to) = writers();
        for row in rows.range(&from, &to) {
            let (key, value) = row?;
            let number = key.get(1..).and_then(|key| key.try_into().ok());
            let (Some(number), Some(writer)) = (number, Writer::decode(&value)) else {
                return Err(replica.damaged("a writer"));
            };
            if let Some(tip) = &writer.tip {
                replica.time = replica.time.max(tip.time);
            }
            let number = WriterId::from_be_bytes(number);
            replica.roster.0.insert(number, writer);
        }
        Ok(Some(replica))
    }

    /// The repository.
    pub fn repo(&self) -> &Did {
        &self.repo
    }

    /// The writers.
    pub fn roster(&self) -> &Roster {
        &self.roster
    }

    /// The number under which this device may write.
    pub fn me(&self) -> Option<WriterId> {
        self.roster.find(&self.device)
    }

    /// The `did:key` of this device.
    pub(super) fn device_name(&self) -> &str {
        &self.device
    }

    /// How far each writer has come here.
    pub fn clock(&self) -> VectorClock {
        self.roster.clock()
    }

    /// Whether the root signed two operations with one number. Nothing is taken in any more then: nobody can tell who
    /// may write.
    pub fn is_ended(&self) -> bool {
        self.roster
            .get(ROOT)
            .is_some_and(|root| root.fork.is_some())
    }

    /// Bytes in memory of operations that wait until it turns out whether they count.
    pub fn waiting_bytes(&self) -> usize {
        self.beyond.bytes()
    }

    /// What is here, in short.
    pub fn summary(&self) -> Summary {
        let head = |(writer, w): (WriterId, &Writer)| Head {
            writer,
            seq: w.seq(),
            id: w.tip.as_ref().map_or(OperationId([0; 32]), |tip| tip.id),
            fork: w.fork,
        };
        Summary {
            heads: self.roster.iter().map(head).collect(),
        }
    }

    /// An operation of the log.
    pub fn operation(
        &self,
        rows: &dyn Rows,
        writer: WriterId,
        seq: u64,
    ) -> Result<Option<Operation>, ReplicaError> {
        let Some(block) = rows.get(&operation_key(writer, seq))? else {
            return Ok(None);
        };
        self.decode(block).map(Some)
    }

    /// The state of a target; `None` if no operation of the log is about it.
    pub fn state(
        &self,
        rows: &dyn Rows,
        path: &RecordPath,
    ) -> Result<Option<TargetState>, ReplicaError> {
        match rows.get(&super::rows::state_key(path.as_str()))? {
            Some(bytes) => TargetState::decode(&bytes)
                .map(Some)
                .ok_or_else(|| self.damaged(format!("the state of {path}"))),
            None => Ok(None),
        }
    }

    /// The states of all targets, by path.
    pub fn states<'a>(
        &'a self,
        rows: &'a dyn Rows,
    ) -> impl Iterator<Item = Result<(RecordPath, TargetState), ReplicaError>> + 'a {
        let (from, to) = states();
        rows.range(&from, &to).map(|row| {
            let (key, value) = row?;
            let path = path_of(&key).and_then(|path| RecordPath::parse(path).ok());
            match (path, TargetState::decode(&value)) {
                (Some(path), Some(state)) => Ok((path, state)),
                _ => Err(self.damaged("a state")),
            }
        })
    }

    /// What the records at the touched targets are once a change is written. `blocks` gives those of the store.
    pub fn outcome(
        &self,
        rows: &dyn Rows,
        change: &Change,
        blocks: Blocks<'_>,
    ) -> Result<Standings, ReplicaError> {
        let over = Over { rows, change };
        let fresh: BTreeMap<&Cid, &Bytes> = change
            .held
            .iter()
            .filter_map(|(_, cid, bytes)| Some((cid, bytes.as_ref()?)))
            .collect();
        let mut out = Standings::new();
        for path in &change.touched {
            let Some(state) = self.state(&over, path)? else {
                let value = self.before_log(rows, change, path)?;
                out.push((path.clone(), value.map(|cid| (cid, None))));
                continue;
            };
            let Some(shown) = state.shown(|writer| self.roster.author(writer)) else {
                out.push((path.clone(), None));
                continue;
            };
            let bytes = fresh.get(&shown.value).map(|bytes| Bytes::clone(bytes));
            let Some(lineage) = shown.lineage else {
                out.push((path.clone(), Some((shown.value, bytes))));
                continue;
            };
            let winner = match bytes {
                Some(bytes) => bytes,
                None => blocks(&shown.value)?
                    .ok_or_else(|| self.damaged(format!("the block of {path} is missing")))?,
            };
            let merged = merged_record(lineage, &winner).map_or(winner, Bytes::from);
            let cid = ues_data::dag_cbor_cid(&merged);
            out.push((path.clone(), Some((cid, Some(merged)))));
        }
        Ok(out)
    }

    /// The record at a target that no operation of the log is about.
    pub(super) fn before_log(
        &self,
        rows: &dyn Rows,
        change: &Change,
        path: &RecordPath,
    ) -> Result<Option<Cid>, ReplicaError> {
        match change.reverted.get(path) {
            Some(base) => Ok(*base),
            None => Ok(rows.record(path.as_str())?),
        }
    }

    /// Writes the first row anew.
    pub(super) fn keep_meta(&self, change: &mut Change) {
        let mut w = Cbor::with_capacity(128);
        w.array(3);
        w.text(self.repo.as_str());
        w.text(&self.device);
        w.uint(self.floor);
        change.put(META.to_vec(), w.into_bytes());
    }

    pub(super) fn set_writer(&mut self, number: WriterId, writer: Writer, change: &mut Change) {
        change.put(writer_key(number), writer.encode());
        self.roster.0.insert(number, writer);
    }

    /// Writes a writer's row anew.
    pub(super) fn keep_writer(&self, number: WriterId, change: &mut Change) {
        if let Some(writer) = self.roster.get(number) {
            change.put(writer_key(number), writer.encode());
        }
    }

    pub(super) fn decode(&self, block: Bytes) -> Result<Operation, ReplicaError> {
        Operation::decode(block).map_err(|e| self.damaged(e.to_string()))
    }

    pub(crate) fn damaged(&self, what: impl Into<String>) -> ReplicaError {
        ReplicaError::Damaged {
            repo: self.repo.clone(),
            what: what.into(),
        }
    }

    /// A key that may become a writer.
    pub(super) fn device_key(did_key: &str) -> Option<VerifyingKey> {
        let key = VerifyingKey::from_did_key(did_key).ok()?;
        (key.kind() == KeyKind::Ed25519).then_some(key)
    }
}

fn unnamed(what: &str) -> ReplicaError {
    ReplicaError::Storage(StorageError::from(
        ues_storage::engine::EngineError::Damaged(format!("an operation log: {what}")),
    ))
}
