//! Connections that come in by HTTP: a request for a WebSocket at [`PATH`] of a web server, handed over once it is upgraded.
//!
//! For hosts of which only port 443 can be reached, or 80, maybe behind a reverse proxy, and for networks that let nothing
//! else out. On the WebSocket run Noise and Yamux as on any other connection, so who a peer is, what it may do and how much of
//! it is taken do not depend on the web server, nor on who holds the key of its TLS.
//!
//! The address of such a host is `/dns/HOST/tcp/443/tls/ws/http-path/p2p`, or without `/tls`. The web server belongs to the
//! caller: it asks [`Network::entrance`](crate::Network::entrance) for a [`Place`], answers the request, and lets the upgraded
//! stream in.

mod address;
mod arrivals;
mod entrance;
mod frames;
mod paths;

pub use address::{PATH, address};
pub use entrance::{Entrance, Full, Place};

pub(crate) use address::is_over_http;
pub(crate) use arrivals::Arrivals;
pub(crate) use frames::MAX_FRAME;
pub(crate) use paths::Paths;
