//! Parsed identifiers of the AT Protocol: an invalid value cannot exist past the door.
//!
//! Each type has `check` (looks at a borrowed string, allocates nothing), `parse` (checks and keeps it),
//! and the usual conversions. The text-backed ones share their text, so a clone costs one counter.

mod newtype;

mod at_identifier;
mod at_uri;
mod cid_string;
mod datetime;
mod did;
mod error;
mod handle;
mod language;
mod nsid;
mod record_key;
mod tid;
mod tid_clock;
mod uri;

pub use at_identifier::AtIdentifier;
pub use at_uri::AtUri;
pub use cid_string::CidString;
pub use datetime::Datetime;
pub use did::Did;
pub use error::{SyntaxError, Violation};
pub use handle::Handle;
pub use language::Language;
pub use nsid::Nsid;
pub use record_key::RecordKey;
pub use tid::Tid;
pub use tid_clock::TidClock;
pub use uri::Uri;
