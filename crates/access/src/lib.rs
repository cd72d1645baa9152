//! Who may do what: owners, their API keys, and what a key permits; and who may read which repository.
//!
//! An owner is whom things belong to and who is billed. A key acts for one owner, within its [`Scopes`], until it
//! expires or is revoked. Its text is shown once; what is stored is a hash, so that neither the files nor a backup
//! let anybody in.
//!
//! [`Access::authenticate`] answers from memory in about a microsecond. A revocation is durable, and in force, when
//! [`Access::revoke`] returns.

mod access;
mod error;
mod key;
mod owner;
mod read_rule;
mod row;
mod rows;
mod scope;

pub use access::{Access, CreatedKey, KeyInfo, NewKey, Owner, Principal};
pub use error::AccessError;
pub use key::{KeyId, KeyIdError, Secret};
pub use owner::{OwnerId, OwnerIdError};
pub use read_rule::{ReadRule, ReadRules, Reader};
pub use rows::{AccessRows, EmbeddedRows};
pub use scope::{Scope, ScopeError, Scopes};
