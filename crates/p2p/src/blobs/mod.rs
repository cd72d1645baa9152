//! Blobs of shared repositories between the devices that hold them: content of any size, in a stream, from any offset.
//!
//! Records come by [`sync`](crate::sync) and name blobs by their hashes. What is named and not here is asked of each
//! connected device that shares the repository, until one has it. Content counts only once its hash was checked.

mod fetch;
pub mod message;
mod serve;
mod service;
mod status;

pub use fetch::FetchError;
pub use serve::BlobReaders;
pub use service::{BlobMode, BlobOptions, BlobService, fetch_blob};
pub use status::BlobStatus;

use libp2p::StreamProtocol;

/// The protocol's name.
pub const PROTOCOL: StreamProtocol = StreamProtocol::new("/ues/blob/1");
