//! The protocols of a host, put together.

use std::time::Duration;

use libp2p::allow_block_list::{AllowedPeers, BlockedPeers};
use libp2p::connection_limits::{self, ConnectionLimits};
use libp2p::gossipsub::{self, MessageAuthenticity, PeerScoreParams, PeerScoreThresholds};
use libp2p::identity::Keypair;
use libp2p::kad::{self, store::MemoryStore};
use libp2p::swarm::NetworkBehaviour;
use libp2p::swarm::behaviour::toggle::Toggle;
use libp2p::{
    PeerId, allow_block_list, autonat, dcutr, identify, mdns, memory_connection_limits, ping, relay,
};

use crate::config::{KademliaMode, Limits, NetworkConfig, peer_of};
use crate::error::NetworkError;
use crate::streams;

/// What identify calls the family of our protocols.
const PROTOCOL_VERSION: &str = "ues/1.0.0";
/// How often a connection is asked whether it still stands.
const PING_EVERY: Duration = Duration::from_secs(10);
/// How long the answer may take. Two late ones in a row are needed to end a connection.
const PING_WITHIN: Duration = Duration::from_secs(10);
/// Provider and other records that a hash table server keeps for others.
const MAX_RECORDS: usize = 65_536;

/// Gossipsub with a bound on the topics that a peer may listen to.
pub(crate) type Gossip = gossipsub::Behaviour<
    gossipsub::IdentityTransform,
    gossipsub::MaxCountSubscriptionFilter<gossipsub::AllowAllSubscriptionFilter>,
>;

// The limits come first: a connection they refuse reaches no other part.
#[derive(NetworkBehaviour)]
pub(crate) struct Behaviour {
    pub(crate) blocked: allow_block_list::Behaviour<BlockedPeers>,
    pub(crate) allowed: Toggle<allow_block_list::Behaviour<AllowedPeers>>,
    pub(crate) limits: connection_limits::Behaviour,
    pub(crate) memory: Toggle<memory_connection_limits::Behaviour>,
    pub(crate) identify: identify::Behaviour,
    pub(crate) ping: ping::Behaviour,
    pub(crate) mdns: Toggle<mdns::tokio::Behaviour>,
    pub(crate) kademlia: Toggle<kad::Behaviour<MemoryStore>>,
    pub(crate) autonat: autonat::Behaviour,
    pub(crate) relay_client: relay::client::Behaviour,
    pub(crate) relay_server: Toggle<relay::Behaviour>,
    pub(crate) dcutr: dcutr::Behaviour,
    pub(crate) gossip: Gossip,
    pub(crate) streams: streams::Behaviour,
}

impl Behaviour {
    pub(crate) fn new(
        config: &NetworkConfig,
        keypair: &Keypair,
        relay_client: relay::client::Behaviour,
    ) -> Result<Self, NetworkError> {
        let peer = keypair.public().to_peer_id();
        let limits = &config.limits;
        let identify = identify::Config::new(PROTOCOL_VERSION.into(), keypair.public())
            .with_agent_version(config.agent.clone())
            .with_push_listen_addr_updates(true);
        Ok(Self {
            blocked: allow_block_list::Behaviour::default(),
            allowed: config.allow_only.as_deref().map(allow).into(),
            limits: connection_limits::Behaviour::new(connection_limits(limits)),
            memory: (limits.memory > 0)
                .then(|| memory_connection_limits::Behaviour::with_max_bytes(limits.memory))
                .into(),
            identify: identify::Behaviour::new(identify),
            ping: ping::Behaviour::new(ping()),
            mdns: mdns(config, peer)?.into(),
            kademlia: config.kademlia.as_ref().map(|k| kademlia(k, peer)).into(),
            autonat: autonat::Behaviour::new(peer, autonat::Config::default()),
            relay_client,
            relay_server: config
                .relay_server
                .then(|| relay::Behaviour::new(peer, relay_server(limits)))
                .into(),
            dcutr: dcutr::Behaviour::new(peer),
            gossip: gossip(limits, keypair)?,
            streams: streams::Behaviour::default(),
        })
    }
}

fn ping() -> ping::Config {
    ping::Config::new()
        .with_interval(PING_EVERY)
        .with_timeout(PING_WITHIN)
}

fn allow(peers: &[PeerId]) -> allow_block_list::Behaviour<AllowedPeers> {
    let mut allowed = allow_block_list::Behaviour::default();
    for peer in peers {
        allowed.allow_peer(*peer);
    }
    allowed
}

fn connection_limits(limits: &Limits) -> ConnectionLimits {
    ConnectionLimits::default()
        .with_max_established(Some(limits.connections))
        .with_max_established_incoming(Some(limits.incoming_connections))
        .with_max_established_per_peer(Some(limits.connections_per_peer))
        .with_max_pending_incoming(Some(limits.pending_connections))
        .with_max_pending_outgoing(Some(limits.pending_connections))
}

fn mdns(
    config: &NetworkConfig,
    peer: PeerId,
) -> Result<Option<mdns::tokio::Behaviour>, NetworkError> {
    if !config.mdns {
        return Ok(None);
    }
    mdns::tokio::Behaviour::new(mdns::Config::default(), peer)
        .map(Some)
        .map_err(|e| NetworkError::Setup {
            part: "mDNS",
            reason: e.to_string(),
        })
}

fn kademlia(settings: &crate::config::Kademlia, peer: PeerId) -> kad::Behaviour<MemoryStore> {
    let store = MemoryStore::with_config(
        peer,
        kad::store::MemoryStoreConfig {
            max_provided_keys: MAX_RECORDS,
            max_records: MAX_RECORDS,
            ..Default::default()
        },
    );
    let config = kad::Config::new(settings.protocol.clone());
    let mut behaviour = kad::Behaviour::with_config(peer, store, config);
    behaviour.set_mode(Some(match settings.mode {
        KademliaMode::Client => kad::Mode::Client,
        KademliaMode::Server => kad::Mode::Server,
    }));
    for address in &settings.bootstrap {
        if let Some(peer) = peer_of(address) {
            behaviour.add_address(&peer, address.clone());
        }
    }
    behaviour
}

fn relay_server(limits: &Limits) -> relay::Config {
    relay::Config {
        max_reservations: limits.relay_reservations,
        max_circuits: limits.relay_circuits,
        max_circuit_bytes: limits.relay_circuit_bytes,
        max_circuit_duration: limits.relay_circuit_duration,
        ..Default::default()
    }
}

fn gossip(limits: &Limits, keypair: &Keypair) -> Result<Gossip, NetworkError> {
    let failed = |reason: String| NetworkError::Setup {
        part: "gossipsub",
        reason,
    };
    let config = gossipsub::ConfigBuilder::default()
        .validation_mode(gossipsub::ValidationMode::Strict)
        .validate_messages()
        .max_transmit_size(limits.gossip_bytes + GOSSIP_OVERHEAD)
        .build()
        .map_err(|e| failed(e.to_string()))?;
    let filter = gossipsub::MaxCountSubscriptionFilter {
        filter: gossipsub::AllowAllSubscriptionFilter {},
        max_subscribed_topics: MAX_TOPICS_PER_PEER,
        max_subscriptions_per_request: MAX_TOPICS_PER_PEER,
    };
    let author = MessageAuthenticity::Signed(keypair.clone());
    let mut behaviour = Gossip::new_with_subscription_filter(author, config, filter)
        .map_err(|e| failed(e.into()))?;
    // Devices of one household share an address, so peers per address say nothing.
    let scores = PeerScoreParams {
        ip_colocation_factor_weight: 0.0,
        ..Default::default()
    };
    behaviour
        .with_peer_score(scores, PeerScoreThresholds::default())
        .map_err(failed)?;
    Ok(behaviour)
}

/// Topics that one peer may listen to.
const MAX_TOPICS_PER_PEER: usize = 256;
/// Signature, key, author and topic of a gossip message, in bytes.
const GOSSIP_OVERHEAD: usize = 2048;

/// How a topic's messages count for and against a peer. Silence is no fault: most topics are silent most of the time.
pub(crate) fn topic_scores() -> gossipsub::TopicScoreParams {
    gossipsub::TopicScoreParams {
        mesh_message_deliveries_weight: 0.0,
        mesh_failure_penalty_weight: 0.0,
        mesh_message_deliveries_activation: Duration::from_secs(1),
        ..Default::default()
    }
}
