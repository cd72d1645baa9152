//! Public repositories of the AT Protocol between nodes: the newest commit, and those tree nodes and records of it that
//! the other lacks. Whoever asks checks signature, hashes and tree; who is asked decides who may read.

mod ask;
pub mod message;
mod serve;

pub use ask::{AskError, Asking, Blocks};
pub use serve::{RepositoryServer, RepositorySource};

use libp2p::StreamProtocol;

/// The protocol's name.
pub const PROTOCOL: StreamProtocol = StreamProtocol::new("/ues/repo/1");
