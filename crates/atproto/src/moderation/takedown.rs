//! Records and blobs that the operator has taken down. They stay in the store and are not served.

use std::collections::HashSet;

use parking_lot::RwLock;
use ues_data::Cid;
use ues_repo::syntax::Did;
use ues_storage::{Batch, Keyspace, StorageError, Store};

const RECORD: u8 = b'r';
const BLOB: u8 = b'b';

/// What is taken down within a repository.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Target {
    /// The record at a path: `collection/rkey`.
    Record(String),
    /// A blob.
    Blob(Cid),
}

/// Why takedowns cannot be read.
#[derive(Debug, thiserror::Error)]
#[error(transparent)]
pub struct TakedownError(#[from] StorageError);

/// The takedowns of a node.
pub struct Takedowns {
    /// DID, zero byte, kind, path or CID -> reference.
    rows: Keyspace,
    /// Accounts that may have any: all others are served without a look at the rows.
    accounts: RwLock<HashSet<Did>>,
}

impl Takedowns {
    /// Opens the takedowns of a store.
    ///
    /// # Errors
    /// When the store fails.
    pub fn open(store: &Store) -> Result<Self, StorageError> {
        let rows = store.keyspace("takedowns")?;
        let mut accounts = HashSet::new();
        for row in rows.prefix([]) {
            let (key, _) = row?;
            let did = key.split(|byte| *byte == 0).next().unwrap_or_default();
            if let Some(did) = std::str::from_utf8(did)
                .ok()
                .and_then(|d| Did::parse(d).ok())
            {
                accounts.insert(did);
            }
        }
        Ok(Self {
            rows,
            accounts: RwLock::new(accounts),
        })
    }

    /// Whether an account may have takedowns within its repository.
    pub fn concern(&self, did: &Did) -> bool {
        let accounts = self.accounts.read();
        !accounts.is_empty() && accounts.contains(did)
    }

    /// Whether no account has any.
    pub fn is_empty(&self) -> bool {
        self.accounts.read().is_empty()
    }

    /// The reference of a takedown.
    ///
    /// # Errors
    /// When the store fails.
    pub fn get(&self, did: &Did, target: &Target) -> Result<Option<String>, TakedownError> {
        if !self.concern(did) {
            return Ok(None);
        }
        let row = self.rows.get(key(did, target))?;
        Ok(row.map(|row| String::from_utf8_lossy(&row).into_owned()))
    }

    /// Whether a record is taken down.
    ///
    /// # Errors
    /// When the store fails.
    pub fn hides_record(&self, did: &Did, path: &str) -> Result<bool, TakedownError> {
        Ok(self.concern(did) && self.get(did, &Target::Record(path.to_owned()))?.is_some())
    }

    /// The paths of the records of an account that are taken down.
    ///
    /// # Errors
    /// When the store fails.
    pub fn records(&self, did: &Did) -> Result<HashSet<String>, TakedownError> {
        let mut paths = HashSet::new();
        if self.concern(did) {
            let mut prefix = prefix(did);
            prefix.push(RECORD);
            for row in self.rows.prefix(&prefix) {
                let (key, _) = row?;
                let path = key.get(prefix.len()..).unwrap_or_default();
                paths.insert(String::from_utf8_lossy(path).into_owned());
            }
        }
        Ok(paths)
    }

    /// Takes down, with a reference, or gives back; goes into `batch`.
    pub fn set(&self, batch: &mut Batch, did: &Did, target: &Target, reference: Option<&str>) {
        match reference {
            Some(reference) => {
                // Before the commit: at worst a look at rows that are not there.
                self.accounts.write().insert(did.clone());
                batch.put(&self.rows, key(did, target), reference);
            }
            None => batch.delete(&self.rows, key(did, target)),
        }
    }

    /// Forgets all of an account; goes into `batch`.
    ///
    /// # Errors
    /// When the store fails.
    pub fn remove_all(&self, batch: &mut Batch, did: &Did) -> Result<(), StorageError> {
        for row in self.rows.prefix(prefix(did)) {
            batch.delete(&self.rows, row?.0);
        }
        Ok(())
    }
}

fn prefix(did: &Did) -> Vec<u8> {
    let mut key = did.as_str().as_bytes().to_vec();
    key.push(0);
    key
}

fn key(did: &Did, target: &Target) -> Vec<u8> {
    let mut key = prefix(did);
    match target {
        Target::Record(path) => {
            key.push(RECORD);
            key.extend_from_slice(path.as_bytes());
        }
        Target::Blob(cid) => {
            key.push(BLOB);
            key.extend_from_slice(cid.to_string().as_bytes());
        }
    }
    key
}
