//! What a host listens on, whom it knows, and how much it takes.

use std::time::Duration;

use libp2p::multiaddr::Protocol;
use libp2p::{Multiaddr, StreamProtocol};
use zeroize::Zeroizing;

use crate::error::NetworkError;
use crate::known_peers::KnownPeer;
use crate::rate::Rate;

/// The settings of a host. The default listens nowhere, announces itself nowhere and knows nobody.
#[derive(Debug, Clone)]
pub struct NetworkConfig {
    /// Where to listen: TCP, TCP with `/ws`, QUIC (`/udp/…/quic-v1`).
    pub listen: Vec<Multiaddr>,
    /// Addresses under which others reach us, where the host cannot learn them itself.
    pub external: Vec<Multiaddr>,
    /// Whether connections come in by HTTP ([`Network::entrance`](crate::Network::entrance)), and how.
    pub http: Option<OverHttp>,
    /// Certificates in PEM by which servers are believed that are reached by HTTPS, besides those of the authorities that
    /// browsers believe.
    pub tls_roots: Vec<u8>,
    /// Relays (with `/p2p/ID`) at which to hold a reservation, so that peers reach us through them.
    pub relays: Vec<Multiaddr>,
    /// Whether to look for peers in the local network.
    pub mdns: bool,
    /// Whether others may use us as a relay.
    pub relay_server: bool,
    /// The distributed hash table, or none.
    pub kademlia: Option<Kademlia>,
    /// Peers to connect to and stay connected with.
    pub peers: Vec<KnownPeer>,
    /// Only these peers may connect, if set; more can be let in at run time.
    pub allow_only: Option<Vec<libp2p::PeerId>>,
    /// The key of a private network. Only TCP is used then, and only who has the key can connect.
    pub private_network: Option<PrivateNetworkKey>,
    /// What we call ourselves towards peers.
    pub agent: String,
    /// How much is taken.
    pub limits: Limits,
}

/// What the hosts of a private network share. Does not print itself.
#[derive(Clone)]
pub struct PrivateNetworkKey(Zeroizing<[u8; 32]>);

impl PrivateNetworkKey {
    /// A key of 32 random bytes.
    #[must_use]
    pub fn new(key: Zeroizing<[u8; 32]>) -> Self {
        Self(key)
    }

    pub(crate) fn bytes(&self) -> [u8; 32] {
        *self.0
    }
}

impl std::fmt::Debug for PrivateNetworkKey {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("PrivateNetworkKey")
    }
}

impl Default for NetworkConfig {
    fn default() -> Self {
        Self {
            listen: Vec::new(),
            external: Vec::new(),
            http: None,
            tls_roots: Vec::new(),
            relays: Vec::new(),
            mdns: false,
            relay_server: false,
            kademlia: None,
            peers: Vec::new(),
            allow_only: None,
            private_network: None,
            agent: concat!("ues/", env!("CARGO_PKG_VERSION")).into(),
            limits: Limits::default(),
        }
    }
}

/// Connections that come in by HTTP.
#[derive(Debug, Clone, Default)]
pub struct OverHttp {
    /// Where others find the web server ([`http::address`](crate::http::address)), if it can be said. It is told to peers; one
    /// of the loopback only to whoever asks this host for its addresses.
    pub address: Option<Multiaddr>,
}

/// The distributed hash table.
#[derive(Debug, Clone)]
pub struct Kademlia {
    /// Whether others store records with us.
    pub mode: KademliaMode,
    /// The name of the table. Tables of different names never meet; the public IPFS table is `/ipfs/kad/1.0.0`.
    pub protocol: StreamProtocol,
    /// Peers to learn other peers from, each with `/p2p/ID`.
    pub bootstrap: Vec<Multiaddr>,
}

impl Default for Kademlia {
    fn default() -> Self {
        Self {
            mode: KademliaMode::Client,
            protocol: StreamProtocol::new("/ues/kad/1.0.0"),
            bootstrap: Vec::new(),
        }
    }
}

/// What part a host takes in the hash table.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum KademliaMode {
    /// Asks only.
    #[default]
    Client,
    /// Asks, answers and stores.
    Server,
}

/// How much a host takes from the world.
#[derive(Debug, Clone)]
pub struct Limits {
    /// Established connections in all.
    pub connections: u32,
    /// Established connections that others opened.
    pub incoming_connections: u32,
    /// Connections with one peer.
    pub connections_per_peer: u32,
    /// Connections being set up, each way.
    pub pending_connections: u32,
    /// Connections that came in by HTTP, those being set up among them.
    pub http_connections: usize,
    /// Of those, from one address.
    pub http_connections_per_address: usize,
    /// No more connections once the process takes so many bytes of memory; 0 for no limit.
    pub memory: usize,
    /// How long a connection to a peer that is not known lasts without a stream on it. Gossip keeps a stream open, so
    /// peers that speak it stay.
    pub idle: Duration,
    /// How long a peer may take to answer a dial or the opening of a stream.
    pub answer: Duration,
    /// Streams of one protocol that wait to be accepted; more are reset.
    pub waiting_streams: usize,
    /// The longest gossip message in bytes.
    pub gossip_bytes: usize,
    /// Gossip messages from one peer; more are dropped.
    pub gossip_rate: Rate,
    /// Gossip messages of one topic that wait for a verdict; more are dropped.
    pub gossip_waiting: usize,
    /// Reservations that a relay server gives.
    pub relay_reservations: usize,
    /// Connections that a relay server carries at a time.
    pub relay_circuits: usize,
    /// Bytes that a relay server carries for one connection.
    pub relay_circuit_bytes: u64,
    /// How long a relay server carries one connection.
    pub relay_circuit_duration: Duration,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            connections: 512,
            incoming_connections: 256,
            connections_per_peer: 4,
            pending_connections: 64,
            http_connections: 128,
            http_connections_per_address: 32,
            memory: 0,
            idle: Duration::from_secs(60),
            answer: Duration::from_secs(15),
            waiting_streams: 32,
            gossip_bytes: 64 * 1024,
            gossip_rate: Rate {
                burst: 64,
                per_second: 16,
            },
            gossip_waiting: 256,
            relay_reservations: 128,
            relay_circuits: 32,
            relay_circuit_bytes: 16 << 20,
            relay_circuit_duration: Duration::from_secs(600),
        }
    }
}

/// The peer that an address ends with.
#[must_use]
pub fn peer_of(address: &Multiaddr) -> Option<libp2p::PeerId> {
    match address.iter().last() {
        Some(Protocol::P2p(peer)) => Some(peer),
        _ => None,
    }
}

impl NetworkConfig {
    pub(crate) fn check(&self) -> Result<(), NetworkError> {
        let bootstrap = self.kademlia.iter().flat_map(|k| &k.bootstrap);
        let named = [("relays", &self.relays)];
        for (setting, addresses) in named {
            for address in addresses {
                need_peer(setting, address)?;
            }
        }
        for address in bootstrap {
            need_peer("kademlia.bootstrap", address)?;
        }
        if self.private_network.is_some() {
            if self.http.is_some() {
                return Err(NetworkError::Setting {
                    setting: "http",
                    expected: "none in a private network",
                    found: "connections by HTTP".to_owned(),
                });
            }
            for address in &self.listen {
                if !is_plain_tcp(address) {
                    return Err(NetworkError::Setting {
                        setting: "listen",
                        expected: "TCP addresses only in a private network",
                        found: address.to_string(),
                    });
                }
            }
        }
        Ok(())
    }
}

fn need_peer(setting: &'static str, address: &Multiaddr) -> Result<(), NetworkError> {
    if peer_of(address).is_some() {
        return Ok(());
    }
    Err(NetworkError::Setting {
        setting,
        expected: "an address that ends with /p2p/ID",
        found: address.to_string(),
    })
}

fn is_plain_tcp(address: &Multiaddr) -> bool {
    let mut tcp = false;
    for part in address {
        match part {
            Protocol::Tcp(_) => tcp = true,
            Protocol::Ws(_) | Protocol::Wss(_) | Protocol::Quic | Protocol::QuicV1 => return false,
            _ => {}
        }
    }
    tcp
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn refuses_what_it_could_not_use() {
        let mut config = NetworkConfig::default();
        assert!(config.check().is_ok());
        config.listen = vec!["/ip4/127.0.0.1/udp/0/quic-v1".parse().unwrap()];
        assert!(config.check().is_ok());
        config.private_network = Some(PrivateNetworkKey::new(Zeroizing::new([77; 32])));
        assert!(!format!("{config:?}").contains("77, 77"));
        assert!(config.check().is_err());
        config.listen = vec!["/ip4/127.0.0.1/tcp/0/ws".parse().unwrap()];
        assert!(config.check().is_err());
        config.listen = vec!["/ip4/127.0.0.1/tcp/0".parse().unwrap()];
        assert!(config.check().is_ok());
        config.relays = vec!["/ip4/127.0.0.1/tcp/1".parse().unwrap()];
        assert!(config.check().is_err());
    }
}
