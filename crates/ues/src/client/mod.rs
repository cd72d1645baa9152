//! One way to talk to a node, whether it runs or not.
//!
//! A running node is spoken to over HTTP. When none runs, the store is opened here and the same requests go
//! straight to the same routes, without a socket. So every command exists once, and does the same in both cases.

mod calls;
mod connect;
mod error;
mod pins;
mod transport;

pub use calls::{Download, Session, query_string};
pub use connect::{connect, connect_to};
pub use pins::Lines;
pub use transport::Transport;

/// A node to talk to, with the operator's rights.
pub struct Client {
    transport: Transport,
    secret: String,
}

impl Client {
    pub(super) fn secret(&self) -> &str {
        &self.secret
    }

    /// Whether the node runs in another process.
    pub fn is_remote(&self) -> bool {
        matches!(self.transport, Transport::Remote { .. })
    }
}
