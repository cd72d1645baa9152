//! DAG-PB: the block format under UnixFS, a node with bytes and named links.
//!
//! Strict as the [specification](https://ipld.io/specs/codecs/dag-pb/spec/) has it: known fields only, each at most
//! once, links before data, links in the order of their names.

mod decode;
mod encode;
mod value;

pub(crate) mod protobuf;

use bytes::Bytes;
use cid::Cid;

pub use decode::{DecodeError, decode};
pub use encode::encode;
pub use value::{ShapeError, from_ipld, to_ipld};

/// A node.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Node {
    /// The links, in the order of their names (equal names keep their order).
    pub links: Vec<Link>,
    /// The bytes, if there is such a field; UnixFS keeps its own structure in them.
    pub data: Option<Bytes>,
}

/// A link of a node.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Link {
    /// What it leads to.
    pub cid: Cid,
    /// Its name, if there is such a field; the links of files have an empty one.
    pub name: Option<String>,
    /// The size of everything below, in bytes, as its writer says.
    pub size: Option<u64>,
}
