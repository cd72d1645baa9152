//! DAG-CBOR: the canonical binary form of IPLD data.
//!
//! Strict as the [specification](https://ipld.io/specs/codecs/dag-cbor/spec/) has it, so that a value has
//! exactly one encoding and whatever decodes encodes to the same bytes again: definite lengths, the shortest
//! integers, 64-bit floats without NaN and infinities, text keys sorted by length and then by bytes, no tag
//! but 42 (a CID), nothing after the value.
//!
//! [`encode`] and [`decode`] work on whole values. [`Writer`] and [`Reader`] work piece by piece, for
//! structures of a fixed shape (tree nodes, commits, frames) that need no [`Ipld`](crate::Ipld) in between.

mod decode;
mod encode;
mod error;
mod limits;
mod reader;
mod writer;

pub use decode::{decode, decode_from, decode_prefix, decode_with};
pub use encode::{EncodeError, encode, encode_to, encode_with};
pub use error::{DecodeError, DecodeErrorKind};
pub use limits::Limits;
pub use reader::{Kind, Reader};
pub use writer::{Writer, cmp_keys};

/// The tag that marks a CID.
const TAG_CID: u64 = 42;
