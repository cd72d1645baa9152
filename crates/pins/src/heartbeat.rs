//! A worker's heartbeat: what it tells of itself every few seconds, on `pin.worker`.

use std::collections::BTreeMap;

use bytes::Bytes;
use serde::{Deserialize, Serialize};
use ues_bus::{Subject, SubjectError};

use crate::fleet::Worker;
use crate::message::{self, MessageError};
use crate::model::PeerId;

/// Where heartbeats go.
pub fn subject() -> Result<Subject, SubjectError> {
    Subject::new("pin.worker")
}

/// What a worker tells of itself; see [`Worker`] for the meaning of each field.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[allow(missing_docs, reason = "the fields are those of Worker")]
pub struct Heartbeat {
    pub id: PeerId,
    pub name: String,
    pub free: u64,
    pub used: u64,
    #[serde(default)]
    pub pins: Option<u64>,
    #[serde(default)]
    pub tags: BTreeMap<String, String>,
    pub concurrency: u32,
    #[serde(default)]
    pub failing: Option<String>,
    pub content: u32,
    #[serde(default)]
    pub exclusive: bool,
    #[serde(default)]
    pub ipfs_id: String,
    #[serde(default)]
    pub ipfs_addresses: Vec<String>,
    #[serde(default)]
    pub agent: String,
}

impl Heartbeat {
    /// From a message.
    ///
    /// # Errors
    /// [`MessageError`].
    pub fn read(bytes: &[u8]) -> Result<Self, MessageError> {
        message::read(bytes)
    }

    /// As a message.
    pub fn write(&self) -> Bytes {
        message::write(self)
    }

    /// The worker, heard at this time.
    pub fn into_worker(self, seen_ms: u64) -> Worker {
        Worker {
            id: self.id,
            name: self.name,
            seen_ms,
            free: self.free,
            used: self.used,
            pins: self.pins,
            tags: self.tags,
            concurrency: self.concurrency,
            // Its operator's, not its own.
            draining: false,
            failing: self.failing,
            content: self.content,
            exclusive: self.exclusive,
            ipfs_id: self.ipfs_id,
            ipfs_addresses: self.ipfs_addresses,
            agent: self.agent,
        }
    }
}
