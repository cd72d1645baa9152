//! Durable storage for everything above it: content-addressed blocks, ordered keys with expiry, an event log,
//! large objects and SQLite projections.
//!
//! Writes go one way. A caller fills a [`Batch`] with blocks, keys and events and hands it to the [`Store`]; one
//! committer thread gathers the batches that wait, gives the events their sequence numbers, applies everything
//! atomically, makes it durable with one sync and then answers every caller (group commit). An answer therefore
//! always means "on the disk". When a sync fails the store is poisoned and refuses every later write, because
//! nobody can know any more what the disk holds.
//!
//! Reads go straight to the engine, or through a [`Snapshot`] where several reads must agree with each other.
//! The engine is [fjall](https://docs.rs/fjall) behind the small [`Engine`] trait; [`engine::MemoryEngine`] is the
//! second implementation, which can fail on command and forget what was never synced.

pub mod cache;
pub mod engine;
pub mod sqlite;

mod background;
mod batch;
mod block;
mod block_ops;
mod check;
mod clock;
mod collect;
mod committer;
mod error;
mod event_log;
mod expiry;
mod format;
mod housekeeping;
mod keyspace;
mod lock;
mod nursery;
mod objects;
mod options;
mod pages;
mod projection;
mod snapshot;
mod stats;
mod store;
mod ticket;
mod touched;
mod walk;

pub use multihash;

/// A multihash with room for digests of up to 64 bytes.
pub type Multihash = multihash::Multihash<64>;

pub use background::stand_back;
pub use batch::{Batch, BatchError};
pub use block::BlockRef;
pub use check::{CheckProgress, CheckReport, CheckStage, Damage};
pub use clock::Clock;
pub use collect::Collected;
pub use engine::Engine;
pub use error::{CommitError, OpenError, StorageError};
pub use event_log::{Event, EventLog};
pub use format::FORMAT_VERSION;
pub use keyspace::{Keyspace, Scan};
pub use objects::{ObjectError, ObjectId, ObjectReader, ObjectWriter, Objects};
pub use options::StoreOptions;
pub use pages::Pages;
pub use projection::{Projection, ProjectionError, ProjectionHandle, ProjectionStatus, WaitError};
pub use snapshot::Snapshot;
pub use stats::StoreStats;
pub use store::Store;
pub use ticket::{Committed, Ticket};
