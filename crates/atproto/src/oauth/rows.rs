//! What the authorisation server keeps, in one keyspace; a row's first byte tells its kind. All rows end by themselves.

use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use ues_oauth::AuthorizationRequest;
use ues_storage::{Batch, Keyspace, StorageError, Store};

/// A pushed request that waits for the owner.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct RequestRow {
    pub request: AuthorizationRequest,
    /// Thumbprint of the key by which the client showed who it is.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub client_key: Option<String>,
    /// Hash of the browser that opened it; another one cannot answer it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub browser: Option<String>,
}

/// A code that waits for the client.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct CodeRow {
    pub request: AuthorizationRequest,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub client_key: Option<String>,
    pub did: String,
}

/// Names a session: what a refresh token, or a code that was used, leads to.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct SessionName {
    pub did: String,
    pub session: String,
}

/// An application that an account's owner let in.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct SessionRow {
    pub client_id: String,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub client_name: Option<String>,
    /// What it may do, with permission sets written out.
    pub scope: String,
    /// What was asked for, if permission sets were: what they grant is looked up again at each refresh.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub asked: Option<String>,
    /// Thumbprint of the key that proves each request.
    pub thumbprint: String,
    /// Thumbprint of the key by which a confidential client shows who it is.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub client_key: Option<String>,
    pub created_ms: u64,
    pub refreshed_ms: u64,
    /// When it ends however often it is refreshed.
    pub ends_ms: u64,
    /// Hash of the refresh token that may be used; the earlier ones must not.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub refresh: Option<String>,
}

/// A browser in which somebody signed in.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub struct BrowserRow {
    pub accounts: Vec<SignedIn>,
}

/// An account in a browser.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct SignedIn {
    pub did: String,
    pub at_ms: u64,
}

/// The kinds of rows.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub enum Kind {
    /// Name of a request -> [`RequestRow`].
    Request = b'q',
    /// Hash of a code -> [`CodeRow`].
    Code = b'c',
    /// Hash of a used code -> [`SessionName`].
    UsedCode = b'u',
    /// DID, zero byte, name of a session -> [`SessionRow`].
    Session = b's',
    /// Hash of a refresh token -> [`SessionName`].
    Refresh = b'r',
    /// Hash of a cookie -> [`BrowserRow`].
    Browser = b'b',
    /// Hash of a cookie -> [`SignedIn`], who brought the right password, and not yet the code that it wants besides.
    HalfWay = b'h',
    /// DID -> when all its sign-ins to the pages ended, in milliseconds since 1970.
    Ended = b'e',
    /// DID, zero byte, id of a client -> what the owner allowed it once.
    Consent = b'a',
    /// NSID of a permission set -> its lexicon as it was last found.
    Set = b'l',
    /// Name of an assertion that was used -> nothing.
    Once = b'o',
}

/// The rows.
pub struct Rows(Keyspace);

impl Rows {
    pub fn open(store: &Store) -> Result<Self, StorageError> {
        Ok(Self(store.keyspace("oauth_rows")?))
    }

    pub fn get<T: DeserializeOwned>(
        &self,
        kind: Kind,
        key: &str,
    ) -> Result<Option<T>, StorageError> {
        let Some(row) = self.0.get(row_key(kind, key))? else {
            return Ok(None);
        };
        match serde_json::from_slice(&row) {
            Ok(row) => Ok(Some(row)),
            Err(cause) => {
                tracing::error!(?kind, %cause, "a row of the authorisation server is damaged");
                Ok(None)
            }
        }
    }

    pub fn has(&self, kind: Kind, key: &str) -> Result<bool, StorageError> {
        self.0.contains(row_key(kind, key))
    }

    pub fn put<T: Serialize>(
        &self,
        batch: &mut Batch,
        kind: Kind,
        key: &str,
        row: &T,
        ends_ms: u64,
    ) {
        // Plain values always serialise.
        let bytes = serde_json::to_vec(row).unwrap_or_default();
        batch.put_with_ttl(&self.0, row_key(kind, key), bytes, ends_ms);
    }

    pub fn delete(&self, batch: &mut Batch, kind: Kind, key: &str) {
        batch.delete(&self.0, row_key(kind, key));
    }

    /// Deletes all rows of a kind whose keys begin so.
    pub fn delete_all(
        &self,
        batch: &mut Batch,
        kind: Kind,
        start: &str,
    ) -> Result<(), StorageError> {
        for row in self.0.prefix(row_key(kind, start)) {
            batch.delete(&self.0, row?.0);
        }
        Ok(())
    }

    /// The sessions of an account, each with its name.
    pub fn sessions(&self, did: &str) -> Result<Vec<(String, SessionRow)>, StorageError> {
        let prefix = row_key(Kind::Session, &session_key(did, ""));
        let mut sessions = Vec::new();
        for row in self.0.prefix(&prefix) {
            let (key, value) = row?;
            let name = String::from_utf8_lossy(&key[prefix.len()..]).into_owned();
            if let Ok(row) = serde_json::from_slice(&value) {
                sessions.push((name, row));
            }
        }
        Ok(sessions)
    }
}

/// Key of a session's row.
pub fn session_key(did: &str, session: &str) -> String {
    format!("{did}\0{session}")
}

fn row_key(kind: Kind, key: &str) -> Vec<u8> {
    let mut bytes = Vec::with_capacity(1 + key.len());
    bytes.push(kind as u8);
    bytes.extend_from_slice(key.as_bytes());
    bytes
}
