//! The sessions of applications: begun by a code, kept by refresh tokens, ended by whoever may.

use serde::Serialize;
use ues_oauth::{ACCESS_LIFETIME_S, ClientMetadata, OAuthError, TokenFor, hash_secret};
use ues_repo::syntax::Did;
use ues_storage::{Batch, StorageError};

use super::rows::{CodeRow, Kind, SessionName, SessionRow, session_key};
use super::{OAuth, fresh_secret, server_error};

const DAY_MS: u64 = 86_400_000;
/// Longest session of a client that cannot show who it is.
const PUBLIC_SESSION_MS: u64 = 14 * DAY_MS;
/// Longest session of one that can.
const CONFIDENTIAL_SESSION_MS: u64 = 730 * DAY_MS;
/// Longest time between two refreshes of a confidential client.
const CONFIDENTIAL_REFRESH_MS: u64 = 180 * DAY_MS;
/// For how long the use of a code is remembered, to notice another.
const USED_CODE_MS: u64 = 3_600_000;

/// The answer to a token request (RFC 6749 section 5.1).
#[derive(Debug, Serialize)]
pub struct TokenAnswer {
    access_token: String,
    token_type: &'static str,
    #[serde(skip_serializing_if = "Option::is_none")]
    refresh_token: Option<String>,
    expires_in: u64,
    scope: String,
    sub: String,
}

/// An application that may use an account, for its owner to see.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct ConnectedApp {
    /// Names the session.
    pub session: String,
    /// Id of the client.
    pub client_id: String,
    /// What it calls itself.
    pub client_name: Option<String>,
    /// What it may do.
    pub scope: String,
    /// When it was let in, in milliseconds since 1970.
    pub created_ms: u64,
    /// When it was heard of last.
    pub refreshed_ms: u64,
    /// When it ends.
    pub ends_ms: u64,
}

impl OAuth {
    /// Begins the session of a code; the code is used up in the same batch. `scope` is what it may do, with permission
    /// sets written out.
    pub(super) async fn begin(
        &self,
        code: &str,
        row: &CodeRow,
        scope: String,
        client: &ClientMetadata,
        thumbprint: &str,
        now_ms: u64,
    ) -> Result<TokenAnswer, OAuthError> {
        let may_refresh = client.may_refresh();
        let confidential = row.client_key.is_some();
        let longest = if confidential {
            CONFIDENTIAL_SESSION_MS
        } else {
            PUBLIC_SESSION_MS
        };
        let without_refresh = now_ms + ACCESS_LIFETIME_S * 1000;
        let mut session = SessionRow {
            client_id: row.request.client_id.clone(),
            client_name: client.name(),
            asked: (scope != row.request.scope).then(|| row.request.scope.clone()),
            scope,
            thumbprint: thumbprint.to_owned(),
            client_key: row.client_key.clone(),
            created_ms: now_ms,
            refreshed_ms: now_ms,
            ends_ms: if may_refresh {
                now_ms + longest
            } else {
                without_refresh
            },
            refresh: None,
        };
        let name = SessionName {
            did: row.did.clone(),
            session: fresh_secret()?,
        };
        let mut batch = self.store.batch();
        let hash = hash_secret(code);
        self.rows.delete(&mut batch, Kind::Code, &hash);
        self.rows.put(
            &mut batch,
            Kind::UsedCode,
            &hash,
            &name,
            now_ms + USED_CODE_MS,
        );
        self.give(batch, &name, &mut session, may_refresh, now_ms)
            .await
    }

    /// Goes on with a session: a new refresh token in place of the one that was used.
    pub(super) async fn go_on(
        &self,
        name: &SessionName,
        mut session: SessionRow,
        now_ms: u64,
    ) -> Result<TokenAnswer, OAuthError> {
        let batch = self.store.batch();
        self.give(batch, name, &mut session, true, now_ms).await
    }

    async fn give(
        &self,
        mut batch: Batch,
        name: &SessionName,
        session: &mut SessionRow,
        may_refresh: bool,
        now_ms: u64,
    ) -> Result<TokenAnswer, OAuthError> {
        let refresh = may_refresh.then(fresh_secret).transpose()?;
        session.refresh = refresh.as_deref().map(hash_secret);
        session.refreshed_ms = now_ms;
        let silent = match session.client_key {
            Some(_) => now_ms + CONFIDENTIAL_REFRESH_MS,
            None => session.ends_ms,
        };
        let ends_ms = session.ends_ms.min(silent);
        let key = session_key(&name.did, &name.session);
        self.rows
            .put(&mut batch, Kind::Session, &key, session, ends_ms);
        if let Some(hash) = &session.refresh {
            // It stays until the session ends, so that its second use is noticed.
            self.rows
                .put(&mut batch, Kind::Refresh, hash, name, session.ends_ms);
        }
        self.store.commit(batch).await.map_err(server_error)?;
        let token = TokenFor {
            did: &name.did,
            client_id: &session.client_id,
            scope: session.asked.as_ref().unwrap_or(&session.scope),
            session: &name.session,
            thumbprint: &session.thumbprint,
        };
        Ok(TokenAnswer {
            access_token: self.tokens.issue(token, fresh_secret()?, now_ms / 1000),
            token_type: "DPoP",
            refresh_token: refresh,
            expires_in: ACCESS_LIFETIME_S,
            scope: session.scope.clone(),
            sub: name.did.clone(),
        })
    }

    /// The session of a name, unless it has ended.
    pub(super) fn session(&self, name: &SessionName) -> Result<Option<SessionRow>, OAuthError> {
        let key = session_key(&name.did, &name.session);
        self.rows.get(Kind::Session, &key).map_err(server_error)
    }

    /// Ends a session because its owner wishes so: what they agreed to is forgotten, too.
    pub(super) async fn end_and_forget(&self, name: &SessionName) -> Result<(), OAuthError> {
        let Some(session) = self.session(name)? else {
            return Ok(());
        };
        let mut batch = self.store.batch();
        let key = session_key(&name.did, &name.session);
        self.rows.delete(&mut batch, Kind::Session, &key);
        self.forget(&mut batch, &name.did, &session.client_id);
        self.store.commit(batch).await.map_err(server_error)?;
        Ok(())
    }

    /// Ends a session: its access tokens are refused from now on.
    pub(super) async fn end(&self, name: &SessionName) -> Result<(), OAuthError> {
        let mut batch = self.store.batch();
        let key = session_key(&name.did, &name.session);
        self.rows.delete(&mut batch, Kind::Session, &key);
        self.store.commit(batch).await.map_err(server_error)?;
        Ok(())
    }

    /// The applications that may use an account.
    pub fn connected_apps(&self, did: &Did) -> Result<Vec<ConnectedApp>, StorageError> {
        let sessions = self.rows.sessions(did.as_str())?;
        let mut apps: Vec<_> = sessions
            .into_iter()
            .map(|(session, row)| ConnectedApp {
                session,
                client_id: row.client_id,
                client_name: row.client_name,
                scope: row.scope,
                created_ms: row.created_ms,
                refreshed_ms: row.refreshed_ms,
                ends_ms: row.ends_ms,
            })
            .collect();
        apps.sort_by_key(|app| std::cmp::Reverse(app.refreshed_ms));
        Ok(apps)
    }

    /// Ends the sessions of all applications of an account; goes into `batch`.
    pub fn end_all(&self, batch: &mut Batch, did: &Did) -> Result<(), StorageError> {
        for (session, _) in self.rows.sessions(did.as_str())? {
            let key = session_key(did.as_str(), &session);
            self.rows.delete(batch, Kind::Session, &key);
        }
        self.forget_all(batch, did)
    }
}
