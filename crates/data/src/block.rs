//! Blocks of any codec as values.

use bytes::Bytes;
use ipld_core::ipld::Ipld;

use crate::content_id::{DAG_CBOR, DAG_JSON, DAG_PB, RAW};
use crate::{Limits, dag_cbor, dag_json, dag_pb};

/// Why a block is not a value, or a value not a block.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum CodecError {
    /// A codec that we do not read.
    #[error("codec 0x{0:x} is not supported (raw, DAG-PB, DAG-CBOR and DAG-JSON are)")]
    Unsupported(u64),
    /// The block is not the DAG-CBOR that its CID says.
    #[error(transparent)]
    DagCbor(#[from] dag_cbor::DecodeError),
    /// The block is not the DAG-JSON that its CID says.
    #[error(transparent)]
    DagJson(#[from] dag_json::DecodeError),
    /// The block is not the DAG-PB that its CID says.
    #[error(transparent)]
    DagPb(#[from] dag_pb::DecodeError),
    /// The value has no DAG-CBOR encoding.
    #[error(transparent)]
    EncodeDagCbor(#[from] dag_cbor::EncodeError),
    /// The value has no DAG-JSON form.
    #[error(transparent)]
    EncodeDagJson(#[from] dag_json::EncodeError),
    /// The value is not a DAG-PB node.
    #[error(transparent)]
    EncodeDagPb(#[from] dag_pb::ShapeError),
    /// Raw blocks hold bytes.
    #[error("a raw block holds bytes, found another kind of value")]
    EncodeRaw,
}

/// The value in a block.
pub fn decode(codec: u64, bytes: &Bytes, limits: Limits) -> Result<Ipld, CodecError> {
    Ok(match codec {
        DAG_CBOR => dag_cbor::decode_with(bytes, limits)?,
        DAG_JSON => dag_json::decode_with(bytes, limits)?,
        DAG_PB => dag_pb::to_ipld(&dag_pb::decode(bytes)?),
        RAW => Ipld::Bytes(bytes.to_vec()),
        other => return Err(CodecError::Unsupported(other)),
    })
}

/// The block of a value.
pub fn encode(codec: u64, value: &Ipld) -> Result<Vec<u8>, CodecError> {
    Ok(match codec {
        DAG_CBOR => dag_cbor::encode(value)?,
        DAG_JSON => dag_json::encode(value)?.into_bytes(),
        DAG_PB => dag_pb::encode(&dag_pb::from_ipld(value)?),
        RAW => match value {
            Ipld::Bytes(bytes) => bytes.clone(),
            _ => return Err(CodecError::EncodeRaw),
        },
        other => return Err(CodecError::Unsupported(other)),
    })
}
