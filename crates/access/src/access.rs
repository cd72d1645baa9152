//! Owners and keys: making them, listing them, revoking them, and telling who presents one.

use std::collections::HashSet;
use std::fmt;
use std::sync::Arc;

use parking_lot::Mutex;
use quick_cache::sync::Cache;
use ues_storage::{Clock, Keyspace, Store};

use crate::key::{self, KeyHash, Secret};
use crate::row::{self, Key};
use crate::{AccessError, KeyId, OwnerId, Scope, Scopes};

/// Keys that are held in memory, about 300 bytes each.
const CACHED_KEYS: usize = 10_000;
/// The longest name of a key, in bytes.
const MAX_NAME: usize = 200;

/// Owners and their keys in a store. Cheap to clone; all clones see the same. Only one may be opened on a store at a
/// time, because it holds keys in memory.
#[derive(Clone)]
pub struct Access(Arc<Shared>);

struct Shared {
    store: Store,
    ks: Keyspace,
    clock: Clock,
    cache: Cache<KeyId, Arc<Key>>,
    /// Keys whose revocation is on its way to the disk. Filling the cache holds this lock, so that no key gets there
    /// that is being revoked.
    revoking: Mutex<HashSet<KeyId>>,
}

/// An owner.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Owner {
    /// Its id.
    pub id: OwnerId,
    /// When it was made, in milliseconds since the Unix epoch.
    pub created_at_ms: u64,
}

/// What a new key is to be.
#[derive(Clone, Debug, Default)]
pub struct NewKey {
    /// What it is for, at most 200 bytes; may be empty.
    pub name: String,
    /// What it permits.
    pub scopes: Vec<Scope>,
    /// From when on it is not valid, in milliseconds since the Unix epoch; `None`: for ever.
    pub expires_at_ms: Option<u64>,
}

/// A key that was just made.
#[derive(Debug)]
pub struct CreatedKey {
    /// Its public name.
    pub id: KeyId,
    /// Its text, which nobody can be told again.
    pub secret: Secret,
}

/// A key as it is listed.
#[derive(Clone, Debug, PartialEq, Eq, serde::Serialize)]
pub struct KeyInfo {
    /// Its public name.
    pub id: KeyId,
    /// For whom it acts.
    pub owner: OwnerId,
    /// What it is for.
    pub name: String,
    /// What it permits.
    pub scopes: Scopes,
    /// When it was made, in milliseconds since the Unix epoch.
    pub created_at_ms: u64,
    /// From when on it is not valid, in milliseconds since the Unix epoch.
    pub expires_at_ms: Option<u64>,
    /// When it was revoked, in milliseconds since the Unix epoch.
    pub revoked_at_ms: Option<u64>,
}

/// Who makes a request, and what they may do.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Principal {
    /// For whom the request is.
    pub owner: OwnerId,
    /// What the key permits.
    pub scopes: Scopes,
    /// The key that was presented.
    pub key_id: KeyId,
}

impl Principal {
    /// Whether it may do something.
    pub fn may(&self, scope: Scope) -> bool {
        self.scopes.permit(scope)
    }
}

impl Access {
    /// Opens the owners and keys of a store, and makes the owner `default` at first use. Blocks for that.
    ///
    /// # Errors
    /// When the store cannot be read or written.
    pub fn open(store: &Store) -> Result<Self, AccessError> {
        Self::open_with_clock(store, Clock::system())
    }

    /// As [`open`](Self::open), with a clock of the caller's, by which things are dated.
    ///
    /// # Errors
    /// As [`open`](Self::open).
    pub fn open_with_clock(store: &Store, clock: Clock) -> Result<Self, AccessError> {
        let access = Self(Arc::new(Shared {
            store: store.clone(),
            ks: store.keyspace(row::KEYSPACE)?,
            clock,
            cache: Cache::new(CACHED_KEYS),
            revoking: Mutex::default(),
        }));
        let default = OwnerId::default_owner();
        if access.owner(&default)?.is_none() {
            let mut batch = store.batch();
            row::put_owner(&mut batch, &access.0.ks, &access.new_owner(default))?;
            store.commit_blocking(batch)?;
        }
        Ok(access)
    }

    /// Makes an owner, durably. One that exists already stays as it is.
    ///
    /// # Errors
    /// When the store cannot be read or written.
    pub async fn create_owner(&self, id: OwnerId) -> Result<Owner, AccessError> {
        if let Some(owner) = self.owner(&id)? {
            return Ok(owner);
        }
        let owner = self.new_owner(id);
        let mut batch = self.0.store.batch();
        row::put_owner(&mut batch, &self.0.ks, &owner)?;
        self.0.store.commit(batch).await?;
        Ok(owner)
    }

    /// An owner, if it exists.
    ///
    /// # Errors
    /// When the store cannot be read.
    pub fn owner(&self, id: &OwnerId) -> Result<Option<Owner>, AccessError> {
        let key = row::owner_key(id);
        let value = self.0.ks.get(&key)?;
        value
            .map(|value| row::read_owner(key.as_bytes(), &value))
            .transpose()
    }

    /// All owners, in the order of their ids.
    ///
    /// # Errors
    /// When the store cannot be read.
    pub fn owners(&self) -> Result<Vec<Owner>, AccessError> {
        let rows = self.0.ks.prefix(row::OWNERS);
        rows.map(|row| {
            let (key, value) = row?;
            row::read_owner(&key, &value)
        })
        .collect()
    }

    /// Makes a key for an owner, durably.
    ///
    /// # Errors
    /// When the owner does not exist, the key has no scope or too long a name, or the store cannot be read or written.
    pub async fn create_key(
        &self,
        owner: &OwnerId,
        new: NewKey,
    ) -> Result<CreatedKey, AccessError> {
        let scopes: Scopes = new.scopes.into_iter().collect();
        if scopes.is_empty() {
            return Err(AccessError::NoScopes);
        }
        if new.name.len() > MAX_NAME {
            return Err(AccessError::NameTooLong {
                limit: MAX_NAME,
                found: new.name.len(),
            });
        }
        if self.owner(owner)?.is_none() {
            return Err(AccessError::NoSuchOwner(owner.clone()));
        }
        let (id, secret, hash) = key::generate()?;
        let key = Key {
            info: KeyInfo {
                id,
                owner: owner.clone(),
                name: new.name,
                scopes,
                created_at_ms: self.0.clock.now_ms(),
                expires_at_ms: new.expires_at_ms,
                revoked_at_ms: None,
            },
            hash,
        };
        let mut batch = self.0.store.batch();
        row::put_key(&mut batch, &self.0.ks, &key)?;
        self.0.store.commit(batch).await?;
        Ok(CreatedKey { id, secret })
    }

    /// The keys of an owner, or of all, in the order of their ids; expired and revoked ones too.
    ///
    /// # Errors
    /// When the store cannot be read.
    pub fn keys(&self, owner: Option<&OwnerId>) -> Result<Vec<KeyInfo>, AccessError> {
        let ks = &self.0.ks;
        let Some(owner) = owner else {
            let rows = ks.prefix(row::KEYS);
            return rows
                .map(|row| {
                    let (key, value) = row?;
                    row::read_key(&key, &value).map(|key| key.info)
                })
                .collect();
        };
        let prefix = row::index_prefix(owner);
        let mut keys = Vec::new();
        for row in ks.prefix(&prefix) {
            let id = row::after(&row?.0, &prefix)?;
            keys.extend(self.read(&id)?.map(|key| key.info));
        }
        Ok(keys)
    }

    /// Revokes a key: from the moment of this call on it opens nothing any more. When it returns, that is durable. A
    /// key that was revoked before stays as it is.
    ///
    /// # Errors
    /// When there is no such key, or the store cannot be read or written. In the latter case the key stays shut
    /// while this program runs.
    pub async fn revoke(&self, id: &KeyId) -> Result<(), AccessError> {
        let mut key = self.read(id)?.ok_or(AccessError::NoSuchKey(*id))?;
        if key.info.revoked_at_ms.is_some() {
            return Ok(());
        }
        key.info.revoked_at_ms = Some(self.0.clock.now_ms());
        let mut batch = self.0.store.batch();
        row::put_key(&mut batch, &self.0.ks, &key)?;
        {
            let mut revoking = self.0.revoking.lock();
            revoking.insert(*id);
            self.0.cache.remove(id);
        }
        // Should the caller give up here, the key stays in the set, and so stays shut.
        self.0.store.commit(batch).await?;
        self.0.revoking.lock().remove(id);
        Ok(())
    }

    /// Who presents a key, at a time in milliseconds since the Unix epoch.
    ///
    /// # Errors
    /// [`AccessError::Malformed`] for what is no key, [`AccessError::Unknown`] for one that does not exist,
    /// [`AccessError::Revoked`], [`AccessError::Expired`] (from the very millisecond of its expiry on); others when the
    /// store cannot be read.
    pub fn authenticate(&self, secret: &str, now_ms: u64) -> Result<Principal, AccessError> {
        let (id, hash) = key::parse(secret).ok_or(AccessError::Malformed)?;
        let key = match self.0.cache.get(&id) {
            Some(key) => proven(key, &hash)?,
            None => self.load(&id, &hash)?,
        };
        let info = &key.info;
        if info.revoked_at_ms.is_some() {
            return Err(AccessError::Revoked);
        }
        if info.expires_at_ms.is_some_and(|end| end <= now_ms) {
            return Err(AccessError::Expired);
        }
        Ok(Principal {
            owner: info.owner.clone(),
            scopes: info.scopes,
            key_id: id,
        })
    }

    /// Brings a key into memory. Only whoever has its secret gets it there, so that guesses push no others out.
    fn load(&self, id: &KeyId, hash: &KeyHash) -> Result<Arc<Key>, AccessError> {
        let revoking = self.0.revoking.lock();
        let key = self.read(id)?.ok_or(AccessError::Unknown)?;
        let key = proven(Arc::new(key), hash)?;
        if revoking.contains(id) {
            return Err(AccessError::Revoked);
        }
        self.0.cache.insert(*id, Arc::clone(&key));
        Ok(key)
    }

    fn read(&self, id: &KeyId) -> Result<Option<Key>, AccessError> {
        let key = row::key_key(id);
        let value = self.0.ks.get(&key)?;
        value
            .map(|value| row::read_key(key.as_bytes(), &value))
            .transpose()
    }

    fn new_owner(&self, id: OwnerId) -> Owner {
        Owner {
            id,
            created_at_ms: self.0.clock.now_ms(),
        }
    }
}

/// The key, if the secret is its own.
fn proven(key: Arc<Key>, hash: &KeyHash) -> Result<Arc<Key>, AccessError> {
    if key.hash.same(hash) {
        Ok(key)
    } else {
        Err(AccessError::Unknown)
    }
}

impl fmt::Debug for Access {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Access")
            .field("cached_keys", &self.0.cache.len())
            .finish_non_exhaustive()
    }
}
