//! Key agreement by X25519 (RFC 7748): two parties come to the same secret, each from its own
//! secret key and the other's public one.

use std::fmt;
use std::str::FromStr;

use x25519_dalek::{PublicKey, StaticSecret};
use zeroize::Zeroizing;

use super::{KeyError, multikey};

/// Multicodec prefix x25519-pub, 0xec, as an unsigned varint.
const PREFIX: [u8; 2] = [0xec, 0x01];

/// Why two keys agree on nothing.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum AgreementError {
    /// The public key is one of the few with which every secret gives zero, known to anyone.
    #[error("the other side's public key is of low order and is refused")]
    NotContributory,
}

/// A secret key for agreement. Its memory is cleared when it goes; `Debug` shows the public half only.
#[derive(Clone)]
pub struct AgreementSecret {
    secret: StaticSecret,
    public: AgreementKey,
}

impl AgreementSecret {
    /// Makes a new key from the system's randomness.
    ///
    /// # Errors
    /// [`KeyError::NoRandomness`].
    pub fn generate() -> Result<Self, KeyError> {
        let mut bytes = Zeroizing::new([0; 32]);
        getrandom::fill(bytes.as_mut_slice()).map_err(|e| KeyError::NoRandomness(e.to_string()))?;
        Ok(Self::from_bytes(&bytes))
    }

    /// Makes a key of its 32 secret bytes; all are valid.
    pub fn from_bytes(bytes: &[u8; 32]) -> Self {
        let secret = StaticSecret::from(*bytes);
        let public = AgreementKey(PublicKey::from(&secret));
        Self { secret, public }
    }

    /// The 32 secret bytes, in memory that is cleared when they go.
    pub fn to_bytes(&self) -> Zeroizing<[u8; 32]> {
        Zeroizing::new(self.secret.to_bytes())
    }

    /// The public half.
    pub fn public(&self) -> &AgreementKey {
        &self.public
    }

    /// The secret that both sides have. It is a point of the curve: derive keys from it, with the two
    /// public keys, by a hash.
    ///
    /// # Errors
    /// [`AgreementError::NotContributory`] when the result would not depend on this secret (RFC 7748,
    /// section 6.1).
    pub fn agree(&self, theirs: &AgreementKey) -> Result<Zeroizing<[u8; 32]>, AgreementError> {
        let shared = self.secret.diffie_hellman(&theirs.0);
        if shared.was_contributory() {
            Ok(Zeroizing::new(shared.to_bytes()))
        } else {
            Err(AgreementError::NotContributory)
        }
    }
}

impl fmt::Debug for AgreementSecret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "AgreementSecret(secret of {})", self.public)
    }
}

/// A public key for agreement. As text, it is a multikey: `z6LS…`.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub struct AgreementKey(PublicKey);

impl AgreementKey {
    /// Makes a key of its 32 bytes; all are taken, and those of low order refused on agreement.
    pub fn from_bytes(bytes: [u8; 32]) -> Self {
        Self(bytes.into())
    }

    /// The 32 bytes.
    pub fn to_bytes(&self) -> [u8; 32] {
        self.0.to_bytes()
    }

    /// Reads a multikey: `z`, base58 of the multicodec prefix and the 32 bytes.
    ///
    /// # Errors
    /// [`KeyError::NotMultibase`] and [`KeyError::NotX25519`].
    pub fn from_multikey(text: &str) -> Result<Self, KeyError> {
        let bytes = multikey::from_base58(text)?;
        let key = bytes
            .strip_prefix(&PREFIX)
            .and_then(|key| <[u8; 32]>::try_from(key).ok());
        key.map(Self::from_bytes).ok_or(KeyError::NotX25519)
    }
}

impl fmt::Display for AgreementKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let bytes = [&PREFIX[..], self.0.as_bytes()].concat();
        f.write_str(&multikey::to_base58(&bytes))
    }
}

impl fmt::Debug for AgreementKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "AgreementKey({self})")
    }
}

impl FromStr for AgreementKey {
    type Err = KeyError;

    fn from_str(text: &str) -> Result<Self, KeyError> {
        Self::from_multikey(text)
    }
}
