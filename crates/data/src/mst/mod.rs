//! The Merkle Search Tree: an ordered, content-addressed map from record paths to CIDs.
//!
//! AT Protocol repositories are such trees. A key's layer is the number of leading zero bit pairs of its SHA-256, so
//! that the same entries make the same tree, whatever order they came in, and about every fourth key lies one layer
//! higher. A node holds the keys of one layer between two keys of higher ones, and links to the nodes below. See
//! <https://atproto.com/specs/repository>.
//!
//! A node in memory is its own canonical block: searches compare front-coded keys in place, changes splice bytes, and
//! what a flush hands over are the very bytes that the tree goes on working with. Blocks from outside are checked once,
//! when they are loaded, for all that the format and their place in the tree demand.

mod append;
mod batch;
mod block;
mod build;
mod delete;
mod diff;
mod digest;
mod edit;
mod error;
mod invert;
mod key;
mod ledger;
mod memory;
mod node;
mod path;
mod preorder;
mod proof;
mod put;
mod range;
mod seal;
mod shape;
mod tree;
mod verify;

pub use batch::Op;
pub use build::build_sorted;
pub use diff::{Change, Diff, diff};
pub use error::{Mismatch, MstError, NodeFault};
pub use invert::invert;
pub use key::{MAX_KEY_BYTES, common_prefix_len, is_valid_key, key_height};
pub use preorder::{Preorder, PreorderItem};
pub use proof::verify_proof;
pub use range::{Direction, Range};
pub use tree::{Flush, Tree};
pub use verify::MAX_NODE_BYTES;
