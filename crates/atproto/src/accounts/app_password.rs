//! App passwords: what an owner gives to a program instead of the account's own password.

use serde::{Deserialize, Serialize};
use ues_repo::syntax::{Datetime, Did};
use ues_storage::{Batch, Keyspace, StorageError, Store};

use super::rows::{Damaged, json_row, row_key, to_json};
use super::seal::{Seal, SealError, random_text};

/// Groups and letters of an app password: 80 random bits.
const GROUPS: usize = 4;
const LETTERS: usize = 4;

/// An app password, as it is stored (JSON under DID, zero byte, name).
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct AppPassword {
    /// What its owner calls it.
    pub name: String,
    /// When it was made, RFC 3339.
    pub created_at: String,
    /// Whether programs with it may also read and write what is private, such as chats.
    pub privileged: bool,
    /// Keyed hash of the password. It is random, so that a fast hash is enough.
    hash: String,
}

/// Why app passwords cannot be read or made.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum AppPasswordError {
    /// The store failed.
    #[error(transparent)]
    Storage(#[from] StorageError),
    /// A row is not what was written.
    #[error(transparent)]
    Damaged(#[from] Damaged),
    /// No password can be made.
    #[error(transparent)]
    Seal(#[from] SealError),
}

/// The app passwords of all accounts.
pub struct AppPasswords {
    rows: Keyspace,
}

impl AppPasswords {
    /// Opens the app passwords of a store.
    ///
    /// # Errors
    /// When the store fails.
    pub fn open(store: &Store) -> Result<Self, StorageError> {
        Ok(Self {
            rows: store.keyspace("account_app_passwords")?,
        })
    }

    /// Makes an app password, its row going into `batch`; the text is told only now. `None` when
    /// there is one of that name.
    ///
    /// # Errors
    /// [`AppPasswordError`].
    pub fn make(
        &self,
        batch: &mut Batch,
        seal: &Seal,
        did: &Did,
        name: &str,
        privileged: bool,
    ) -> Result<Option<(AppPassword, String)>, AppPasswordError> {
        let key = row_key(did, name);
        if self.rows.contains(&key)? {
            return Ok(None);
        }
        let text = random_text(GROUPS, LETTERS)?;
        let password = AppPassword {
            name: name.to_owned(),
            created_at: Datetime::now().to_string(),
            privileged,
            hash: hash(seal, did, &text),
        };
        batch.put(&self.rows, key, to_json(&password));
        Ok(Some((password, text)))
    }

    /// All of an account, the newest first.
    ///
    /// # Errors
    /// [`AppPasswordError`].
    pub fn list(&self, did: &Did) -> Result<Vec<AppPassword>, AppPasswordError> {
        let mut all = Vec::new();
        for row in self.rows.prefix(row_key(did, "")) {
            let (key, value) = row?;
            all.push(json_row::<AppPassword>(&key, &value)?);
        }
        all.sort_by(|a, b| b.created_at.cmp(&a.created_at));
        Ok(all)
    }

    /// The app password that a text is.
    ///
    /// # Errors
    /// [`AppPasswordError`].
    pub fn find(
        &self,
        seal: &Seal,
        did: &Did,
        text: &str,
    ) -> Result<Option<AppPassword>, AppPasswordError> {
        let hash = hash(seal, did, text);
        Ok(self.list(did)?.into_iter().find(|p| p.hash == hash))
    }

    /// Removes one; goes into `batch`.
    pub fn remove(&self, batch: &mut Batch, did: &Did, name: &str) {
        batch.delete(&self.rows, row_key(did, name));
    }

    /// Removes all of an account; goes into `batch`.
    ///
    /// # Errors
    /// When the store fails.
    pub fn remove_all(&self, batch: &mut Batch, did: &Did) -> Result<(), StorageError> {
        for row in self.rows.prefix(row_key(did, "")) {
            batch.delete(&self.rows, row?.0);
        }
        Ok(())
    }
}

fn hash(seal: &Seal, did: &Did, text: &str) -> String {
    seal.hash(&["app password", did.as_str(), text])
}
