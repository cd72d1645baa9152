//! What the host is doing, for pages and tests.

use std::time::Duration;

use libp2p::{Multiaddr, PeerId};
use serde::Serialize;

/// A picture of the host at one moment. Peers are ordered by id.
#[derive(Debug, Clone, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct NetworkState {
    /// Who we are.
    #[serde(with = "crate::text")]
    pub peer: PeerId,
    /// Where we listen.
    #[serde(with = "crate::text::list")]
    pub listening: Vec<Multiaddr>,
    /// Where others are known to reach us.
    #[serde(with = "crate::text::list")]
    pub external: Vec<Multiaddr>,
    /// What AutoNAT found out.
    pub nat: NatStatus,
    /// Relays that hold a reservation for us.
    #[serde(with = "crate::text::list")]
    pub reservations: Vec<PeerId>,
    /// Reservations that we, as a relay, hold for others.
    pub reserved_for: usize,
    /// Gossip messages dropped because their sender sent too many or nobody judged them in time.
    pub gossip_dropped: u64,
    /// Who is connected.
    pub peers: Vec<PeerState>,
}

/// Whether others can reach us without a relay.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize)]
#[serde(rename_all = "camelCase")]
pub enum NatStatus {
    /// Nobody was asked yet.
    #[default]
    Unknown,
    /// They can.
    Public,
    /// They cannot.
    Private,
}

/// One connected peer.
#[derive(Debug, Clone, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct PeerState {
    /// Who it is.
    #[serde(with = "crate::text")]
    pub peer: PeerId,
    /// What it calls itself; empty before it said so.
    pub agent: String,
    /// The protocols that it says it speaks, at most [`MAX_PROTOCOLS`].
    pub protocols: Vec<String>,
    /// Where it says it listens, at most [`MAX_LISTEN_ADDRESSES`].
    #[serde(with = "crate::text::list")]
    pub addresses: Vec<Multiaddr>,
    /// Whether we dial it again when it is lost.
    pub known: bool,
    /// The connections with it.
    pub connections: Vec<ConnectionState>,
    /// Bytes read from its streams since it connected.
    pub bytes_in: u64,
    /// Bytes written to its streams since it connected.
    pub bytes_out: u64,
}

impl PeerState {
    /// The shortest round trip among its connections.
    #[must_use]
    pub fn round_trip(&self) -> Option<Duration> {
        self.connections.iter().filter_map(|c| c.round_trip).min()
    }
}

/// Protocols that are remembered of one peer.
pub const MAX_PROTOCOLS: usize = 128;
/// Listen addresses that are remembered of one peer.
pub const MAX_LISTEN_ADDRESSES: usize = 32;
/// Bytes that are remembered of what a peer calls itself.
pub const MAX_AGENT_BYTES: usize = 256;

/// One connection.
#[derive(Debug, Clone, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct ConnectionState {
    /// The other end.
    #[serde(with = "crate::text")]
    pub address: Multiaddr,
    /// Who opened it.
    pub direction: Direction,
    /// Whether it goes through a relay.
    pub relayed: bool,
    /// The last ping, in microseconds when serialised.
    #[serde(rename = "roundTripMicros", serialize_with = "micros")]
    pub round_trip: Option<Duration>,
}

/// Who opened a connection.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub enum Direction {
    /// The peer.
    Incoming,
    /// We.
    Outgoing,
}

fn micros<S: serde::Serializer>(value: &Option<Duration>, to: S) -> Result<S::Ok, S::Error> {
    match value {
        Some(time) => to.serialize_u64(u64::try_from(time.as_micros()).unwrap_or(u64::MAX)),
        None => to.serialize_none(),
    }
}
