//! What owners agreed to: codes for those who asked, and, for applications that can show who they are, what need not be
//! asked again.

use axum::response::Response;
use serde::{Deserialize, Serialize};
use ues_oauth::{OAuthError, hash_secret};
use ues_repo::syntax::Did;
use ues_storage::{Batch, StorageError};

use super::authorize::Opened;
use super::browser::Browser;
use super::page::redirect;
use super::rows::{CodeRow, Kind, session_key};
use super::{OAuth, fresh_secret, server_error};
use crate::context::Context;

/// For how long a code is good.
const CODE_MS: u64 = 60_000;
/// For how long an agreement is remembered without being used.
const REMEMBERED_MS: u64 = 730 * 86_400_000;
/// For how long a sign-in lets applications go on without a page.
const SILENT_MS: u64 = 7 * 86_400_000;

/// Scopes that an owner allowed an application once.
#[derive(Default, Serialize, Deserialize)]
struct ConsentRow {
    scopes: Vec<String>,
}

impl OAuth {
    fn consent(&self, did: &str, client_id: &str) -> Result<ConsentRow, OAuthError> {
        let key = session_key(did, client_id);
        let row = self.rows.get(Kind::Consent, &key).map_err(server_error)?;
        Ok(row.unwrap_or_default())
    }

    /// Whether an account signed in not long ago and has allowed all of a request before. Applications that cannot show
    /// who they are are never believed to be the same.
    pub(super) fn needs_no_page(
        &self,
        opened: &Opened,
        browser: &Browser,
        did: &str,
        now_ms: u64,
    ) -> Result<Silent, OAuthError> {
        let fresh = |at_ms| now_ms.saturating_sub(at_ms) < SILENT_MS;
        if !browser.since(did).is_some_and(fresh) {
            return Ok(Silent::SignIn);
        }
        if opened.row.client_key.is_none() {
            return Ok(Silent::Consent);
        }
        let known = self.consent(did, &opened.client.client_id)?;
        let mut asked = opened.request().scope.split(' ');
        match asked.all(|scope| known.scopes.iter().any(|known| known == scope)) {
            true => Ok(Silent::Nothing),
            false => Ok(Silent::Consent),
        }
    }

    /// Forgets what an account allowed an application; goes into `batch`.
    pub(super) fn forget(&self, batch: &mut Batch, did: &str, client_id: &str) {
        let key = session_key(did, client_id);
        self.rows.delete(batch, Kind::Consent, &key);
    }

    /// Forgets what an account allowed all applications; goes into `batch`.
    pub(super) fn forget_all(&self, batch: &mut Batch, did: &Did) -> Result<(), StorageError> {
        self.rows
            .delete_all(batch, Kind::Consent, &session_key(did.as_str(), ""))
    }
}

/// What is missing for an application to go on without a page.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Silent {
    /// Nothing.
    Nothing,
    /// The owner has to sign in again.
    SignIn,
    /// The owner has to agree.
    Consent,
}

/// Sends the browser back with a code for an account; the request is used up, and the agreement remembered.
pub async fn give_code(
    ctx: &Context,
    opened: &Opened,
    browser: &Browser,
    did: &str,
) -> Result<Response, OAuthError> {
    let oauth = &ctx.oauth;
    // Two clicks make one code.
    let _turn = match oauth.turn(&opened.name) {
        Some(turn) => Some(turn.lock().await),
        None => None,
    };
    let waits = oauth.rows.has(Kind::Request, &opened.name);
    if !waits.map_err(server_error)? {
        let why = "This request has been answered already.";
        return Err(OAuthError::request(why));
    }
    let (request, client_id) = (opened.request(), &opened.client.client_id);
    let code = fresh_secret()?;
    let row = CodeRow {
        request: request.clone(),
        client_key: opened.row.client_key.clone(),
        did: did.to_owned(),
    };
    let now_ms = ctx.now_ms();
    let mut batch = oauth.store.batch();
    oauth.rows.delete(&mut batch, Kind::Request, &opened.name);
    let hash = hash_secret(&code);
    oauth
        .rows
        .put(&mut batch, Kind::Code, &hash, &row, now_ms + CODE_MS);
    // Applications on the computer in front of somebody cannot be told from one another.
    if opened.row.client_key.is_some() {
        let mut known = oauth.consent(did, client_id)?;
        for scope in request.scope.split(' ') {
            if !known.scopes.iter().any(|known| known == scope) {
                known.scopes.push(scope.to_owned());
            }
        }
        let key = session_key(did, client_id);
        let until = now_ms + REMEMBERED_MS;
        oauth
            .rows
            .put(&mut batch, Kind::Consent, &key, &known, until);
    }
    oauth.store.commit(batch).await.map_err(server_error)?;
    let to = request.answer(&oauth.issuer, &[("code", &code)]);
    Ok(redirect(ctx, Some(browser), &to))
}
