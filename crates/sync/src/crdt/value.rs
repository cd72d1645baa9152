//! Values as they lie in edits and states.

use std::sync::Arc;

use ues_data::Ipld;
use ues_data::dag_cbor::{self, Reader, Writer};

use super::error::CodecError;
use super::wire;

/// One IPLD value in its canonical encoding, checked; cheap to clone, and equal exactly if the values are.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Value(Arc<[u8]>);

impl Value {
    /// Encodes a value.
    ///
    /// # Errors
    /// If it has no canonical encoding, or one longer than an edit may be.
    pub fn new(value: &Ipld) -> Result<Self, CodecError> {
        let encoded = dag_cbor::encode_with(value, wire::EDIT)?;
        Ok(Self(encoded.into()))
    }

    /// The value.
    #[must_use]
    pub fn to_ipld(&self) -> Ipld {
        // The bytes were checked when the value was made, so they always decode.
        dag_cbor::decode(&self.0).unwrap_or(Ipld::Null)
    }

    /// The canonical encoding.
    #[must_use]
    pub fn as_bytes(&self) -> &[u8] {
        &self.0
    }

    pub(crate) fn write(&self, out: &mut Writer) {
        out.raw(&self.0);
    }

    pub(crate) fn read(input: &mut Reader<'_>) -> Result<Self, CodecError> {
        Ok(Self(input.skip()?.into()))
    }
}
