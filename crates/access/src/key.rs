//! The text of a key: `ues_`, its id, `_`, its secret; both in base32.

use std::fmt;
use std::str::FromStr;

use data_encoding::{BASE32_NOPAD, BASE32_NOPAD_NOCASE};
use subtle::ConstantTimeEq;
use zeroize::{Zeroize, Zeroizing};

use crate::AccessError;

/// What every key begins with, so that scanners for leaked secrets find it.
const PREFIX: &str = "ues_";
/// Separates key hashes from all other uses of BLAKE3.
const CONTEXT: &str = "ues-access 2026-11 API key";

const ID_BYTES: usize = 10;
const SECRET_BYTES: usize = 32;
/// Characters of the id: five bits each.
const ID_LEN: usize = ID_BYTES * 8 / 5;
/// Characters of the secret, the last of which has one bit.
const SECRET_LEN: usize = (SECRET_BYTES * 8).div_ceil(5);

/// The public name of a key: 16 characters of `a-z` and `2-7`.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct KeyId([u8; ID_LEN]);

/// Something that is not the id of a key.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("a key id of {ID_LEN} characters of a-z and 2-7 expected, found {0:?}")]
pub struct KeyIdError(String);

impl KeyId {
    /// The id as text.
    pub fn as_str(&self) -> &str {
        // Only made of base32.
        std::str::from_utf8(&self.0).unwrap_or_default()
    }
}

impl FromStr for KeyId {
    type Err = KeyIdError;

    fn from_str(text: &str) -> Result<Self, KeyIdError> {
        let sound = |b: &u8| b.is_ascii_lowercase() || (b'2'..=b'7').contains(b);
        match <[u8; ID_LEN]>::try_from(text.as_bytes()) {
            Ok(id) if id.iter().all(sound) => Ok(Self(id)),
            _ => Err(KeyIdError(text.chars().take(2 * ID_LEN).collect())),
        }
    }
}

impl fmt::Display for KeyId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl fmt::Debug for KeyId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "KeyId({self})")
    }
}

impl serde::Serialize for KeyId {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(self.as_str())
    }
}

/// The whole text of a key. Overwritten in memory when dropped, and never shown by `Debug`.
pub struct Secret(Zeroizing<String>);

impl Secret {
    /// The text, to be handed to whom the key is for.
    pub fn expose(&self) -> &str {
        &self.0
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Secret(…)")
    }
}

/// What is stored of a secret. The secret has 256 random bits, so that no slow hash is needed.
#[derive(Clone, Copy, Debug)]
pub(crate) struct KeyHash([u8; 32]);

impl KeyHash {
    fn of(id: &KeyId, secret: &[u8; SECRET_BYTES]) -> Self {
        let mut hasher = blake3::Hasher::new_derive_key(CONTEXT);
        hasher.update(&id.0).update(secret);
        let hash = Self(*hasher.finalize().as_bytes());
        hasher.zeroize();
        hash
    }

    pub(crate) fn from_bytes(bytes: [u8; 32]) -> Self {
        Self(bytes)
    }

    pub(crate) fn as_bytes(&self) -> &[u8; 32] {
        &self.0
    }

    /// Whether both are the same, in a time that does not tell how much of them is.
    pub(crate) fn same(&self, other: &Self) -> bool {
        self.0.ct_eq(&other.0).into()
    }
}

/// Makes a new key of random bytes.
pub(crate) fn generate() -> Result<(KeyId, Secret, KeyHash), AccessError> {
    let random = |e: getrandom::Error| AccessError::Random(e.to_string());
    let mut id_bytes = [0; ID_BYTES];
    let mut secret = Zeroizing::new([0; SECRET_BYTES]);
    getrandom::fill(&mut id_bytes).map_err(random)?;
    getrandom::fill(&mut *secret).map_err(random)?;
    let mut id = [0; ID_LEN];
    BASE32_NOPAD.encode_mut(&id_bytes, &mut id);
    id.make_ascii_lowercase();
    let id = KeyId(id);
    // The whole length at once: a string that grows leaves its beginning behind in freed memory.
    let mut text = Zeroizing::new(String::with_capacity(
        PREFIX.len() + ID_LEN + 1 + SECRET_LEN,
    ));
    text.push_str(PREFIX);
    text.push_str(id.as_str());
    text.push('_');
    BASE32_NOPAD.encode_append(&*secret, &mut text);
    if let Some(encoded) = text.get_mut(PREFIX.len()..) {
        encoded.make_ascii_lowercase();
    }
    let hash = KeyHash::of(&id, &secret);
    Ok((id, Secret(text), hash))
}

/// The id in the text of a key, and the hash of its secret; `None` when the text is not that of a key.
pub(crate) fn parse(text: &str) -> Option<(KeyId, KeyHash)> {
    let (id, encoded) = text.strip_prefix(PREFIX)?.split_once('_')?;
    let id: KeyId = id.parse().ok()?;
    if encoded.len() != SECRET_LEN || encoded.bytes().any(|b| b.is_ascii_uppercase()) {
        return None;
    }
    let mut secret = Zeroizing::new([0; SECRET_BYTES]);
    let written = BASE32_NOPAD_NOCASE.decode_mut(encoded.as_bytes(), &mut *secret);
    (written == Ok(SECRET_BYTES)).then(|| (id, KeyHash::of(&id, &secret)))
}
