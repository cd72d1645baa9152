//! The peer-to-peer network of a node: a libp2p host with discovery, relays and hole punching, streams for protocols of
//! our own, and Bitswap.
//!
//! [`Network::start`] runs one host in one task; the [`Network`] is a handle that is cheap to clone. What the host says
//! to the world, its limits and its formats are written down in `docs/network.md`.
//!
//! | module | what it does |
//! |---|---|
//! | [`config`] | what a host listens on, whom it knows, how much it takes |
//! | [`network`] | the handle: connect, streams, topics, providers |
//! | [`state`] | what the host is doing, for pages and tests |
//! | [`http`] | connections that come in by HTTP |
//! | [`known_peers`] | peers that are dialed again when they are lost |
//! | [`gossip`] | topics whose messages the application judges before they travel on |
//! | [`sync`], [`pairing`] | devices that hold one repository, and how another is invited |
//! | [`blobs`] | blobs of repositories, between the devices that hold them |
//! | [`repositories`] | public repositories, by difference of trees |
//! | [`bitswap`] | blocks asked of peers and served to them |
//! | [`streams`] | streams for protocols of our own, opened by name, accepted up to a bound |

#![allow(
    clippy::result_large_err,
    reason = "errors name the address or operation they are about"
)]

mod addresses;
pub mod backoff;
mod behaviour;
pub mod bitswap;
pub mod blobs;
pub mod config;
mod connection;
mod driver;
mod error;
mod framing;
pub mod gossip;
pub mod http;
pub mod identity;
pub mod known_peers;
pub mod network;
pub mod pairing;
pub mod rate;
pub mod repositories;
pub mod state;
pub mod streams;
pub mod sync;
mod text;
mod traffic;
mod transport;

pub use bitswap::{Bitswap, BitswapLimits, BlockSource, FetchError};
pub use blobs::{BlobMode, BlobOptions, BlobService, BlobStatus};
pub use config::{Kademlia, KademliaMode, Limits, NetworkConfig, OverHttp, PrivateNetworkKey};
pub use error::{ConnectError, NetworkError, OpenStreamError, QueryError, TopicError};
pub use gossip::{GossipMessage, Subscription, Verdict};
pub use known_peers::KnownPeer;
pub use libp2p::{Multiaddr, PeerId, Stream, StreamProtocol};
pub use network::{Network, NetworkEvent};
pub use state::NetworkState;
pub use streams::IncomingStreams;
