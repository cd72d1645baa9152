//! The rows: `o/OWNER` for owners, `k/KEY` for keys, `i/OWNER/KEY` for the keys of an owner.

use serde::{Deserialize, Serialize};

use crate::key::KeyHash;
use crate::{AccessError, KeyId, KeyInfo, Owner, OwnerId, Scopes};

/// What the keys of all owners' rows begin with.
pub(crate) const OWNERS: &str = "o/";
/// What the keys of all keys' rows begin with.
pub(crate) const KEYS: &str = "k/";

pub(crate) fn owner_key(owner: &OwnerId) -> String {
    format!("{OWNERS}{owner}")
}

pub(crate) fn key_key(id: &KeyId) -> String {
    format!("{KEYS}{id}")
}

/// What the index rows of an owner begin with. No owner has a slash in its id, so none is the beginning of another.
pub(crate) fn index_prefix(owner: &OwnerId) -> String {
    format!("i/{owner}/")
}

/// A stored owner; its id is in the key.
#[derive(Serialize, Deserialize)]
struct OwnerRow {
    created_at_ms: u64,
}

/// A stored key; its id is in the key of the row.
#[derive(Serialize, Deserialize)]
struct KeyRow {
    owner: OwnerId,
    name: String,
    scopes: Scopes,
    /// The hash of the secret, in hexadecimal.
    hash: String,
    created_at_ms: u64,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    expires_at_ms: Option<u64>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    revoked_at_ms: Option<u64>,
}

/// A key with what proves it.
#[derive(Clone, Debug)]
pub(crate) struct Key {
    pub(crate) info: KeyInfo,
    pub(crate) hash: KeyHash,
}

/// A row as it is written: its name and its content.
pub(crate) type Row = (String, Vec<u8>);

pub(crate) fn owner_row(owner: &Owner) -> Result<Row, AccessError> {
    let row = OwnerRow {
        created_at_ms: owner.created_at_ms,
    };
    Ok((owner_key(&owner.id), encode(&row)?))
}

pub(crate) fn read_owner(key: &str, value: &[u8]) -> Result<Owner, AccessError> {
    let row: OwnerRow = decode(key, value)?;
    Ok(Owner {
        id: after(key, OWNERS)?,
        created_at_ms: row.created_at_ms,
    })
}

/// The rows of a key: the key itself first, then the one by which its owner finds it.
pub(crate) fn key_rows(key: &Key) -> Result<Vec<Row>, AccessError> {
    let info = &key.info;
    let row = KeyRow {
        owner: info.owner.clone(),
        name: info.name.clone(),
        scopes: info.scopes,
        hash: data_encoding::HEXLOWER.encode(key.hash.as_bytes()),
        created_at_ms: info.created_at_ms,
        expires_at_ms: info.expires_at_ms,
        revoked_at_ms: info.revoked_at_ms,
    };
    Ok(vec![
        (key_key(&info.id), encode(&row)?),
        (index_prefix(&info.owner) + info.id.as_str(), Vec::new()),
    ])
}

pub(crate) fn read_key(key: &str, value: &[u8]) -> Result<Key, AccessError> {
    let row: KeyRow = decode(key, value)?;
    let hash = data_encoding::HEXLOWER
        .decode(row.hash.as_bytes())
        .ok()
        .and_then(|bytes| <[u8; 32]>::try_from(bytes).ok())
        .ok_or_else(|| damaged(key, "a hash of 64 hexadecimal digits expected"))?;
    Ok(Key {
        info: KeyInfo {
            id: after(key, KEYS)?,
            owner: row.owner,
            name: row.name,
            scopes: row.scopes,
            created_at_ms: row.created_at_ms,
            expires_at_ms: row.expires_at_ms,
            revoked_at_ms: row.revoked_at_ms,
        },
        hash: KeyHash::from_bytes(hash),
    })
}

/// The id that follows a prefix in the name of a row.
pub(crate) fn after<T: std::str::FromStr>(key: &str, prefix: &str) -> Result<T, AccessError> {
    key.strip_prefix(prefix)
        .and_then(|key| key.parse().ok())
        .ok_or_else(|| damaged(key, "an id expected in the name"))
}

fn encode(row: &impl Serialize) -> Result<Vec<u8>, AccessError> {
    serde_json::to_vec(row).map_err(|e| AccessError::Damaged(e.to_string()))
}

fn decode<'de, T: Deserialize<'de>>(key: &str, value: &'de [u8]) -> Result<T, AccessError> {
    // The position of the fault only: the text of the error could show parts of the row.
    serde_json::from_slice(value).map_err(|e| {
        damaged(
            key,
            format!("JSON expected, wrong at column {}", e.column()),
        )
    })
}

fn damaged(key: &str, what: impl std::fmt::Display) -> AccessError {
    AccessError::Damaged(format!("{key}: {what}"))
}
