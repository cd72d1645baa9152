//! Inviting a device, and joining: the handshake of `ues_sync::pairing` on a stream.

mod join;
mod nearby;
mod service;

pub use service::{Event, JoinedRepository, PairError, Pairing, PairingService};

use libp2p::StreamProtocol;

/// The protocol's name.
pub const PROTOCOL: StreamProtocol = StreamProtocol::new("/ues/pairing/1");
