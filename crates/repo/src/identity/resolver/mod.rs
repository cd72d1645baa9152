//! Resolving DIDs and handles of others.
//!
//! Everything that comes back from the network is bounded in size and time, and no name of a stranger
//! leads to an address inside of the operator's network unless the options say so.

mod address;
mod cache;
mod dns;
mod error;
mod identities;
mod options;
mod web;

pub use address::is_public;
pub use error::ResolveError;
pub use identities::{Identity, Resolver};
pub use options::ResolverOptions;
pub use web::{http_client_builder, is_public_url, public_only};
