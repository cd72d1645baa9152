//! The token end point: a code or a refresh token for an access token (RFC 6749 section 4.1.3 and 6).

use ues_oauth::{ErrorCode, OAuthError, hash_secret};
use ues_repo::repo::layout::Status;
use ues_repo::syntax::Did;

use super::clients::Caller;
use super::rows::{CodeRow, Kind, SessionName};
use super::sessions::TokenAnswer;
use super::{OAuth, server_error};
use crate::context::Context;

/// A token request: its parameters, who makes it, and the thumbprint of the key that proves it.
pub struct Grant<'a> {
    pub pairs: &'a [(String, String)],
    pub caller: Caller,
    pub thumbprint: String,
    pub now_ms: u64,
}

impl Grant<'_> {
    fn value(&self, name: &str) -> Option<&str> {
        let pair = self.pairs.iter().find(|(known, _)| known == name);
        pair.map(|(_, value)| value.as_str())
    }
}

impl OAuth {
    /// Answers a token request.
    pub(super) async fn grant(
        &self,
        ctx: &Context,
        grant: Grant<'_>,
    ) -> Result<TokenAnswer, OAuthError> {
        match grant.value("grant_type") {
            Some("authorization_code") => self.grant_code(ctx, &grant).await,
            Some("refresh_token") => self.grant_refresh(ctx, &grant).await,
            None => Err(OAuthError::request("grant_type is missing")),
            Some(_) => Err(OAuthError::new(
                ErrorCode::UnsupportedGrantType,
                "grant_type must be authorization_code or refresh_token",
            )),
        }
    }

    async fn grant_code(
        &self,
        ctx: &Context,
        grant: &Grant<'_>,
    ) -> Result<TokenAnswer, OAuthError> {
        let code = grant
            .value("code")
            .ok_or_else(|| OAuthError::request("code is missing"))?;
        let hash = hash_secret(code);
        let _turn = match self.turn(&hash) {
            Some(turn) => Some(turn.lock().await),
            None => None,
        };
        let row: Option<CodeRow> = self.rows.get(Kind::Code, &hash).map_err(server_error)?;
        let Some(row) = row else {
            // Who uses a code again has stolen it, or it was stolen before: its session ends (RFC 6749 section 4.1.2).
            let used: Option<SessionName> =
                self.rows.get(Kind::UsedCode, &hash).map_err(server_error)?;
            if let Some(name) = used {
                tracing::warn!(
                    did = name.did,
                    "a code was used twice: its session is ended"
                );
                self.end(&name).await?;
                return Err(OAuthError::grant(
                    "the code was used before: its session is ended",
                ));
            }
            return Err(OAuthError::grant("the code is unknown or has expired"));
        };
        // Whatever is wrong from here on, the code is used up.
        let fits = self.check_code(grant, &row);
        if let Err(e) = fits {
            let mut batch = self.store.batch();
            self.rows.delete(&mut batch, Kind::Code, &hash);
            self.store.commit(batch).await.map_err(server_error)?;
            return Err(e);
        }
        must_be_active(ctx, &row.did)?;
        let scope = self.expanded(ctx, &row.request.scope).await?;
        let client = &grant.caller.client;
        self.begin(code, &row, scope, client, &grant.thumbprint, grant.now_ms)
            .await
    }

    fn check_code(&self, grant: &Grant<'_>, row: &CodeRow) -> Result<(), OAuthError> {
        grant
            .caller
            .must_be(&row.request.client_id, row.client_key.as_deref())?;
        if grant.value("redirect_uri") != Some(row.request.redirect_uri.as_str()) {
            return Err(OAuthError::grant(
                "redirect_uri is not the one of the request",
            ));
        }
        row.request.challenge.verify(grant.value("code_verifier"))?;
        if row
            .request
            .dpop_jkt
            .as_ref()
            .is_some_and(|jkt| *jkt != grant.thumbprint)
        {
            return Err(OAuthError::grant(
                "the DPoP key is not the one of the request",
            ));
        }
        Ok(())
    }

    async fn grant_refresh(
        &self,
        ctx: &Context,
        grant: &Grant<'_>,
    ) -> Result<TokenAnswer, OAuthError> {
        let token = grant.value("refresh_token");
        let token = token.ok_or_else(|| OAuthError::request("refresh_token is missing"))?;
        let hash = hash_secret(token);
        let name: Option<SessionName> =
            self.rows.get(Kind::Refresh, &hash).map_err(server_error)?;
        let name =
            name.ok_or_else(|| OAuthError::grant("the refresh token is unknown or has expired"))?;
        let _turn = match self.turn(&name.session) {
            Some(turn) => Some(turn.lock().await),
            None => None,
        };
        let ended = || OAuthError::grant("the session has ended");
        let session = self.session(&name)?.ok_or_else(ended)?;
        grant
            .caller
            .must_be(&session.client_id, session.client_key.as_deref())?;
        if session.thumbprint != grant.thumbprint {
            return Err(OAuthError::grant(
                "the DPoP key is not the one of the session",
            ));
        }
        if session.refresh.as_ref() != Some(&hash) {
            // One of two who have it is a thief (RFC 9700 section 4.14).
            tracing::warn!(
                did = name.did,
                client = session.client_id,
                "a refresh token was used twice: its session is ended"
            );
            self.end(&name).await?;
            return Err(OAuthError::grant(
                "the refresh token was used before: its session is ended",
            ));
        }
        if session.ends_ms <= grant.now_ms {
            return Err(ended());
        }
        must_be_active(ctx, &name.did)?;
        let mut session = session;
        if let Some(asked) = &session.asked {
            match self.expanded(ctx, asked).await {
                Ok(scope) => session.scope = scope,
                Err(cause) => {
                    tracing::warn!(%cause, client = session.client_id, "permission sets stay as they were");
                }
            }
        }
        self.go_on(&name, session, grant.now_ms).await
    }
}

fn must_be_active(ctx: &Context, did: &str) -> Result<(), OAuthError> {
    let did = Did::parse(did).map_err(server_error)?;
    let account = ctx.accounts.by_did(&did).map_err(server_error)?;
    match account {
        Some(account) if !account.is_taken_down() && account.status() != Status::Deleted => Ok(()),
        _ => Err(OAuthError::grant("the account is not there any more")),
    }
}
