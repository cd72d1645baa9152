//! What can go wrong, by operation.

use libp2p::{Multiaddr, PeerId, StreamProtocol};

/// A host could not be started.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum NetworkError {
    /// The secret is no Ed25519 key.
    #[error("an Ed25519 secret key of 32 bytes expected: {0}")]
    Secret(String),
    /// A setting cannot be used.
    #[error("setting {setting}: {expected} expected, found {found}")]
    Setting {
        /// The field of [`NetworkConfig`](crate::NetworkConfig).
        setting: &'static str,
        /// What it takes.
        expected: &'static str,
        /// What it held.
        found: String,
    },
    /// An address cannot be listened on.
    #[error("cannot listen on {address}: {reason}")]
    Listen {
        /// The address.
        address: Multiaddr,
        /// What the transport said.
        reason: String,
    },
    /// A part of the host could not be set up.
    #[error("{part} could not be set up: {reason}")]
    Setup {
        /// Which part.
        part: &'static str,
        /// What it said.
        reason: String,
    },
    /// The host has stopped.
    #[error("the network has been shut down")]
    Stopped,
}

/// A peer was not reached.
#[derive(Debug, Clone, thiserror::Error)]
#[non_exhaustive]
pub enum ConnectError {
    /// No address of the peer is known.
    #[error("no address of peer {0} is known")]
    NoAddress(PeerId),
    /// Somebody else answered.
    #[error("peer {expected} expected at the address, found {found}")]
    WrongPeer {
        /// Whom the caller asked for.
        expected: PeerId,
        /// Who answered.
        found: PeerId,
    },
    /// A limit or a block list forbids the connection.
    #[error("the connection is refused by our own rules: {0}")]
    Refused(String),
    /// No address answered.
    #[error("the peer could not be reached: {0}")]
    Unreachable(String),
    /// The time was up.
    #[error("the peer did not answer in time")]
    Timeout,
    /// The host has stopped.
    #[error("the network has been shut down")]
    Stopped,
}

/// A stream was not opened or its protocol not registered.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum OpenStreamError {
    /// The peer speaks none of the protocols.
    #[error("peer {peer} speaks none of {protocols:?}")]
    Unsupported {
        /// The peer.
        peer: PeerId,
        /// The protocols.
        protocols: Vec<StreamProtocol>,
    },
    /// There is no connection, or it broke.
    #[error("the stream could not be opened: {0}")]
    Io(#[from] std::io::Error),
    /// The time was up.
    #[error("the stream was not opened in time")]
    Timeout,
    /// The peer is not connected and could not be reached.
    #[error(transparent)]
    Connect(#[from] ConnectError),
    /// Somebody in this program accepts the protocol already.
    #[error("protocol {0} is accepted already")]
    AlreadyAccepted(StreamProtocol),
}

/// A question to the routing table was not answered.
#[derive(Debug, Clone, thiserror::Error)]
#[non_exhaustive]
pub enum QueryError {
    /// Kademlia is off.
    #[error("Kademlia is off in the settings")]
    Off,
    /// Nobody to ask, or no room for the record.
    #[error("the routing table did not take the request: {0}")]
    Refused(String),
    /// The time was up.
    #[error("no answer in time")]
    Timeout,
    /// The host has stopped.
    #[error("the network has been shut down")]
    Stopped,
}

/// A topic could not be used.
#[derive(Debug, Clone, thiserror::Error)]
#[non_exhaustive]
pub enum TopicError {
    /// Somebody in this program is subscribed already.
    #[error("topic {0} has a subscriber already")]
    AlreadySubscribed(String),
    /// The message is too long.
    #[error("a message of at most {limit} bytes expected, found {found}")]
    TooLong {
        /// The limit in bytes.
        limit: usize,
        /// The length in bytes.
        found: usize,
    },
    /// Nobody is there to hear it.
    #[error("no peer listens to the topic")]
    NoPeers,
    /// The message was not sent.
    #[error("the message was not sent: {0}")]
    Refused(String),
    /// The host has stopped.
    #[error("the network has been shut down")]
    Stopped,
}
