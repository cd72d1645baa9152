//! How a pin fares, on one worker and on all: `GET /pins`.

use std::collections::BTreeMap;

use multiaddr::Multiaddr;
use serde::{Deserialize, Serialize};
use ues_data::Cid;

use super::{cid_text, null_if_empty, nullable, optional_peer};
use crate::model::{GoTime, PeerId, TrackerStatus};

/// How a pin fares on one worker, without what is the same on all; `api.PinInfoShort`.
#[derive(Clone, Debug, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(default)]
pub struct PinInfoShort {
    /// The name that its operator gave to the worker.
    #[serde(deserialize_with = "nullable")]
    pub peername: String,
    /// The peer id of its IPFS daemon.
    #[serde(with = "optional_peer", skip_serializing_if = "Option::is_none")]
    pub ipfs_peer_id: Option<PeerId>,
    /// Where that daemon listens.
    #[serde(deserialize_with = "nullable", skip_serializing_if = "Vec::is_empty")]
    pub ipfs_peer_addresses: Vec<Multiaddr>,
    /// The status.
    #[serde(deserialize_with = "nullable")]
    pub status: TrackerStatus,
    /// Since when it has that status, or when it was last looked at.
    #[serde(deserialize_with = "nullable")]
    pub timestamp: GoTime,
    /// What went wrong; empty if nothing did.
    #[serde(deserialize_with = "nullable")]
    pub error: String,
    /// How often it was tried.
    #[serde(deserialize_with = "nullable")]
    pub attempt_count: u32,
    /// Whether it is treated before others.
    #[serde(deserialize_with = "nullable")]
    pub priority_pin: bool,
}

/// How a pin fares on one worker; `api.PinInfo`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct PinInfo {
    /// What is pinned.
    #[serde(with = "cid_text")]
    pub cid: Cid,
    /// The name that the user gave to it.
    #[serde(default, deserialize_with = "nullable")]
    pub name: String,
    /// The worker.
    #[serde(default, with = "optional_peer")]
    pub peer: Option<PeerId>,
    /// Where it is to be kept.
    #[serde(default, deserialize_with = "nullable")]
    pub allocations: Vec<PeerId>,
    /// Addresses of peers that have the content.
    #[serde(default, deserialize_with = "nullable")]
    pub origins: Vec<Multiaddr>,
    /// When the pin was made.
    #[serde(default, deserialize_with = "nullable")]
    pub created: GoTime,
    /// What the user noted.
    #[serde(
        default,
        deserialize_with = "nullable",
        serialize_with = "null_if_empty"
    )]
    pub metadata: BTreeMap<String, String>,
    /// How it fares there.
    #[serde(flatten)]
    pub status: PinInfoShort,
}

/// How a pin fares on all workers; `api.GlobalPinInfo`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct GlobalPinInfo {
    /// What is pinned.
    #[serde(with = "cid_text")]
    pub cid: Cid,
    /// The name that the user gave to it.
    #[serde(default, deserialize_with = "nullable")]
    pub name: String,
    /// Where it is to be kept.
    #[serde(default, deserialize_with = "nullable")]
    pub allocations: Vec<PeerId>,
    /// Addresses of peers that have the content.
    #[serde(default, deserialize_with = "nullable")]
    pub origins: Vec<Multiaddr>,
    /// When the pin was made.
    #[serde(default, deserialize_with = "nullable")]
    pub created: GoTime,
    /// What the user noted.
    #[serde(
        default,
        deserialize_with = "nullable",
        serialize_with = "null_if_empty"
    )]
    pub metadata: BTreeMap<String, String>,
    /// How it fares, by worker.
    #[serde(default, deserialize_with = "nullable")]
    pub peer_map: BTreeMap<String, PinInfoShort>,
}

impl GlobalPinInfo {
    /// Whether one of its workers has a status that passes the filter.
    pub fn matches(&self, filter: TrackerStatus) -> bool {
        self.peer_map.values().any(|one| one.status.matches(filter))
    }

    /// Adds what one worker says. What it says about the pin itself counts, unless the worker could not be asked and
    /// another one was.
    pub fn add(&mut self, info: PinInfo) {
        if self.peer_map.is_empty() || !info.status.status.matches(TrackerStatus::CLUSTER_ERROR) {
            self.cid = info.cid;
            self.name = info.name;
            self.allocations = info.allocations;
            self.origins = info.origins;
            self.created = info.created;
            self.metadata = info.metadata;
        }
        let peer = info.peer.map(|peer| peer.to_string()).unwrap_or_default();
        self.peer_map.insert(peer, info.status);
    }
}

impl From<PinInfo> for GlobalPinInfo {
    fn from(info: PinInfo) -> Self {
        let peer = info.peer.map(|peer| peer.to_string()).unwrap_or_default();
        Self {
            cid: info.cid,
            name: info.name,
            allocations: info.allocations,
            origins: info.origins,
            created: info.created,
            metadata: info.metadata,
            peer_map: BTreeMap::from([(peer, info.status)]),
        }
    }
}
