//! The accounts' signing keys, sealed in the store.

use std::sync::Arc;

use chacha20poly1305::aead::{Aead, KeyInit, Payload};
use chacha20poly1305::{ChaCha20Poly1305, Nonce};
use quick_cache::sync::Cache;
use ues_repo::crypto::{KeyError as BadKey, KeyKind, SigningKey};
use ues_repo::repo::{KeySource, KeySourceError};
use ues_repo::syntax::Did;
use ues_storage::{Batch, Keyspace, StorageError, Store};
use zeroize::Zeroizing;

/// Keys kept in memory, ready to sign.
const CACHED: usize = 10_000;
const VERSION: u8 = 1;
const NONCE_BYTES: usize = 12;

/// Why an account's key cannot be stored or used.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum KeyError {
    /// The store failed.
    #[error(transparent)]
    Storage(#[from] StorageError),
    /// The row is not what was written, or was sealed by another node's key.
    #[error("the stored key of {0} cannot be opened")]
    Sealed(Did),
    /// What was sealed is no key.
    #[error(transparent)]
    Key(#[from] BadKey),
    /// The system has no random numbers.
    #[error("no random numbers: {0}")]
    Random(String),
}

/// Signing keys by account: DID -> version, kind, nonce, sealed key. ChaCha20-Poly1305 (RFC 8439)
/// under a key of the node's keystore, bound to the DID.
pub struct AccountKeys {
    rows: Keyspace,
    cipher: ChaCha20Poly1305,
    cache: Cache<Did, Arc<SigningKey>>,
}

impl AccountKeys {
    /// Opens the keys of a store with the key that seals them.
    pub fn open(store: &Store, seal: &Zeroizing<[u8; 32]>) -> Result<Self, StorageError> {
        Self::open_in(store, "account_keys", seal)
    }

    /// Opens the keys that are kept for accounts to come, by the account's DID or the did:key itself.
    pub fn open_reserved(store: &Store, seal: &Zeroizing<[u8; 32]>) -> Result<Self, StorageError> {
        Self::open_in(store, "account_reserved_keys", seal)
    }

    fn open_in(
        store: &Store,
        name: &'static str,
        seal: &Zeroizing<[u8; 32]>,
    ) -> Result<Self, StorageError> {
        Ok(Self {
            rows: store.keyspace(name)?,
            cipher: ChaCha20Poly1305::new(&(**seal).into()),
            cache: Cache::new(CACHED),
        })
    }

    /// Puts an account's key into a batch.
    pub fn put(&self, batch: &mut Batch, did: &Did, key: &SigningKey) -> Result<(), KeyError> {
        let row = self.seal(did, key)?;
        batch.put(&self.rows, did.as_str(), row);
        Ok(())
    }

    /// Puts a key into a batch that is kept until a time, in milliseconds since 1970.
    pub fn put_until(
        &self,
        batch: &mut Batch,
        did: &Did,
        key: &SigningKey,
        until_ms: u64,
    ) -> Result<(), KeyError> {
        let row = self.seal(did, key)?;
        batch.put_with_ttl(&self.rows, did.as_str(), row, until_ms);
        Ok(())
    }

    /// Removes an account's key; goes into `batch`.
    pub fn remove(&self, batch: &mut Batch, did: &Did) {
        batch.delete(&self.rows, did.as_str());
    }

    /// To be called when a batch with [`AccountKeys::remove`] was committed.
    pub fn removed(&self, did: &Did) {
        self.cache.remove(did);
    }

    fn seal(&self, did: &Did, key: &SigningKey) -> Result<Vec<u8>, KeyError> {
        let mut nonce = [0; NONCE_BYTES];
        getrandom::fill(&mut nonce).map_err(|e| KeyError::Random(e.to_string()))?;
        let secret = key.to_bytes();
        let payload = Payload {
            msg: &secret[..],
            aad: did.as_str().as_bytes(),
        };
        let sealed = self
            .cipher
            .encrypt(&Nonce::from(nonce), payload)
            .map_err(|_| KeyError::Sealed(did.clone()))?;
        let mut row = vec![VERSION, kind_code(key.kind())];
        row.extend_from_slice(&nonce);
        row.extend_from_slice(&sealed);
        Ok(row)
    }

    /// To be called when a batch with [`AccountKeys::put`] was committed.
    pub fn written(&self, did: &Did, key: SigningKey) {
        self.cache.insert(did.clone(), Arc::new(key));
    }

    /// The key of an account, if this node has it.
    pub fn get(&self, did: &Did) -> Result<Option<Arc<SigningKey>>, KeyError> {
        if let Some(key) = self.cache.get(did) {
            return Ok(Some(key));
        }
        let Some(row) = self.rows.get(did.as_str())? else {
            return Ok(None);
        };
        let key = Arc::new(
            self.open_row(did, &row)
                .ok_or_else(|| KeyError::Sealed(did.clone()))??,
        );
        self.cache.insert(did.clone(), Arc::clone(&key));
        Ok(Some(key))
    }

    /// The key of an account as it is stored; nothing is kept in memory.
    pub fn read(&self, did: &Did) -> Result<Option<SigningKey>, KeyError> {
        let Some(row) = self.rows.get(did.as_str())? else {
            return Ok(None);
        };
        let opened = self.open_row(did, &row);
        Ok(Some(opened.ok_or_else(|| KeyError::Sealed(did.clone()))??))
    }

    fn open_row(&self, did: &Did, row: &[u8]) -> Option<Result<SigningKey, BadKey>> {
        let (&[VERSION, kind], rest) = row.split_first_chunk::<2>()? else {
            return None;
        };
        let (nonce, sealed) = rest.split_first_chunk::<NONCE_BYTES>()?;
        let payload = Payload {
            msg: sealed,
            aad: did.as_str().as_bytes(),
        };
        let secret = Zeroizing::new(self.cipher.decrypt(&Nonce::from(*nonce), payload).ok()?);
        let secret: Zeroizing<[u8; 32]> = Zeroizing::new(secret.as_slice().try_into().ok()?);
        Some(SigningKey::from_bytes(kind_of(kind)?, &secret))
    }
}

impl KeySource for AccountKeys {
    fn signing_key(&self, did: &Did) -> Result<Option<Arc<SigningKey>>, KeySourceError> {
        self.get(did).map_err(|e| KeySourceError(e.to_string()))
    }
}

fn kind_code(kind: KeyKind) -> u8 {
    match kind {
        KeyKind::K256 => 1,
        KeyKind::P256 => 2,
        KeyKind::Ed25519 => 3,
    }
}

fn kind_of(code: u8) -> Option<KeyKind> {
    match code {
        1 => Some(KeyKind::K256),
        2 => Some(KeyKind::P256),
        3 => Some(KeyKind::Ed25519),
        _ => None,
    }
}
