//! What IPFS-Cluster says about its peers, their daemons and itself.

use std::collections::BTreeMap;

use multiaddr::Multiaddr;
use serde::{Deserialize, Serialize};
use ues_data::Cid;

use super::{is_zero, nullable, optional_cid, optional_peer};
use crate::model::{GoTime, PeerId};

/// A peer of the cluster; `api.ID`, of `GET /id` and `GET /peers`.
#[derive(Clone, Debug, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(default)]
pub struct Id {
    /// Its peer id.
    #[serde(with = "optional_peer")]
    pub id: Option<PeerId>,
    /// Where it listens.
    #[serde(deserialize_with = "nullable")]
    pub addresses: Vec<Multiaddr>,
    /// The peers that it knows, itself included.
    #[serde(deserialize_with = "nullable")]
    pub cluster_peers: Vec<PeerId>,
    /// Where those listen.
    #[serde(deserialize_with = "nullable")]
    pub cluster_peers_addresses: Vec<Multiaddr>,
    /// Version of the program.
    pub version: String,
    /// Commit that the program was built of.
    pub commit: String,
    /// The name of the protocol between peers.
    pub rpc_protocol_version: String,
    /// Why the peer could not be asked; empty if it was.
    pub error: String,
    /// Its IPFS daemon.
    pub ipfs: IpfsId,
    /// The name that its operator gave to it.
    pub peername: String,
}

/// An IPFS daemon; `api.IPFSID`.
#[derive(Clone, Debug, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(default)]
pub struct IpfsId {
    /// Its peer id.
    #[serde(with = "optional_peer", skip_serializing_if = "Option::is_none")]
    pub id: Option<PeerId>,
    /// Where it listens.
    #[serde(deserialize_with = "nullable")]
    pub addresses: Vec<Multiaddr>,
    /// Why it could not be asked; empty if it was.
    pub error: String,
}

/// The version of the program; `api.Version`, of `GET /version`.
#[derive(Clone, Debug, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct Version {
    /// Such as `1.1.6`.
    pub version: String,
}

/// Why a call failed; `api.Error`.
#[derive(Clone, Debug, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct ApiError {
    /// The HTTP status.
    pub code: u16,
    /// What went wrong.
    pub message: String,
}

/// A file or folder that was added; `api.AddedOutput`, of `POST /add`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct AddedOutput {
    /// Its path in what was sent.
    #[serde(default)]
    pub name: String,
    /// What it has become; `None` while it is on its way.
    #[serde(default, with = "optional_cid")]
    pub cid: Option<Cid>,
    /// Bytes that have arrived so far.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub bytes: u64,
    /// Bytes of the whole DAG.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub size: u64,
    /// Where it is kept.
    #[serde(
        default,
        deserialize_with = "nullable",
        skip_serializing_if = "Vec::is_empty"
    )]
    pub allocations: Vec<PeerId>,
}

/// What a peer reports about itself; `api.Metric`, of `GET /monitor/metrics/{name}`.
#[derive(Clone, Debug, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(default)]
pub struct Metric {
    /// What is reported: `ping`, `freespace`, …
    pub name: String,
    /// Who reports it.
    #[serde(with = "optional_peer")]
    pub peer: Option<PeerId>,
    /// The value.
    pub value: String,
    /// Until when it counts, in nanoseconds since the Unix epoch.
    pub expire: i64,
    /// Whether it counts at all.
    pub valid: bool,
    /// The value as a number, by which peers are compared.
    pub weight: i64,
    /// Whether peers of equal value belong together.
    pub partitionable: bool,
    /// When it came, in nanoseconds since the Unix epoch.
    pub received_at: i64,
}

/// A metric that has run out; `api.Alert`, of `GET /health/alerts`.
#[derive(Clone, Debug, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct Alert {
    /// The metric.
    #[serde(flatten)]
    pub metric: Metric,
    /// When that was noticed.
    #[serde(default, deserialize_with = "nullable")]
    pub triggered_at: GoTime,
}

/// The size of a daemon's repository; `api.IPFSRepoStat`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(default, rename_all = "PascalCase")]
pub struct IpfsRepoStat {
    /// Bytes in use.
    pub repo_size: u64,
    /// Bytes that it may use.
    pub storage_max: u64,
}

/// A block that a collection freed, or failed to; `api.IPFSRepoGC`.
#[derive(Clone, Debug, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(default)]
pub struct IpfsRepoGc {
    /// The block.
    #[serde(with = "optional_cid")]
    pub key: Option<Cid>,
    /// What went wrong.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub error: String,
}

/// What a collection of one peer's daemon freed; `api.RepoGC`.
#[derive(Clone, Debug, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(default)]
pub struct RepoGc {
    /// The peer.
    #[serde(with = "optional_peer")]
    pub peer: Option<PeerId>,
    /// The name that its operator gave to it.
    pub peername: String,
    /// The blocks.
    #[serde(deserialize_with = "nullable")]
    pub keys: Vec<IpfsRepoGc>,
    /// Why it could not be done; empty if it was.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub error: String,
}

/// What a collection freed everywhere; `api.GlobalRepoGC`, of `POST /ipfs/gc`.
#[derive(Clone, Debug, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(default)]
pub struct GlobalRepoGc {
    /// By peer.
    #[serde(deserialize_with = "nullable")]
    pub peer_map: BTreeMap<String, RepoGc>,
}

/// Who is connected to whom; `api.ConnectGraph`, of `GET /health/graph`.
#[derive(Clone, Debug, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(default)]
pub struct ConnectGraph {
    /// The peer that was asked.
    #[serde(with = "optional_peer")]
    pub cluster_id: Option<PeerId>,
    /// The name of each peer.
    #[serde(deserialize_with = "nullable")]
    pub id_to_peername: BTreeMap<String, String>,
    /// Links between daemons.
    #[serde(deserialize_with = "nullable")]
    pub ipfs_links: BTreeMap<String, Vec<PeerId>>,
    /// Links between peers.
    #[serde(deserialize_with = "nullable")]
    pub cluster_links: BTreeMap<String, Vec<PeerId>>,
    /// Which peers are trusted.
    #[serde(deserialize_with = "nullable")]
    pub cluster_trust_links: BTreeMap<String, bool>,
    /// The daemon of each peer.
    #[serde(deserialize_with = "nullable")]
    pub cluster_to_ipfs: BTreeMap<String, PeerId>,
}

/// Bytes that went over one protocol; `api.Bandwidth`, of `GET /health/bandwidth`, an object by protocol.
#[derive(Clone, Copy, Debug, PartialEq, Default, Serialize, Deserialize)]
#[serde(default)]
pub struct Bandwidth {
    /// Bytes received.
    pub total_in: i64,
    /// Bytes sent.
    pub total_out: i64,
    /// Bytes received per second.
    pub rate_in: f64,
    /// Bytes sent per second.
    pub rate_out: f64,
}
