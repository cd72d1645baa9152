//! The event stream, `com.atproto.sync.subscribeRepos`: pushed to each subscriber as soon as an
//! event is durable.
//!
//! One task makes each message once. A subscriber is a position in a shared ring, so that a
//! thousand of them cost little more than their sockets; one who is further back reads the log in
//! large pieces until it reaches the ring.

mod hub;
pub(crate) mod message;
mod ring;
mod socket;
mod subscriber;
mod told;
mod upgrade;

pub use hub::Hub;
pub use socket::{Incoming, Incomings, Outgoing, write_all};
pub use subscriber::farewell;
pub(crate) use told::Told;
pub use upgrade::{Wanted, accept, upgrade};
