//! Sealing and unsealing the keystore's content.

use argon2::{Algorithm, Argon2, Params, Version};
use chacha20poly1305::aead::{Aead as _, KeyInit as _, Payload};
use chacha20poly1305::{ChaCha20Poly1305, Nonce};
use zeroize::Zeroizing;

use super::KeystoreError;
use crate::crypto::KeyError;

/// Salt of the passphrase, in bytes.
pub(super) const SALT: usize = 16;
/// Nonce of the cipher, in bytes.
pub(super) const NONCE: usize = 12;

/// The key that seals a keystore.
pub(super) type SealKey = Zeroizing<[u8; 32]>;

/// What it costs to try a passphrase (Argon2id, RFC 9106).
#[derive(Debug, Clone, Copy, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub struct PassphraseCost {
    /// Memory in KiB.
    pub memory_kib: u32,
    /// Passes over the memory.
    pub passes: u32,
    /// Lanes.
    pub lanes: u32,
}

impl PassphraseCost {
    /// The cost for new keystores: 64 MiB, 3 passes, 4 lanes (the second choice of RFC 9106).
    pub const DEFAULT: Self = Self {
        memory_kib: 64 * 1024,
        passes: 3,
        lanes: 4,
    };

    /// The most that a file may ask for: a hostile file must not take all memory or time.
    const MOST: Self = Self {
        memory_kib: 1024 * 1024,
        passes: 32,
        lanes: 16,
    };

    fn params(self) -> Result<Params, KeystoreError> {
        let most = Self::MOST;
        if self.memory_kib > most.memory_kib || self.passes > most.passes || self.lanes > most.lanes
        {
            return Err(KeystoreError::Cost(format!("{self:?}, at most {most:?}")));
        }
        Params::new(self.memory_kib, self.passes, self.lanes, Some(32))
            .map_err(|e| KeystoreError::Cost(e.to_string()))
    }
}

/// Stretches a passphrase to a key. Slow on purpose.
pub(super) fn stretch(
    passphrase: &[u8],
    salt: &[u8; SALT],
    cost: PassphraseCost,
) -> Result<SealKey, KeystoreError> {
    let mut key = Zeroizing::new([0; 32]);
    Argon2::new(Algorithm::Argon2id, Version::V0x13, cost.params()?)
        .hash_password_into(passphrase, salt, key.as_mut_slice())
        .map_err(|e| KeystoreError::Cost(e.to_string()))?;
    Ok(key)
}

/// Fresh random bytes.
pub(super) fn random<const N: usize>() -> Result<[u8; N], KeystoreError> {
    let mut bytes = [0; N];
    getrandom::fill(&mut bytes).map_err(|e| KeyError::NoRandomness(e.to_string()))?;
    Ok(bytes)
}

/// Encrypts under a nonce that is never used again; `outside` is authenticated too.
pub(super) fn seal(
    key: &SealKey,
    nonce: &[u8; NONCE],
    outside: &[u8],
    content: &[u8],
) -> Option<Vec<u8>> {
    let payload = Payload {
        msg: content,
        aad: outside,
    };
    cipher(key).encrypt(&Nonce::from(*nonce), payload).ok()
}

/// Decrypts, if key, nonce, ciphertext and `outside` are what they were.
pub(super) fn unseal(
    key: &SealKey,
    nonce: &[u8; NONCE],
    outside: &[u8],
    sealed: &[u8],
) -> Option<Zeroizing<Vec<u8>>> {
    let payload = Payload {
        msg: sealed,
        aad: outside,
    };
    cipher(key)
        .decrypt(&Nonce::from(*nonce), payload)
        .ok()
        .map(Zeroizing::new)
}

fn cipher(key: &SealKey) -> ChaCha20Poly1305 {
    ChaCha20Poly1305::new(&(**key).into())
}
