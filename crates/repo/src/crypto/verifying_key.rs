//! Public keys.

use std::fmt;
use std::str::FromStr;

use p256::ecdsa::signature::Verifier as _;
use sha2::{Digest as _, Sha256};

use super::{KeyError, KeyKind, SignatureError, multikey};

const DID_KEY: &str = "did:key:";

/// A public key that verifies signatures.
#[derive(Clone, PartialEq, Eq)]
pub struct VerifyingKey(Key);

#[derive(Clone, PartialEq, Eq)]
enum Key {
    K256(secp256k1::PublicKey),
    P256(p256::ecdsa::VerifyingKey),
    Ed25519(ed25519_dalek::VerifyingKey),
}

impl VerifyingKey {
    pub(super) fn k256(key: secp256k1::PublicKey) -> Self {
        Self(Key::K256(key))
    }

    pub(super) fn p256(key: p256::ecdsa::VerifyingKey) -> Self {
        Self(Key::P256(key))
    }

    pub(super) fn ed25519(key: ed25519_dalek::VerifyingKey) -> Self {
        Self(Key::Ed25519(key))
    }

    /// Reads a key from its bytes: a SEC 1 point, compressed or not, or 32 bytes of Ed25519.
    pub fn from_bytes(kind: KeyKind, bytes: &[u8]) -> Result<Self, KeyError> {
        let invalid = KeyError::Invalid { kind };
        match kind {
            KeyKind::K256 => secp256k1::PublicKey::from_slice(bytes)
                .map(Self::k256)
                .map_err(|_| invalid),
            KeyKind::P256 => p256::ecdsa::VerifyingKey::from_sec1_bytes(bytes)
                .map(Self::p256)
                .map_err(|_| invalid),
            KeyKind::Ed25519 => bytes
                .try_into()
                .ok()
                .and_then(|bytes| ed25519_dalek::VerifyingKey::from_bytes(bytes).ok())
                .filter(|key| !key.is_weak())
                .map(Self::ed25519)
                .ok_or(invalid),
        }
    }

    /// Reads a `did:key:z…`.
    pub fn from_did_key(text: &str) -> Result<Self, KeyError> {
        let multikey = text
            .strip_prefix(DID_KEY)
            .ok_or_else(|| KeyError::NotDidKey {
                found: text.chars().take(40).collect(),
            })?;
        Self::from_multikey(multikey)
    }

    /// Reads a multikey: `z`, base58 of the multicodec prefix and the compressed point.
    pub fn from_multikey(text: &str) -> Result<Self, KeyError> {
        let (kind, bytes) = multikey::decode(text)?;
        let expected = if kind == KeyKind::Ed25519 { 32 } else { 33 };
        if bytes.len() != expected {
            return Err(KeyError::Invalid { kind });
        }
        Self::from_bytes(kind, &bytes)
    }

    /// Reads the older form of DID documents: base58 of the bare point, its kind told by the suite.
    pub fn from_multibase(kind: KeyKind, text: &str) -> Result<Self, KeyError> {
        Self::from_bytes(kind, &multikey::from_base58(text)?)
    }

    /// The kind of the key.
    pub fn kind(&self) -> KeyKind {
        match self.0 {
            Key::K256(_) => KeyKind::K256,
            Key::P256(_) => KeyKind::P256,
            Key::Ed25519(_) => KeyKind::Ed25519,
        }
    }

    /// The compressed point (33 bytes), or the 32 bytes of Ed25519.
    pub fn to_bytes(&self) -> Vec<u8> {
        match &self.0 {
            Key::K256(key) => key.serialize().to_vec(),
            Key::P256(key) => key.to_sec1_point(true).as_bytes().to_vec(),
            Key::Ed25519(key) => key.to_bytes().to_vec(),
        }
    }

    /// The point without compression (65 bytes), as older DID documents have it; for Ed25519 its 32 bytes.
    pub fn to_uncompressed_bytes(&self) -> Vec<u8> {
        match &self.0 {
            Key::K256(key) => key.serialize_uncompressed().to_vec(),
            Key::P256(key) => key.to_sec1_point(false).as_bytes().to_vec(),
            Key::Ed25519(key) => key.to_bytes().to_vec(),
        }
    }

    /// The key as a DID, such as `did:key:zQ3sh…`.
    pub fn did_key(&self) -> String {
        format!("{DID_KEY}{}", self.multikey())
    }

    /// The key as a multikey, such as `zQ3sh…`.
    pub fn multikey(&self) -> String {
        multikey::encode(self.kind(), &self.to_bytes())
    }

    /// The older form of DID documents: base58 of the uncompressed point.
    pub fn multibase_uncompressed(&self) -> String {
        multikey::to_base58(&self.to_uncompressed_bytes())
    }

    /// Checks a 64-byte signature of a message.
    pub fn verify(&self, message: &[u8], signature: &[u8]) -> Result<(), SignatureError> {
        let signature: &[u8; 64] = signature.try_into().map_err(|_| SignatureError::Length {
            found: signature.len(),
        })?;
        let malformed = SignatureError::Malformed { kind: self.kind() };
        match &self.0 {
            Key::K256(key) => {
                let signature =
                    secp256k1::ecdsa::Signature::from_compact(signature).map_err(|_| malformed)?;
                let mut low = signature;
                low.normalize_s();
                if low != signature {
                    return Err(SignatureError::HighS);
                }
                let digest = secp256k1::Message::from_digest(Sha256::digest(message).into());
                secp256k1::ecdsa::verify(&signature, digest, key)
                    .map_err(|_| SignatureError::Mismatch)
            }
            Key::P256(key) => {
                let signature =
                    p256::ecdsa::Signature::from_slice(signature).map_err(|_| malformed)?;
                if signature.normalize_s() != signature {
                    return Err(SignatureError::HighS);
                }
                key.verify(message, &signature)
                    .map_err(|_| SignatureError::Mismatch)
            }
            Key::Ed25519(key) => {
                let signature = ed25519_dalek::Signature::from_bytes(signature);
                key.verify_strict(message, &signature)
                    .map_err(|_| SignatureError::Mismatch)
            }
        }
    }
}

impl fmt::Display for VerifyingKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.did_key())
    }
}

impl fmt::Debug for VerifyingKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "VerifyingKey({self})")
    }
}

impl FromStr for VerifyingKey {
    type Err = KeyError;

    fn from_str(text: &str) -> Result<Self, KeyError> {
        Self::from_did_key(text)
    }
}

impl serde::Serialize for VerifyingKey {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> serde::Deserialize<'de> for VerifyingKey {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = <std::borrow::Cow<'de, str>>::deserialize(deserializer)?;
        Self::from_did_key(&text).map_err(serde::de::Error::custom)
    }
}
