//! Pins as IPFS-Cluster knows them: the types, their protobuf, their JSON, their query parameters.

mod duration;
pub mod json;
mod peer_id;
mod pin;
mod proto;
mod query;
mod status;
mod time;
mod wire;

pub use multiaddr::Multiaddr;

pub use duration::DurationError;
pub(crate) use duration::parse as parse_duration;
pub use peer_id::{PeerId, PeerIdError};
pub use pin::{Pin, PinMode, PinOptions, PinType};
pub use proto::{MAX_PIN_BYTES, ProtoError};
pub use query::QueryError;
pub use status::TrackerStatus;
pub use time::{GoTime, TimeError};
pub use wire::WireError;
