//! Repositories: signed trees of records, written through one lane each, read from snapshots.

mod blob_index;
mod blob_intake;
mod blob_list;
pub mod blobs;
mod check;
pub mod commit;
mod delete;
mod draft_commit;
pub mod event;
mod export;
mod import;
mod lane;
pub mod layout;
pub mod mirror;
mod public;
mod read;
mod recent;
mod repositories;
mod shared;
mod status;
mod subjects;
mod sweep;
mod usage;
pub mod verify;
pub mod write;

pub use blob_intake::{BlobIntake, BlobIntakeError, StoredBlob};
pub use check::RepoCheck;
pub use export::Export;
pub use import::{Imported, MAX_IMPORT_BYTES, blobs_in};
pub use read::{MAX_PAGE, Order, RepoView, StoredRecord};
pub use recent::Recent;
pub use repositories::{KeySource, KeySourceError, RepoError, Repositories};
pub use shared::{LoggedChange, OperationLog};
pub use status::RepoCounts;
pub use usage::{Room, Usage};
