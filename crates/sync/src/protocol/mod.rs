//! How two copies of one repository become equal: a session of two state machines that exchange frames over whatever
//! carries bytes in order (a libp2p stream, HTTP, a simulator). `proto/sync.proto` and `docs/sync.md` specify it.

mod catch_up;
pub mod file;
mod fork_search;
mod frame;
mod marks;
mod parting;
#[cfg(test)]
mod schema_tests;
mod session;
#[cfg(test)]
mod session_tests;
mod snapshot_archive;

pub use frame::{Frame, FrameError, MAX_FRAME_BYTES};
pub use session::{Action, Copy, Failure, Session, Taken};
pub use snapshot_archive::{ArchiveError, MAX_ARCHIVE_BYTES, SnapshotArchive, floor_archive};
