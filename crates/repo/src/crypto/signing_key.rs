//! Secret keys.

use std::fmt;

use ed25519_dalek::Signer as _;
use sha2::{Digest as _, Sha256};
use zeroize::Zeroizing;

use super::{KeyError, KeyKind, VerifyingKey};

/// A secret key that signs. Its memory is cleared when it goes; `Debug` shows the public half only.
#[derive(Clone)]
pub struct SigningKey {
    secret: Secret,
    public: VerifyingKey,
}

#[derive(Clone)]
enum Secret {
    K256(K256Secret),
    P256(p256::ecdsa::SigningKey),
    Ed25519(ed25519_dalek::SigningKey),
}

/// A secp256k1 secret; the library's own type is not cleared by itself.
#[derive(Clone)]
struct K256Secret(secp256k1::SecretKey);

impl Drop for K256Secret {
    fn drop(&mut self) {
        self.0.non_secure_erase();
    }
}

impl SigningKey {
    /// Makes a new key from the system's randomness.
    pub fn generate(kind: KeyKind) -> Result<Self, KeyError> {
        loop {
            let mut bytes = Zeroizing::new([0u8; 32]);
            getrandom::fill(bytes.as_mut_slice())
                .map_err(|e| KeyError::NoRandomness(e.to_string()))?;
            // one in 2^128 draws lies beyond the order of the curve
            if let Ok(key) = Self::from_bytes(kind, &bytes) {
                return Ok(key);
            }
        }
    }

    /// Makes a key of its 32 secret bytes.
    pub fn from_bytes(kind: KeyKind, bytes: &[u8; 32]) -> Result<Self, KeyError> {
        let invalid = KeyError::Invalid { kind };
        match kind {
            KeyKind::K256 => {
                let secret = K256Secret(
                    secp256k1::SecretKey::from_secret_bytes(*bytes).map_err(|_| invalid)?,
                );
                let public = VerifyingKey::k256(secret.0.public_key());
                Ok(Self {
                    secret: Secret::K256(secret),
                    public,
                })
            }
            KeyKind::P256 => {
                let secret = p256::ecdsa::SigningKey::from_slice(bytes).map_err(|_| invalid)?;
                let public = VerifyingKey::p256(*secret.verifying_key());
                Ok(Self {
                    secret: Secret::P256(secret),
                    public,
                })
            }
            KeyKind::Ed25519 => {
                let secret = ed25519_dalek::SigningKey::from_bytes(bytes);
                let public = VerifyingKey::ed25519(secret.verifying_key());
                Ok(Self {
                    secret: Secret::Ed25519(secret),
                    public,
                })
            }
        }
    }

    /// The 32 secret bytes, in memory that is cleared when they go.
    pub fn to_bytes(&self) -> Zeroizing<[u8; 32]> {
        Zeroizing::new(match &self.secret {
            Secret::K256(key) => key.0.to_secret_bytes(),
            Secret::P256(key) => key.to_bytes().into(),
            Secret::Ed25519(key) => key.to_bytes(),
        })
    }

    /// The kind of the key.
    pub fn kind(&self) -> KeyKind {
        self.public.kind()
    }

    /// The public half.
    pub fn verifying_key(&self) -> &VerifyingKey {
        &self.public
    }

    /// The public half as a DID, such as `did:key:zQ3sh…`.
    pub fn did_key(&self) -> String {
        self.public.did_key()
    }

    /// Signs a message: 64 bytes, deterministic (RFC 6979, RFC 8032), low S.
    pub fn sign(&self, message: &[u8]) -> [u8; 64] {
        match &self.secret {
            Secret::K256(key) => {
                let digest = secp256k1::Message::from_digest(Sha256::digest(message).into());
                secp256k1::ecdsa::sign(digest, &key.0).serialize_compact()
            }
            Secret::P256(key) => {
                let signature: p256::ecdsa::Signature = key.sign(message);
                signature.normalize_s().to_bytes().into()
            }
            Secret::Ed25519(key) => key.sign(message).to_bytes(),
        }
    }
}

impl fmt::Debug for SigningKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "SigningKey(secret of {})", self.public)
    }
}
