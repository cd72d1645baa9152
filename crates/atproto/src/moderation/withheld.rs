//! Accounts whose past is not told any more: those that were taken down or deleted.

use std::collections::HashMap;

use parking_lot::RwLock;
use ues_repo::repo::event::{EventKind, LogEvent, kind_of};
use ues_repo::syntax::Did;
use ues_storage::{Batch, Event, Keyspace, StorageError, Store};

/// All of an account's past, and what may still come.
pub const EVERYTHING: u64 = u64::MAX;

/// Which commits of the event log are not sent to followers who start from a cursor.
pub struct Withheld {
    /// DID -> number of the last event that is withheld (u64, big endian).
    rows: Keyspace,
    until: RwLock<HashMap<Did, u64>>,
}

impl Withheld {
    /// Opens what is withheld in a store.
    ///
    /// # Errors
    /// When the store fails.
    pub fn open(store: &Store) -> Result<Self, StorageError> {
        let rows = store.keyspace("withheld_accounts")?;
        let mut until = HashMap::new();
        for row in rows.prefix([]) {
            let (key, value) = row?;
            let did = std::str::from_utf8(&key).ok();
            if let Some(did) = did.and_then(|did| Did::parse(did).ok()) {
                let last = value.as_ref().try_into().map(u64::from_be_bytes);
                until.insert(did, last.unwrap_or(EVERYTHING));
            }
        }
        Ok(Self {
            rows,
            until: RwLock::new(until),
        })
    }

    /// The last event of an account that is withheld.
    pub fn until(&self, did: &Did) -> Option<u64> {
        self.until.read().get(did).copied()
    }

    /// Puts into a batch up to which event an account's past is withheld, or that it is not.
    pub fn put(&self, batch: &mut Batch, did: &Did, until: Option<u64>) {
        match until {
            Some(seq) => batch.put(&self.rows, did.as_str(), seq.to_be_bytes()),
            None => batch.delete(&self.rows, did.as_str()),
        }
    }

    /// To be called when a batch with [`Withheld::put`] was committed.
    pub fn written(&self, did: &Did, until: Option<u64>) {
        let mut all = self.until.write();
        match until {
            Some(seq) => all.insert(did.clone(), seq),
            None => all.remove(did),
        };
    }

    /// Whether a follower is not sent an event. What tells of the account itself always is.
    pub fn covers(&self, event: &Event) -> bool {
        if self.until.read().is_empty()
            || !matches!(
                kind_of(&event.payload),
                Ok(EventKind::Commit | EventKind::Sync)
            )
        {
            return false;
        }
        match LogEvent::decode(&event.payload) {
            Ok(decoded) => self
                .until(decoded.did())
                .is_some_and(|seq| event.seq <= seq),
            Err(_) => false,
        }
    }
}
