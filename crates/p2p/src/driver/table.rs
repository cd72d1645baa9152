//! Who is connected, and what is known of them.

use std::collections::{BTreeMap, HashSet};
use std::sync::Arc;
use std::time::{Duration, Instant};

use libp2p::core::ConnectedPoint;
use libp2p::swarm::ConnectionId;
use libp2p::{PeerId, identify};

use crate::addresses::is_loopback;
use crate::http::is_over_http;
use crate::rate::{Rate, TokenBucket};
use crate::state::{
    ConnectionState, Direction, MAX_AGENT_BYTES, MAX_LISTEN_ADDRESSES, MAX_PROTOCOLS, PeerState,
};
use crate::traffic::{Counters, Traffic};

/// What pings and greetings may move on a connection without it being in use.
const SILENT_BYTES: u64 = 4096;

struct Peer {
    agent: String,
    protocols: Vec<String>,
    addresses: Vec<libp2p::Multiaddr>,
    connections: BTreeMap<ConnectionId, ConnectionState>,
    counters: Arc<Counters>,
    /// What the counters were when a connection was last heard of, or last found silent.
    heard: BTreeMap<ConnectionId, u64>,
    gossip: TokenBucket,
}

pub(super) struct Table {
    peers: BTreeMap<PeerId, Peer>,
    reserved_for: HashSet<PeerId>,
    traffic: Traffic,
    gossip_rate: Rate,
}

impl Table {
    pub(super) fn new(traffic: Traffic, gossip_rate: Rate) -> Self {
        Self {
            peers: BTreeMap::new(),
            reserved_for: HashSet::new(),
            traffic,
            gossip_rate,
        }
    }

    /// True if this is the first connection with the peer.
    pub(super) fn opened(
        &mut self,
        peer: PeerId,
        id: ConnectionId,
        point: &ConnectedPoint,
    ) -> bool {
        let entry = self.peers.entry(peer).or_insert_with(|| Peer {
            agent: String::new(),
            protocols: Vec::new(),
            addresses: Vec::new(),
            connections: BTreeMap::new(),
            counters: self.traffic.of(peer),
            heard: BTreeMap::new(),
            gossip: TokenBucket::new(self.gossip_rate, Instant::now()),
        });
        let connection = ConnectionState {
            address: point.get_remote_address().clone(),
            direction: if point.is_dialer() {
                Direction::Outgoing
            } else {
                Direction::Incoming
            },
            relayed: point.is_relayed(),
            round_trip: None,
        };
        entry.connections.insert(id, connection);
        entry.connections.len() == 1
    }

    /// True if this was the last connection with the peer.
    pub(super) fn closed(&mut self, peer: &PeerId, id: ConnectionId) -> bool {
        let Some(entry) = self.peers.get_mut(peer) else {
            return false;
        };
        entry.connections.remove(&id);
        entry.heard.remove(&id);
        let last = entry.connections.is_empty();
        if last {
            self.peers.remove(peer);
        }
        last
    }

    pub(super) fn pinged(&mut self, peer: &PeerId, id: ConnectionId, round_trip: Duration) {
        if let Some(entry) = self.peers.get_mut(peer)
            && let Some(connection) = entry.connections.get_mut(&id)
        {
            connection.round_trip = Some(round_trip);
            entry.heard.insert(id, entry.counters.moved());
        }
    }

    /// A connection does not answer: whether nothing else has moved on it either since it was last asked about. A busy one may
    /// be late with answers.
    pub(super) fn is_silent(&mut self, peer: &PeerId, id: ConnectionId) -> bool {
        let Some(entry) = self.peers.get_mut(peer) else {
            return false;
        };
        let moved = entry.counters.moved();
        let before = entry.heard.insert(id, moved);
        before.is_some_and(|before| moved.saturating_sub(before) < SILENT_BYTES)
    }

    /// Whether all connections with the peer go through relays, and there is one.
    pub(super) fn is_only_relayed(&self, peer: &PeerId) -> bool {
        self.peers
            .get(peer)
            .is_some_and(|entry| entry.connections.values().all(|c| c.relayed))
    }

    /// Whether a connection leads to another program on this machine. What comes by HTTP may have come from anywhere through a
    /// proxy here.
    pub(super) fn is_on_this_machine(&self, peer: &PeerId, id: ConnectionId) -> bool {
        let entry = self.peers.get(peer);
        entry
            .and_then(|entry| entry.connections.get(&id))
            .is_some_and(|c| !c.relayed && !is_over_http(&c.address) && is_loopback(&c.address))
    }

    pub(super) fn identified(&mut self, peer: &PeerId, info: &identify::Info) {
        let Some(entry) = self.peers.get_mut(peer) else {
            return;
        };
        entry.agent.clone_from(&info.agent_version);
        entry
            .agent
            .truncate(info.agent_version.floor_char_boundary(MAX_AGENT_BYTES));
        let protocols = info.protocols.iter().take(MAX_PROTOCOLS);
        entry.protocols = protocols.map(ToString::to_string).collect();
        let addresses = info.listen_addrs.iter().take(MAX_LISTEN_ADDRESSES);
        entry.addresses = addresses.cloned().collect();
    }

    /// Whether the peer may still send gossip now.
    pub(super) fn may_gossip(&mut self, peer: &PeerId) -> bool {
        self.peers
            .get_mut(peer)
            .is_some_and(|entry| entry.gossip.take(Instant::now()))
    }

    pub(super) fn reservation(&mut self, peer: PeerId, stands: bool) {
        if stands {
            self.reserved_for.insert(peer);
        } else {
            self.reserved_for.remove(&peer);
        }
    }

    pub(super) fn reserved_for(&self) -> usize {
        self.reserved_for.len()
    }

    pub(super) fn states(&self, known: impl Fn(&PeerId) -> bool) -> Vec<PeerState> {
        self.peers
            .iter()
            .map(|(peer, entry)| PeerState {
                peer: *peer,
                agent: entry.agent.clone(),
                protocols: entry.protocols.clone(),
                addresses: entry.addresses.clone(),
                known: known(peer),
                connections: entry.connections.values().cloned().collect(),
                bytes_in: entry.counters.read(),
                bytes_out: entry.counters.written(),
            })
            .collect()
    }
}
