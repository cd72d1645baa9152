//! Reading nodes.

use bytes::Bytes;

use super::encode::name;
use super::protobuf::{Field, Fields, WireError};
use super::{Link, Node};
use crate::content_id::{CidBytesError, cid_from_bytes};

/// Why bytes are not a node.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum DecodeError {
    /// Not even a protobuf message.
    #[error("not DAG-PB: {0}")]
    Wire(#[from] WireError),
    /// A field that does not exist, or of another type.
    #[error("not DAG-PB: {message} has no field {number} of this type")]
    Field {
        /// The message it is in.
        message: &'static str,
        /// Its number.
        number: u32,
    },
    /// Fields repeated or in another order than hash, name, size, or links after data.
    #[error("not DAG-PB: fields of {0} are repeated or out of order")]
    Order(&'static str),
    /// A link without a CID.
    #[error("not DAG-PB: a link has no CID")]
    NoCid,
    /// A link whose CID is malformed.
    #[error("not DAG-PB: a link holds no CID: {0}")]
    Cid(#[from] CidBytesError),
    /// A name that is not UTF-8.
    #[error("not DAG-PB: the name of a link is not UTF-8")]
    Utf8,
    /// Links out of the order of their names.
    #[error("not DAG-PB: links are not in the order of their names")]
    LinkOrder,
}

/// Reads a node; its data shares memory with `input`.
pub fn decode(input: &Bytes) -> Result<Node, DecodeError> {
    let mut node = Node::default();
    let mut fields = Fields::new(input);
    while let Some((number, field)) = fields.next()? {
        match (number, field) {
            (2, Field::Bytes(_, bytes)) => {
                if node.data.is_some() {
                    return Err(DecodeError::Order("a node"));
                }
                node.links.push(link(bytes)?);
            }
            (1, Field::Bytes(start, bytes)) => {
                if node.data.is_some() {
                    return Err(DecodeError::Order("a node"));
                }
                node.data = Some(input.slice(start..start + bytes.len()));
            }
            (number, _) => {
                return Err(DecodeError::Field {
                    message: "a node",
                    number,
                });
            }
        }
    }
    if !node.links.is_sorted_by(|a, b| name(a) <= name(b)) {
        return Err(DecodeError::LinkOrder);
    }
    Ok(node)
}

fn link(input: &[u8]) -> Result<Link, DecodeError> {
    let mut cid = None;
    let mut link_name = None;
    let mut size = None;
    let mut before = 0;
    let mut fields = Fields::new(input);
    while let Some((number, field)) = fields.next()? {
        if number <= before {
            return Err(DecodeError::Order("a link"));
        }
        before = number;
        match (number, field) {
            (1, Field::Bytes(_, bytes)) => cid = Some(cid_from_bytes(bytes)?),
            (2, Field::Bytes(_, bytes)) => {
                let text = std::str::from_utf8(bytes).map_err(|_| DecodeError::Utf8)?;
                link_name = Some(text.to_owned());
            }
            (3, Field::Varint(value)) => size = Some(value),
            (number, _) => {
                return Err(DecodeError::Field {
                    message: "a link",
                    number,
                });
            }
        }
    }
    Ok(Link {
        cid: cid.ok_or(DecodeError::NoCid)?,
        name: link_name,
        size,
    })
}
