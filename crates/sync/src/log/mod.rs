//! The operation log of one repository on one device, and the state that it gives.
//!
//! The state is a pure function of the set of valid operations, see `docs/sync.md`. Nothing here does IO: rows are read
//! through [`Rows`], and whatever has to be written is handed over as a [`Change`], which the caller makes durable in
//! one batch before it goes on.

mod admit;
#[cfg(test)]
mod admit_tests;
mod append;
mod beyond;
mod change;
mod floor;
mod history;
mod missing;
mod prune;
mod reach;
mod rebase;
mod record;
mod replay;
mod replica;
mod roster;
mod rows;
mod snapshot;
mod stable;
mod state;
mod undo;

pub use admit::{Admitted, Incoming, Refused};
pub use change::{Change, Hold};
pub use history::{Reason, Standing, Version};
pub use missing::{Missing, Outgoing};
pub use record::LocalChange;
pub use replica::{Blocks, Head, Replica, ReplicaError, Standings, Summary};
pub use roster::{Roster, Writer};
pub use rows::{MemoryRows, Rows};
pub use snapshot::{Snapshot, states_digest};
pub use stable::Stable;
pub use state::{Candidate, Shown, TargetState};

/// What the device is called that has the repository's own key.
pub const LOCAL_NAME: &str = "first device";
