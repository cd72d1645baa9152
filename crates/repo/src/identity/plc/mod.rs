//! did:plc: operations, their log, its rules, and an embedded directory.
//!
//! A did:plc is the hash of its first operation. Each later one names the operation before it and is signed by
//! one of the rotation keys that that operation set (<https://web.plc.directory/spec/v0.1/did-plc>).

mod build;
mod constraints;
mod data;
pub mod directory;
mod error;
mod log;
mod operation;

pub use build::{AccountIdentity, Genesis, create, sign, tombstone, update};
pub use constraints::check_constraints;
pub use data::{DocumentData, PlcService};
pub use directory::Directory;
pub use error::PlcError;
pub use log::{Accepted, LogEntry, RECOVERY_WINDOW_MS, ValidLog, check_next, validate_log};
pub use operation::{LegacyCreate, Operation, PlcOperation, Tombstone};
