//! The workers, as the planner sees them.

use std::collections::BTreeMap;

use crate::model::PeerId;

/// What a worker tells of itself with each heartbeat.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Worker {
    /// Its id.
    pub id: PeerId,
    /// A name for people.
    pub name: String,
    /// When it was last heard, in milliseconds since the Unix epoch.
    pub seen_ms: u64,
    /// Free space in bytes.
    pub free: u64,
    /// Used space in bytes.
    pub used: u64,
    /// Number of pins that its backend holds, if it knows.
    pub pins: Option<u64>,
    /// What its operator says of it, such as `region=eu`.
    pub tags: BTreeMap<String, String>,
    /// How many things it does at a time.
    pub concurrency: u32,
    /// Whether it is to be emptied.
    pub draining: bool,
    /// Whether its backend answers; why not, otherwise.
    pub failing: Option<String>,
    /// Hash of the name of what its backend holds; another one means that content may be lost.
    pub content: u32,
    /// Whether nobody else pins in its backend, so that what nobody wants may be taken away.
    pub exclusive: bool,
    /// The peer id under which its content is served.
    pub ipfs_id: String,
    /// Multiaddrs under which its content is served.
    pub ipfs_addresses: Vec<String>,
    /// Software of worker and backend.
    pub agent: String,
}

/// How a worker is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Condition {
    /// It takes work.
    Ready,
    /// It is being emptied.
    Draining,
    /// Its backend does not answer.
    Failing,
    /// It was not heard of for long.
    Away,
}

impl Condition {
    /// The word.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Ready => "ready",
            Self::Draining => "draining",
            Self::Failing => "failing",
            Self::Away => "away",
        }
    }
}

impl Worker {
    /// How it is, if it is away after a silence of `away_ms`.
    pub fn condition(&self, now_ms: u64, away_ms: u64) -> Condition {
        let silent_ms = now_ms.saturating_sub(self.seen_ms);
        match (&self.failing, silent_ms > away_ms, self.draining) {
            (_, true, _) => Condition::Away,
            (Some(_), ..) => Condition::Failing,
            (None, _, true) => Condition::Draining,
            _ => Condition::Ready,
        }
    }
}

/// All workers at one time.
#[derive(Clone, Debug, Default)]
pub struct Fleet {
    workers: Vec<Worker>,
}

impl Fleet {
    /// Of these workers.
    pub fn new(mut workers: Vec<Worker>) -> Self {
        workers.sort_by(|a, b| a.id.cmp(&b.id));
        workers.dedup_by(|a, b| a.id == b.id);
        Self { workers }
    }

    /// All of them, in the order of their ids.
    pub fn workers(&self) -> &[Worker] {
        &self.workers
    }

    /// The worker of that id.
    pub fn get(&self, id: &PeerId) -> Option<&Worker> {
        let at = self.workers.binary_search_by(|w| w.id.cmp(id)).ok()?;
        self.workers.get(at)
    }
}
