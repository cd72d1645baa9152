//! The pin service: who wants which content kept, where it is kept, and what has to be done so that the two agree.

#![allow(
    clippy::result_large_err,
    reason = "errors name the block they are about, and a CID alone takes 96 bytes"
)]

pub mod announce;
pub mod auth;
pub mod cluster;
pub mod event;
pub mod grpc;
pub mod heartbeat;
pub mod intake;
pub mod ipfs_proxy;
pub mod locks;
pub mod message;
pub mod metrics;
pub mod migration;
pub mod model;
pub mod pinning_service;
pub mod planner;
pub mod reconcile;
pub mod service;
pub mod shard;
pub mod store;
pub mod tasks;
pub mod trace;

mod clock;
mod fleet;
mod news;
mod placement;
mod request;
mod request_id;

pub use clock::Clock;
pub use event::PinEvent;
pub use fleet::{Condition, Fleet, Worker};
pub use metrics::Metrics;
pub use model::{PeerId, Pin, PinMode, PinOptions, PinType};
pub use placement::{PinRecord, Placement, PlacementState};
pub use request::{PinRequest, Wanted};
pub use request_id::{RequestId, RequestIdError};
pub use service::{Pins, PinsError};
pub use ues_access::{OwnerId as Owner, OwnerIdError as OwnerError};
