//! A whole node: the store, the AT Protocol server on it, and the operator's own routes.

mod here;
mod index;
mod keys;
mod mirror;
mod network;
mod open;
pub mod operator;
mod pinning;
pub mod run_file;
pub mod secret;
pub mod settings;

pub use open::{Node, NodeError};
