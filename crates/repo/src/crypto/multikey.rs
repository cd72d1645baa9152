//! Public keys as strings: multikey and the older multibase without a prefix.

use super::{KeyError, KeyKind};

/// Longest accepted text; a 65-byte key takes less than 92 characters.
const MAX_TEXT: usize = 128;

/// Multicodec prefixes (unsigned varints): secp256k1-pub 0xe7, p256-pub 0x1200, ed25519-pub 0xed.
const PREFIXES: [(KeyKind, [u8; 2]); 3] = [
    (KeyKind::K256, [0xe7, 0x01]),
    (KeyKind::P256, [0x80, 0x24]),
    (KeyKind::Ed25519, [0xed, 0x01]),
];

/// Writes `z` and the base58 of the bytes.
pub(super) fn to_base58(bytes: &[u8]) -> String {
    multibase::encode(multibase::Base::Base58Btc, bytes)
}

/// Reads `z` and base58.
pub(super) fn from_base58(text: &str) -> Result<Vec<u8>, KeyError> {
    if text.len() > MAX_TEXT || !text.starts_with('z') {
        return Err(KeyError::NotMultibase);
    }
    match multibase::decode(text) {
        Ok((_, bytes)) => Ok(bytes),
        Err(_) => Err(KeyError::NotMultibase),
    }
}

/// Writes a public key with its prefix.
pub(super) fn encode(kind: KeyKind, bytes: &[u8]) -> String {
    let mut all = Vec::with_capacity(2 + bytes.len());
    for (of, prefix) in PREFIXES {
        if of == kind {
            all.extend_from_slice(&prefix);
        }
    }
    all.extend_from_slice(bytes);
    to_base58(&all)
}

/// Reads a public key with its prefix.
pub(super) fn decode(text: &str) -> Result<(KeyKind, Vec<u8>), KeyError> {
    let bytes = from_base58(text)?;
    for (kind, prefix) in PREFIXES {
        if let Some(key) = bytes.strip_prefix(&prefix) {
            return Ok((kind, key.to_vec()));
        }
    }
    Err(KeyError::UnsupportedKind {
        prefix: bytes.into_iter().take(2).collect(),
    })
}
