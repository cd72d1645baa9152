//! Owners and keys: making them, listing them, revoking them, and telling who presents one.

use std::collections::HashSet;
use std::fmt;
use std::sync::Arc;
use std::time::{Duration, Instant};

use parking_lot::Mutex;
use quick_cache::sync::Cache;
use ues_storage::{Clock, Store};

use crate::key::{self, KeyHash, Secret};
use crate::row::{self, Key};
use crate::rows::{AccessRows, EmbeddedRows};
use crate::{AccessError, KeyId, OwnerId, Scope, Scopes};

/// Keys that are held in memory, about 300 bytes each.
const CACHED_KEYS: usize = 10_000;
/// The longest name of a key, in bytes.
const MAX_NAME: usize = 200;

/// How long a key that another process may revoke is believed without looking again.
const FRESH: Duration = Duration::from_secs(5);

/// Owners and their keys. Cheap to clone; all clones see the same. It holds keys in memory: of rows that are not
/// [shared](Access::shared) only one may be open at a time.
#[derive(Clone)]
pub struct Access(Arc<Shared>);

struct Shared {
    rows: Box<dyn AccessRows>,
    clock: Clock,
    cache: Cache<KeyId, Known>,
    /// How long a key in memory is believed; `None`: for ever.
    fresh: Option<Duration>,
    revoking: Mutex<Revoking>,
}

/// A key in memory.
#[derive(Clone)]
struct Known {
    key: Arc<Key>,
    since: Instant,
}

/// Filling the cache looks at this under its lock, so that no key gets there that is being revoked.
#[derive(Default)]
struct Revoking {
    /// Keys whose revocation is on its way to the disk.
    keys: HashSet<KeyId>,
    /// How often a revocation began or ended.
    changes: u64,
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
    /// Opens the owners and keys of a store, and makes the owner `default` at first use.
    ///
    /// # Errors
    /// When the store cannot be read or written.
    pub async fn open(store: &Store) -> Result<Self, AccessError> {
        Self::open_with_clock(store, Clock::system()).await
    }

    /// As [`open`](Self::open), with a clock of the caller's, by which things are dated.
    ///
    /// # Errors
    /// As [`open`](Self::open).
    pub async fn open_with_clock(store: &Store, clock: Clock) -> Result<Self, AccessError> {
        Self::over(Box::new(EmbeddedRows::open(store)?), clock, None).await
    }

    /// Opens owners and keys in rows that other processes use too. What another one revokes is shut here within five
    /// seconds; what it makes opens at once.
    ///
    /// # Errors
    /// When the rows cannot be read or written.
    pub async fn shared(rows: Box<dyn AccessRows>) -> Result<Self, AccessError> {
        Self::over(rows, Clock::system(), Some(FRESH)).await
    }

    async fn over(
        rows: Box<dyn AccessRows>,
        clock: Clock,
        fresh: Option<Duration>,
    ) -> Result<Self, AccessError> {
        let access = Self(Arc::new(Shared {
            rows,
            clock,
            cache: Cache::new(CACHED_KEYS),
            fresh,
            revoking: Mutex::default(),
        }));
        access.create_owner(OwnerId::default_owner()).await?;
        Ok(access)
    }

    /// Makes an owner, durably. One that exists already stays as it is.
    ///
    /// # Errors
    /// When the store cannot be read or written.
    pub async fn create_owner(&self, id: OwnerId) -> Result<Owner, AccessError> {
        if let Some(owner) = self.owner(&id).await? {
            return Ok(owner);
        }
        let owner = Owner {
            id,
            created_at_ms: self.0.clock.now_ms(),
        };
        self.0.rows.put(vec![row::owner_row(&owner)?]).await?;
        Ok(owner)
    }

    /// An owner, if it exists.
    ///
    /// # Errors
    /// When the store cannot be read.
    pub async fn owner(&self, id: &OwnerId) -> Result<Option<Owner>, AccessError> {
        let key = row::owner_key(id);
        let value = self.0.rows.get(&key).await?;
        value.map(|value| row::read_owner(&key, &value)).transpose()
    }

    /// All owners, in the order of their ids.
    ///
    /// # Errors
    /// When the store cannot be read.
    pub async fn owners(&self) -> Result<Vec<Owner>, AccessError> {
        let rows = self.0.rows.list(row::OWNERS).await?;
        let read = rows.iter().map(|(key, value)| row::read_owner(key, value));
        read.collect()
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
        if self.owner(owner).await?.is_none() {
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
        self.0.rows.put(row::key_rows(&key)?).await?;
        Ok(CreatedKey { id, secret })
    }

    /// The keys of an owner, or of all, in the order of their ids; expired and revoked ones too.
    ///
    /// # Errors
    /// When the store cannot be read.
    pub async fn keys(&self, owner: Option<&OwnerId>) -> Result<Vec<KeyInfo>, AccessError> {
        let Some(owner) = owner else {
            let rows = self.0.rows.list(row::KEYS).await?;
            let read = |(key, value): &row::Row| row::read_key(key, value).map(|key| key.info);
            return rows.iter().map(read).collect();
        };
        let prefix = row::index_prefix(owner);
        let mut keys = Vec::new();
        for (name, _) in self.0.rows.list(&prefix).await? {
            let id = row::after(&name, &prefix)?;
            keys.extend(self.read(&id).await?.map(|key| key.info));
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
        let mut key = self.read(id).await?.ok_or(AccessError::NoSuchKey(*id))?;
        if key.info.revoked_at_ms.is_some() {
            return Ok(());
        }
        key.info.revoked_at_ms = Some(self.0.clock.now_ms());
        {
            let mut revoking = self.0.revoking.lock();
            revoking.keys.insert(*id);
            revoking.changes += 1;
            self.0.cache.remove(id);
        }
        // Should the caller give up here, the key stays in the set, and so stays shut.
        self.0.rows.put(row::key_rows(&key)?).await?;
        let mut revoking = self.0.revoking.lock();
        revoking.keys.remove(id);
        revoking.changes += 1;
        Ok(())
    }

    /// Who presents a key, at a time in milliseconds since the Unix epoch.
    ///
    /// # Errors
    /// [`AccessError::Malformed`] for what is no key, [`AccessError::Unknown`] for one that does not exist,
    /// [`AccessError::Revoked`], [`AccessError::Expired`] (from the very millisecond of its expiry on); others when the
    /// store cannot be read.
    pub async fn authenticate(&self, secret: &str, now_ms: u64) -> Result<Principal, AccessError> {
        let (id, hash) = key::parse(secret).ok_or(AccessError::Malformed)?;
        let known = self.0.cache.get(&id);
        let fresh = self.0.fresh;
        let key = match known.filter(|k| fresh.is_none_or(|time| k.since.elapsed() < time)) {
            Some(known) => proven(known.key, &hash)?,
            None => self.load(&id, &hash).await?,
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
    async fn load(&self, id: &KeyId, hash: &KeyHash) -> Result<Arc<Key>, AccessError> {
        loop {
            let changes = self.0.revoking.lock().changes;
            let since = Instant::now();
            let key = self.read(id).await?.ok_or(AccessError::Unknown)?;
            let key = proven(Arc::new(key), hash)?;
            let revoking = self.0.revoking.lock();
            if revoking.keys.contains(id) {
                return Err(AccessError::Revoked);
            }
            // A key that was read before a revocation began or ended may be that one.
            if revoking.changes == changes {
                let known = Known {
                    key: Arc::clone(&key),
                    since,
                };
                self.0.cache.insert(*id, known);
                return Ok(key);
            }
        }
    }

    async fn read(&self, id: &KeyId) -> Result<Option<Key>, AccessError> {
        let key = row::key_key(id);
        let value = self.0.rows.get(&key).await?;
        value.map(|value| row::read_key(&key, &value)).transpose()
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
