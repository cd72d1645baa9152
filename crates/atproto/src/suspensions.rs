//! Accounts that the operator has suspended: until when, so that it ends by itself.

use ues_repo::syntax::{Datetime, Did};
use ues_storage::{Batch, Keyspace, StorageError, Store};

use crate::accounts::{Account, Suspension};

/// The terms of all suspensions that have one.
pub struct Suspensions {
    /// End (milliseconds since 1970, u64, big endian), DID -> nothing.
    rows: Keyspace,
}

impl Suspensions {
    /// Opens the terms of a store.
    ///
    /// # Errors
    /// When the store fails.
    pub fn open(store: &Store) -> Result<Self, StorageError> {
        let rows = store.keyspace("suspensions")?;
        Ok(Self { rows })
    }

    /// Puts the term of a changed account in the place of the one before; goes into `batch`.
    pub fn put(&self, batch: &mut Batch, before: &Account, after: &Account) {
        let key = |account: &Account| {
            let ends = ends_ms(account.suspension.as_ref()?)?;
            let mut key = ends.to_be_bytes().to_vec();
            key.extend_from_slice(account.did.as_str().as_bytes());
            Some(key)
        };
        if let Some(key) = key(before) {
            batch.delete(&self.rows, key);
        }
        if let Some(key) = key(after) {
            batch.put(&self.rows, key, []);
        }
    }

    /// The accounts whose term is over at a time, in milliseconds since 1970.
    ///
    /// # Errors
    /// When the store fails.
    pub fn due(&self, now_ms: u64) -> Result<Vec<Did>, StorageError> {
        let mut due = Vec::new();
        for row in self.rows.prefix([]) {
            let (key, _) = row?;
            let Some((ends, did)) = key.split_first_chunk::<8>() else {
                continue;
            };
            if u64::from_be_bytes(*ends) > now_ms {
                break;
            }
            let did = std::str::from_utf8(did).ok();
            due.extend(did.and_then(|did| Did::parse(did).ok()));
        }
        Ok(due)
    }
}

/// When a suspension ends, in milliseconds since 1970; `None`: not by itself.
#[must_use]
pub fn ends_ms(suspension: &Suspension) -> Option<u64> {
    let until = Datetime::parse(suspension.until.as_deref()?).ok()?;
    u64::try_from(until.unix_millis()).ok()
}
