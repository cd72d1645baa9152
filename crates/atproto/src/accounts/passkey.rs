//! Passkeys (WebAuthn): public keys whose secret halves are in the owner's devices.

use data_encoding::BASE64URL_NOPAD;
use serde::{Deserialize, Serialize};
use ues_repo::syntax::{Datetime, Did};
use ues_storage::{Batch, Keyspace, StorageError, Store};
use webauthn_rs::prelude::Passkey;

use super::rows::{Damaged, json_row, row_key, to_json};

/// Passkeys of one account.
pub const MAX_PASSKEYS: usize = 20;
/// Longest name of a passkey, in characters.
pub const MAX_PASSKEY_NAME: usize = 60;

/// Why passkeys cannot be read.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum PasskeyError {
    /// The store failed.
    #[error(transparent)]
    Storage(#[from] StorageError),
    /// A row is not what was written.
    #[error(transparent)]
    Damaged(#[from] Damaged),
}

/// A passkey, as it is stored (JSON under DID, zero byte, credential id).
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct StoredPasskey {
    /// What its owner calls it.
    pub name: String,
    /// When it was added, RFC 3339.
    pub created_at: String,
    /// When somebody last signed in by it, RFC 3339.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub used_at: Option<String>,
    /// Its public key and counter.
    pub key: Passkey,
}

impl StoredPasskey {
    /// A new one.
    pub fn new(name: &str, key: Passkey) -> Self {
        Self {
            name: passkey_name(name),
            created_at: Datetime::now().to_string(),
            used_at: None,
            key,
        }
    }

    /// Its credential id in base64url, by which it is named in rows and forms.
    pub fn id(&self) -> String {
        BASE64URL_NOPAD.encode(self.key.cred_id())
    }
}

/// A name as it is kept: one line, not too long.
pub fn passkey_name(given: &str) -> String {
    let line = given.split_whitespace().collect::<Vec<_>>().join(" ");
    let name: String = line.chars().take(MAX_PASSKEY_NAME).collect();
    match name.is_empty() {
        true => "Passkey".to_owned(),
        false => name,
    }
}

/// The passkeys of all accounts.
pub struct Passkeys {
    /// DID, zero byte, credential id in base64url -> [`StoredPasskey`].
    rows: Keyspace,
    /// Credential id in base64url -> DID.
    owners: Keyspace,
}

impl Passkeys {
    /// Opens the passkeys of a store.
    ///
    /// # Errors
    /// When the store fails.
    pub fn open(store: &Store) -> Result<Self, StorageError> {
        Ok(Self {
            rows: store.keyspace("account_passkeys")?,
            owners: store.keyspace("account_passkey_owners")?,
        })
    }

    /// All of an account, in the order in which they were added.
    ///
    /// # Errors
    /// [`PasskeyError`].
    pub fn list(&self, did: &Did) -> Result<Vec<StoredPasskey>, PasskeyError> {
        let mut all = Vec::new();
        for row in self.rows.prefix(row_key(did, "")) {
            let (key, value) = row?;
            all.push(json_row::<StoredPasskey>(&key, &value)?);
        }
        all.sort_by(|a, b| a.created_at.cmp(&b.created_at));
        Ok(all)
    }

    /// One of an account, by its credential id in base64url.
    ///
    /// # Errors
    /// [`PasskeyError`].
    pub fn get(&self, did: &Did, id: &str) -> Result<Option<StoredPasskey>, PasskeyError> {
        let key = row_key(did, id);
        match self.rows.get(&key)? {
            Some(value) => Ok(Some(json_row(&key, &value)?)),
            None => Ok(None),
        }
    }

    /// Whose passkey a credential id in base64url names.
    ///
    /// # Errors
    /// [`PasskeyError`].
    pub fn owner(&self, id: &str) -> Result<Option<Did>, PasskeyError> {
        let owner = self.owners.get(id)?;
        let owner = owner.and_then(|did| Did::parse(std::str::from_utf8(&did).ok()?).ok());
        Ok(owner)
    }

    /// Puts one; goes into `batch`.
    pub fn put(&self, batch: &mut Batch, did: &Did, passkey: &StoredPasskey) {
        let id = passkey.id();
        batch.put(&self.rows, row_key(did, &id), to_json(passkey));
        batch.put(&self.owners, id, did.as_str());
    }

    /// Removes one; goes into `batch`.
    pub fn remove(&self, batch: &mut Batch, did: &Did, id: &str) {
        batch.delete(&self.rows, row_key(did, id));
        batch.delete(&self.owners, id);
    }

    /// Removes all of an account; goes into `batch`.
    ///
    /// # Errors
    /// [`PasskeyError`].
    pub fn remove_all(&self, batch: &mut Batch, did: &Did) -> Result<(), PasskeyError> {
        for passkey in self.list(did)? {
            self.remove(batch, did, &passkey.id());
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_one_short_line() {
        assert_eq!(passkey_name("  my\n phone "), "my phone");
        assert_eq!(passkey_name(" "), "Passkey");
        assert_eq!(passkey_name(&"é".repeat(100)).chars().count(), 60);
    }
}
