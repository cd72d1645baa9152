//! Sessions: pairs of an access and a refresh token, and the rows that let one be ended.

use std::hash::{BuildHasher, RandomState};
use std::sync::Arc;

use data_encoding::{BASE64, HEXLOWER};
use quick_cache::sync::Cache;
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};
use tokio::sync::Mutex;
use ues_oauth::Permissions;
use ues_repo::syntax::Did;
use ues_storage::{Batch, CommitError, Keyspace, StorageError, Store};

use super::token::{Claims, Scope, TokenError, TokenSigner, TokenType};

/// How long a refresh token that was used stays good for the same successor, so that a client
/// whose answer got lost can ask again.
const GRACE_MS: u64 = 2 * 3600 * 1000;
/// Verified access tokens kept in memory.
const CACHED: usize = 50_000;
const LOCKS: usize = 64;

/// Why a session cannot be made or changed.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum SessionError {
    /// The store failed.
    #[error(transparent)]
    Storage(#[from] StorageError),
    /// The store did not take the write.
    #[error(transparent)]
    Commit(#[from] CommitError),
    /// A row is not what was written.
    #[error("a session row of {0} is damaged")]
    Damaged(String),
    /// The system has no random numbers.
    #[error("no random numbers: {0}")]
    Random(String),
}

/// The two tokens of a session.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TokenPair {
    /// For requests.
    pub access: String,
    /// For the next pair.
    pub refresh: String,
}

/// What a session may do, and by which password it was made.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Grant {
    /// What it may do.
    pub scope: Scope,
    /// Name of the app password; `None` for the account's own.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub app_password: Option<String>,
}

impl Grant {
    /// By the account's own password.
    pub fn own(scope: Scope) -> Self {
        Self {
            scope,
            app_password: None,
        }
    }
}

/// A session as its owner sees it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SessionInfo {
    /// What it is called; it opens nothing.
    pub id: String,
    /// What it may do.
    pub grant: Grant,
    /// When it began, in milliseconds since 1970.
    pub started_ms: u64,
    /// When it was last prolonged, in milliseconds since 1970.
    pub used_ms: u64,
    /// When it ends unless it is prolonged, in milliseconds since 1970.
    pub expires_at_ms: u64,
}

/// Row of a refresh token.
#[derive(Clone, Debug, Serialize, Deserialize)]
struct RefreshRow {
    expires_at_ms: u64,
    #[serde(flatten)]
    grant: Grant,
    /// The session that it belongs to, through all its refresh tokens.
    #[serde(default)]
    id: String,
    /// When the session began.
    #[serde(default)]
    started_ms: u64,
    /// When this token was made.
    #[serde(default)]
    used_ms: u64,
    /// The token that replaces it, once it was used.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    next: Option<String>,
}

/// What an application was granted by the account's owner.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Granted {
    /// The application.
    pub client_id: String,
    /// What it may do.
    pub permissions: Permissions,
}

/// Who makes a request, by an access token.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Session {
    /// Account.
    pub did: Did,
    /// What it may do.
    pub scope: Scope,
    /// When it ends, in seconds since 1970.
    pub expires_at_s: u64,
    /// What it was granted, if an application makes the request.
    pub granted: Option<Arc<Granted>>,
}

/// Sessions of a node.
pub struct Sessions {
    store: Store,
    signer: TokenSigner,
    /// DID, zero byte, token name -> [`RefreshRow`], gone when it expires.
    refresh: Keyspace,
    verified: Cache<Box<str>, Arc<Session>>,
    locks: Vec<Mutex<()>>,
    hasher: RandomState,
}

impl Sessions {
    /// Opens the sessions of a store.
    pub fn open(store: Store, signer: TokenSigner) -> Result<Self, StorageError> {
        Ok(Self {
            refresh: store.keyspace("session_refresh")?,
            store,
            signer,
            verified: Cache::new(CACHED),
            locks: (0..LOCKS).map(|_| Mutex::default()).collect(),
            hasher: RandomState::new(),
        })
    }

    /// Makes a session, its row going into `batch`.
    pub fn start(
        &self,
        batch: &mut Batch,
        did: &Did,
        grant: Grant,
        now_ms: u64,
    ) -> Result<TokenPair, SessionError> {
        let name = token_name()?;
        let row = RefreshRow {
            expires_at_ms: now_ms,
            grant,
            id: session_id(&name),
            started_ms: now_ms,
            used_ms: now_ms,
            next: None,
        };
        Ok(self.pair(batch, did, row, name, now_ms))
    }

    /// An access token that belongs to no session.
    pub fn access_only(&self, did: &Did, scope: Scope, now_ms: u64) -> String {
        self.signer.access(did.as_str(), scope, now_ms / 1000)
    }

    /// Makes a session and stores it.
    pub async fn start_now(
        &self,
        did: &Did,
        grant: Grant,
        now_ms: u64,
    ) -> Result<TokenPair, SessionError> {
        let mut batch = self.store.batch();
        let pair = self.start(&mut batch, did, grant, now_ms)?;
        self.store.commit(batch).await?;
        Ok(pair)
    }

    fn pair(
        &self,
        batch: &mut Batch,
        did: &Did,
        row: RefreshRow,
        name: String,
        now_ms: u64,
    ) -> TokenPair {
        let now_s = now_ms / 1000;
        let access = self.signer.access(did.as_str(), row.grant.scope, now_s);
        let key = row_key(did.as_str(), &name);
        let (refresh, claims) = self.signer.refresh(did.as_str(), name, now_s);
        let row = RefreshRow {
            expires_at_ms: claims.exp * 1000,
            ..row
        };
        self.put(batch, &key, &row);
        TokenPair { access, refresh }
    }

    fn put(&self, batch: &mut Batch, key: &[u8], row: &RefreshRow) {
        // Plain values always serialise.
        let bytes = serde_json::to_vec(row).unwrap_or_default();
        batch.put_with_ttl(&self.refresh, key, bytes, row.expires_at_ms);
    }

    fn get(&self, key: &[u8]) -> Result<Option<RefreshRow>, SessionError> {
        let Some(row) = self.refresh.get(key)? else {
            return Ok(None);
        };
        read_row(key, &row).map(Some)
    }

    /// Checks an access token.
    pub fn verify_access(&self, token: &str, now_s: u64) -> Result<Arc<Session>, TokenError> {
        if let Some(session) = self.verified.get(token) {
            if session.expires_at_s > now_s {
                return Ok(session);
            }
            self.verified.remove(token);
            return Err(TokenError::Expired);
        }
        let claims = self.signer.verify(token, TokenType::Access, now_s, false)?;
        let session = Arc::new(Session {
            did: Did::parse(&claims.sub).map_err(|_| TokenError::Malformed)?,
            scope: claims.scope,
            expires_at_s: claims.exp,
            granted: None,
        });
        self.verified.insert(token.into(), Arc::clone(&session));
        Ok(session)
    }

    /// Checks a refresh token's signature and time; whether it was ended is seen when it is used.
    pub fn verify_refresh(
        &self,
        token: &str,
        now_s: u64,
        allow_expired: bool,
    ) -> Result<Claims, TokenError> {
        self.signer
            .verify(token, TokenType::Refresh, now_s, allow_expired)
    }

    /// Uses a refresh token: a new pair, or `None` if the session was ended. Used again within the
    /// grace time it gives a refresh token of the same name.
    pub async fn rotate(
        &self,
        did: &Did,
        name: &str,
        now_ms: u64,
    ) -> Result<Option<TokenPair>, SessionError> {
        let key = row_key(did.as_str(), name);
        let lock = self.locks.get(self.hasher.hash_one(&key) as usize % LOCKS);
        let _turn = match lock {
            Some(lock) => Some(lock.lock().await),
            None => None,
        };
        let Some(mut row) = self.get(&key)? else {
            return Ok(None);
        };
        if row.expires_at_ms <= now_ms {
            return Ok(None);
        }
        let next = match row.next.take() {
            Some(next) => next,
            None => token_name()?,
        };
        row.expires_at_ms = row.expires_at_ms.min(now_ms + GRACE_MS);
        row.next = Some(next.clone());
        if row.id.is_empty() {
            row.id = session_id(name);
        }
        let successor = RefreshRow {
            used_ms: now_ms,
            next: None,
            ..row.clone()
        };
        let mut batch = self.store.batch();
        self.put(&mut batch, &key, &row);
        let pair = match self.get(&row_key(did.as_str(), &next))? {
            // Asked for again: the successor's own row, used or not, stays as it is.
            Some(_) => {
                let now_s = now_ms / 1000;
                TokenPair {
                    access: self.signer.access(did.as_str(), row.grant.scope, now_s),
                    refresh: self.signer.refresh(did.as_str(), next, now_s).0,
                }
            }
            None => self.pair(&mut batch, did, successor, next, now_ms),
        };
        self.store.commit(batch).await?;
        Ok(Some(pair))
    }

    /// Ends a session by one of its refresh tokens.
    pub async fn end(&self, did: &str, name: &str) -> Result<(), SessionError> {
        let key = row_key(did, name);
        let mut batch = self.store.batch();
        batch.delete(&self.refresh, &key);
        if let Some(row) = self.get(&key)?.filter(|row| !row.id.is_empty()) {
            self.end_where(&mut batch, did, |other| other.id == row.id)?;
        }
        self.store.commit(batch).await?;
        Ok(())
    }

    /// The sessions of an account, the newest first.
    pub fn list(&self, did: &Did, now_ms: u64) -> Result<Vec<SessionInfo>, SessionError> {
        let mut all = Vec::new();
        for row in self.refresh.prefix(row_key(did.as_str(), "")) {
            let (key, value) = row?;
            let row = read_row(&key, &value)?;
            // One that was used is on its way out; its successor is the session.
            if row.next.is_some() || row.expires_at_ms <= now_ms {
                continue;
            }
            all.push(SessionInfo {
                id: id_of(&row, &key),
                grant: row.grant,
                started_ms: row.started_ms,
                used_ms: row.used_ms,
                expires_at_ms: row.expires_at_ms,
            });
        }
        all.sort_by_key(|session| std::cmp::Reverse(session.started_ms));
        Ok(all)
    }

    /// Ends all sessions of an account; goes into `batch`.
    pub fn end_all(&self, batch: &mut Batch, did: &Did) -> Result<(), SessionError> {
        self.end_where(batch, did.as_str(), |_| true)
    }

    /// Ends the sessions made by an app password; goes into `batch`.
    pub fn end_by_app_password(
        &self,
        batch: &mut Batch,
        did: &Did,
        name: &str,
    ) -> Result<(), SessionError> {
        let by = |row: &RefreshRow| row.grant.app_password.as_deref() == Some(name);
        self.end_where(batch, did.as_str(), by)
    }

    /// Ends the session that [`list`](Self::list) calls so; goes into `batch`. Whether there was one.
    pub fn end_by_id(&self, batch: &mut Batch, did: &Did, id: &str) -> Result<bool, SessionError> {
        let mut found = false;
        for row in self.refresh.prefix(row_key(did.as_str(), "")) {
            let (key, value) = row?;
            if id_of(&read_row(&key, &value)?, &key) == id {
                batch.delete(&self.refresh, key);
                found = true;
            }
        }
        Ok(found)
    }

    fn end_where(
        &self,
        batch: &mut Batch,
        did: &str,
        ends: impl Fn(&RefreshRow) -> bool,
    ) -> Result<(), SessionError> {
        for row in self.refresh.prefix(row_key(did, "")) {
            let (key, value) = row?;
            if ends(&read_row(&key, &value)?) {
                batch.delete(&self.refresh, key);
            }
        }
        Ok(())
    }
}

fn read_row(key: &[u8], value: &[u8]) -> Result<RefreshRow, SessionError> {
    serde_json::from_slice(value)
        .map_err(|_| SessionError::Damaged(String::from_utf8_lossy(key).into_owned()))
}

/// What a session is called: a hash of its first refresh token's name.
fn session_id(name: &str) -> String {
    let hash = Sha256::digest(name.as_bytes());
    HEXLOWER.encode(&hash).chars().take(12).collect()
}

fn id_of(row: &RefreshRow, key: &[u8]) -> String {
    if !row.id.is_empty() {
        return row.id.clone();
    }
    let name = key.split(|byte| *byte == 0).nth(1).unwrap_or_default();
    session_id(&String::from_utf8_lossy(name))
}

fn row_key(did: &str, name: &str) -> Vec<u8> {
    let mut key = Vec::with_capacity(did.len() + 1 + name.len());
    key.extend_from_slice(did.as_bytes());
    key.push(0);
    key.extend_from_slice(name.as_bytes());
    key
}

fn token_name() -> Result<String, SessionError> {
    let mut bytes = [0; 32];
    getrandom::fill(&mut bytes).map_err(|e| SessionError::Random(e.to_string()))?;
    Ok(BASE64.encode(&bytes))
}
