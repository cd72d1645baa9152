//! Sync of repositories with the other devices that hold them: sessions over streams, one for each repository and peer,
//! opened when both are connected and open for as long as they are.

mod service;
mod session;
mod status;

pub use service::{JoinError, SyncService};
pub(crate) use session::AbortOnDrop;
pub use status::{PeerStatus, Stage};

use libp2p::StreamProtocol;

/// The protocol's name.
pub const PROTOCOL: StreamProtocol = StreamProtocol::new("/ues/sync/1");
