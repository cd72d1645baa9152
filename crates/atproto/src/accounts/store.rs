//! The accounts of a node: rows, names, and a cache over them.

use std::collections::HashSet;
use std::hash::{BuildHasher, RandomState};
use std::ops::Bound;
use std::sync::Arc;

use parking_lot::Mutex;
use quick_cache::sync::Cache;
use ues_repo::syntax::{AtIdentifier, Did, Handle};
use ues_storage::{Batch, Keyspace, StorageError, Store};

use super::account::Account;

/// Accounts and handles kept in memory.
const CACHED: usize = 100_000;
/// Locks that all accounts share.
const TURNS: usize = 64;

/// Why accounts cannot be read.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum AccountError {
    /// The store failed.
    #[error(transparent)]
    Storage(#[from] StorageError),
    /// A row is not what was written.
    #[error("the account row of {key} is damaged: {reason}")]
    Damaged {
        /// Whose.
        key: String,
        /// What was found.
        reason: String,
    },
}

/// The accounts of a node. Writing goes through batches, so that an account's row lands together
/// with what belongs to it (repository, keys, events); [`Accounts::written`] follows the commit.
pub struct Accounts {
    /// DID -> [`Account`] as JSON.
    rows: Keyspace,
    /// Handle -> DID.
    handles: Keyspace,
    /// E-mail address -> DID.
    emails: Keyspace,
    cache: Cache<Did, Arc<Account>>,
    by_handle: Cache<Handle, Did>,
    claimed: Mutex<HashSet<String>>,
    turns: Vec<Arc<tokio::sync::Mutex<()>>>,
    hasher: RandomState,
}

impl Accounts {
    /// Opens the accounts of a store.
    pub fn open(store: &Store) -> Result<Self, StorageError> {
        Ok(Self {
            rows: store.keyspace("account_rows")?,
            handles: store.keyspace("account_handles")?,
            emails: store.keyspace("account_emails")?,
            cache: Cache::new(CACHED),
            by_handle: Cache::new(CACHED),
            claimed: Mutex::default(),
            turns: (0..TURNS).map(|_| Arc::default()).collect(),
            hasher: RandomState::new(),
        })
    }

    /// The account of a DID.
    pub fn by_did(&self, did: &Did) -> Result<Option<Arc<Account>>, AccountError> {
        if let Some(account) = self.cache.get(did) {
            return Ok(Some(account));
        }
        // The guard sees to it that a row read before a change is not cached after it.
        let guard = match self.cache.get_value_or_guard(did, None) {
            quick_cache::sync::GuardResult::Value(account) => return Ok(Some(account)),
            quick_cache::sync::GuardResult::Guard(guard) => guard,
            quick_cache::sync::GuardResult::Timeout => return self.read(did),
        };
        let Some(account) = self.read(did)? else {
            return Ok(None);
        };
        let _ = guard.insert(Arc::clone(&account));
        Ok(Some(account))
    }

    fn read(&self, did: &Did) -> Result<Option<Arc<Account>>, AccountError> {
        let Some(row) = self.rows.get(did.as_str())? else {
            return Ok(None);
        };
        serde_json::from_slice(&row)
            .map(|a| Some(Arc::new(a)))
            .map_err(|e| AccountError::Damaged {
                key: did.to_string(),
                reason: e.to_string(),
            })
    }

    /// The account that has a handle (in lower case).
    pub fn by_handle(&self, handle: &Handle) -> Result<Option<Arc<Account>>, AccountError> {
        if let Some(did) = self.by_handle.get(handle)
            && let Some(account) = self.by_did(&did)?
            && account.handle == *handle
        {
            return Ok(Some(account));
        }
        let Some(did) = name_row(&self.handles, handle.as_str())? else {
            return Ok(None);
        };
        let account = self.by_did(&did)?;
        if account.is_some() {
            self.by_handle.insert(handle.clone(), did);
        }
        Ok(account)
    }

    /// The account with an e-mail address, in any case.
    pub fn by_email(&self, email: &str) -> Result<Option<Arc<Account>>, AccountError> {
        match name_row(&self.emails, &email.to_lowercase())? {
            Some(did) => self.by_did(&did),
            None => Ok(None),
        }
    }

    /// The account of a DID or handle.
    pub fn by_identifier(&self, id: &AtIdentifier) -> Result<Option<Arc<Account>>, AccountError> {
        match id {
            AtIdentifier::Did(did) => self.by_did(did),
            AtIdentifier::Handle(handle) => self.by_handle(&handle.normalize()),
        }
    }

    /// Puts an account's rows into a batch; `before` is what they replace.
    pub fn put(&self, batch: &mut Batch, account: &Account, before: Option<&Account>) {
        if let Some(before) = before {
            if before.handle != account.handle {
                batch.delete(&self.handles, before.handle.as_str());
            }
            if let Some(email) = &before.email
                && account.email.as_ref() != Some(email)
            {
                batch.delete(&self.emails, email.as_str());
            }
        }
        // A row of plain strings always serialises.
        let row = serde_json::to_vec(account).unwrap_or_default();
        batch.put(&self.rows, account.did.as_str(), row);
        batch.put(&self.handles, account.handle.as_str(), account.did.as_str());
        if let Some(email) = &account.email {
            batch.put(&self.emails, email.as_str(), account.did.as_str());
        }
    }

    /// To be called when a batch with [`Accounts::put`] was committed.
    pub fn written(&self, account: Account) {
        self.by_handle
            .insert(account.handle.clone(), account.did.clone());
        self.cache.insert(account.did.clone(), Arc::new(account));
    }

    /// Takes names (handles, addresses) for the time between looking whether they are free and
    /// committing; `None` if somebody else is doing the same with one of them.
    pub fn claim(self: &Arc<Self>, names: Vec<String>) -> Option<Claim> {
        let mut claimed = self.claimed.lock();
        if names.iter().any(|n| claimed.contains(n)) {
            return None;
        }
        claimed.extend(names.iter().cloned());
        drop(claimed);
        Some(Claim {
            accounts: Arc::clone(self),
            names,
        })
    }

    /// Waits for one's turn to read an account's row, and write what follows from it.
    pub async fn turn(&self, did: &Did) -> Option<tokio::sync::OwnedMutexGuard<()>> {
        let turn = self.turns.get(self.hasher.hash_one(did) as usize % TURNS)?;
        Some(Arc::clone(turn).lock_owned().await)
    }

    /// Accounts in the order of their DIDs after one, at most `limit`; what is left of deleted ones
    /// too.
    pub fn page(
        &self,
        after: Option<&str>,
        limit: usize,
    ) -> Result<Vec<Arc<Account>>, AccountError> {
        let from = match after {
            Some(did) => Bound::Excluded(did),
            None => Bound::Unbounded,
        };
        let mut page = Vec::new();
        for row in self
            .rows
            .range::<&str>((from, Bound::Unbounded))
            .take(limit)
        {
            let (key, value) = row?;
            let account = serde_json::from_slice(&value).map_err(|e| AccountError::Damaged {
                key: String::from_utf8_lossy(&key).into_owned(),
                reason: e.to_string(),
            })?;
            page.push(Arc::new(account));
        }
        Ok(page)
    }

    /// Number of accounts; reads all keys.
    pub fn count(&self) -> Result<u64, StorageError> {
        let mut count = 0;
        for row in self.rows.prefix("") {
            row?;
            count += 1;
        }
        Ok(count)
    }
}

fn name_row(keyspace: &Keyspace, name: &str) -> Result<Option<Did>, AccountError> {
    let Some(row) = keyspace.get(name)? else {
        return Ok(None);
    };
    let damaged = |reason: String| AccountError::Damaged {
        key: name.to_owned(),
        reason,
    };
    let did = std::str::from_utf8(&row).map_err(|e| damaged(e.to_string()))?;
    Did::parse(did)
        .map(Some)
        .map_err(|e| damaged(e.to_string()))
}

/// Names that are taken until this is dropped.
pub struct Claim {
    accounts: Arc<Accounts>,
    names: Vec<String>,
}

impl Drop for Claim {
    fn drop(&mut self) {
        let mut claimed = self.accounts.claimed.lock();
        for name in &self.names {
            claimed.remove(name);
        }
    }
}
