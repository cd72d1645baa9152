//! Logs in the node's store: one for each repository that several devices hold, written in the batches of the
//! repository's own commits.

mod compact;
mod copy;
mod devices;
mod recording;
mod replicas;
mod rows;
mod shared;
mod snapshots;

pub use compact::{CompactPolicy, Compacted};
pub use copy::StoredCopy;
pub use devices::Device;
pub use replicas::{Replicas, ReplicasError};
pub use shared::State;
