//! Rows that belong to an account: their keys, and JSON.

use serde::Serialize;
use serde::de::DeserializeOwned;
use ues_repo::syntax::Did;

/// A row that is not what was written.
#[derive(Debug, thiserror::Error)]
#[error("the row {key} is damaged: {reason}")]
pub struct Damaged {
    key: String,
    reason: String,
}

/// DID, zero byte, name: the rows of an account lie together.
pub fn row_key(did: &Did, name: &str) -> Vec<u8> {
    let mut key = Vec::with_capacity(did.as_str().len() + 1 + name.len());
    key.extend_from_slice(did.as_str().as_bytes());
    key.push(0);
    key.extend_from_slice(name.as_bytes());
    key
}

/// A value as JSON.
pub fn to_json(value: &impl Serialize) -> Vec<u8> {
    // Plain strings and numbers always serialise.
    serde_json::to_vec(value).unwrap_or_default()
}

/// A row's value.
///
/// # Errors
/// When it is not JSON of the type.
pub fn json_row<T: DeserializeOwned>(key: &[u8], value: &[u8]) -> Result<T, Damaged> {
    serde_json::from_slice(value).map_err(|e| Damaged {
        key: String::from_utf8_lossy(key).into_owned(),
        reason: e.to_string(),
    })
}
