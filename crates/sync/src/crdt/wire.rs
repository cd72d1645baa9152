//! Bounds, and what all encodings share.

use ues_data::dag_cbor::{Limits, Reader};

use super::error::CodecError;

/// The longest encoding of one edit, in bytes.
pub const MAX_EDIT_BYTES: usize = 64 << 10;

/// Bounds of an encoded edit.
pub(crate) const EDIT: Limits = Limits {
    max_depth: 64,
    max_bytes: MAX_EDIT_BYTES,
    max_items: MAX_EDIT_BYTES,
    floats: true,
};

/// The longest encoding of a state that is read, in bytes. In memory it takes up to 250 times as much (where it is short
/// runs and nothing else), so who reads states of others sets a closer limit before.
pub const MAX_STATE_BYTES: usize = 64 << 20;

/// Bounds of an encoded state.
pub(crate) const STATE: Limits = Limits {
    max_depth: 128,
    max_bytes: MAX_STATE_BYTES,
    max_items: MAX_STATE_BYTES,
    floats: true,
};

/// Begins a list that must have `expected` items.
pub(crate) fn tuple(input: &mut Reader<'_>, expected: usize) -> Result<(), CodecError> {
    let found = input.array()?;
    if found == expected {
        return Ok(());
    }
    Err(CodecError::Length { expected, found })
}

pub(crate) fn narrow(found: u64) -> Result<u32, CodecError> {
    u32::try_from(found).map_err(|_| CodecError::Number {
        what: "a number of 32 bits",
        found,
    })
}

/// Checks the length of a finished edit.
pub(crate) fn bounded(edit: Vec<u8>) -> Result<Vec<u8>, CodecError> {
    check_length("an edit", &edit, MAX_EDIT_BYTES)?;
    Ok(edit)
}

pub(crate) fn check_length(what: &'static str, bytes: &[u8], max: usize) -> Result<(), CodecError> {
    let found = bytes.len();
    if found > max {
        return Err(CodecError::TooLong { what, max, found });
    }
    Ok(())
}
