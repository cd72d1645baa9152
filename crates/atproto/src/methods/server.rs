//! `com.atproto.server`: the server itself, and sessions.

use serde::Deserialize;
use serde_json::{Value, json};
use ues_repo::repo::layout::Status;
use ues_repo::syntax::{AtIdentifier, Did};

use crate::accounts::{Account, Grant, MAX_OLD_PASSWORD, Scope, TokenPair};
use crate::factors;
use crate::limits::{CREATE_SESSION, CREATE_SESSION_DAY, SECOND_FACTOR, limit_key};
use crate::xrpc::{Auth, Call, Method, Reply, XrpcError};

/// The methods of this file.
pub fn methods() -> [Method; 5] {
    [
        Method::new(
            "com.atproto.server.describeServer",
            Auth::Open,
            describe_server,
        ),
        Method::new(
            "com.atproto.server.createSession",
            Auth::Open,
            create_session,
        ),
        Method::new("com.atproto.server.getSession", Auth::Session, get_session),
        Method::new(
            "com.atproto.server.refreshSession",
            Auth::Refresh,
            refresh_session,
        ),
        Method::new(
            "com.atproto.server.deleteSession",
            Auth::RefreshOrExpired,
            delete_session,
        ),
    ]
}

async fn describe_server(call: Call) -> Result<Reply, XrpcError> {
    let config = &call.ctx.config;
    let mut links = json!({});
    if let Some(url) = &config.privacy_policy_url {
        links["privacyPolicy"] = url.as_str().into();
    }
    if let Some(url) = &config.terms_of_service_url {
        links["termsOfService"] = url.as_str().into();
    }
    let mut contact = json!({});
    if let Some(email) = &config.contact_email {
        contact["email"] = email.as_str().into();
    }
    Reply::json(&json!({
        "did": call.ctx.service_did,
        "availableUserDomains": config.handle_domains,
        "inviteCodeRequired": config.invite_required,
        "blobUploadLimit": config.sizes.blob,
        "links": links,
        "contact": contact,
    }))
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct CreateSessionInput {
    identifier: String,
    password: String,
    auth_factor_token: Option<String>,
    #[serde(default)]
    allow_takendown: bool,
}

async fn create_session(mut call: Call) -> Result<Reply, XrpcError> {
    let input: CreateSessionInput = call.take_input()?;
    if call.is_limited() {
        let identifier: String = input.identifier.chars().take(320).collect();
        let key = format!("{identifier}-{}", limit_key(call.client));
        call.spend(CREATE_SESSION_DAY, &key, 1)?;
        call.spend(CREATE_SESSION, &key, 1)?;
    }
    if input.password.chars().count() > MAX_OLD_PASSWORD {
        return Err(XrpcError::auth(
            "Password too long. Consider resetting your password.",
        ));
    }
    let ctx = &call.ctx;
    let identifier = input.identifier.to_lowercase();
    let account = if identifier.contains('@') {
        ctx.accounts
            .by_email(&identifier)
            .map_err(XrpcError::internal)?
    } else {
        match AtIdentifier::parse(&identifier) {
            Ok(id) => ctx
                .accounts
                .by_identifier(&id)
                .map_err(XrpcError::internal)?,
            Err(_) => None,
        }
    };
    let account = account.filter(|a| !a.is_deleted());
    let stored = account.as_ref().and_then(|a| a.password.as_deref());
    let same = ctx
        .passwords
        .verify(&input.password, stored)
        .await
        .map_err(XrpcError::internal)?;
    let mut grant = Grant::own(Scope::Access);
    let known = match &account {
        _ if same => true,
        // Whoever was taken down comes in by their own password only.
        Some(account) if !account.is_taken_down() => {
            let found = ctx
                .app_passwords
                .find(&ctx.seal, &account.did, &input.password)
                .map_err(XrpcError::internal)?;
            let is_known = found.is_some();
            if let Some(app_password) = found {
                grant.scope = match app_password.privileged {
                    true => Scope::AppPassPrivileged,
                    false => Scope::AppPass,
                };
                grant.app_password = Some(app_password.name);
            }
            is_known
        }
        _ => false,
    };
    let Some(account) = account.filter(|_| known) else {
        return Err(XrpcError::auth("Invalid identifier or password"));
    };
    if grant.app_password.is_none() {
        let given = input.auth_factor_token.as_deref();
        let spend = || call.spend(SECOND_FACTOR, account.did.as_str(), 1);
        factors::check(ctx, &account, given, spend).await?;
    }
    let now = ctx.now_ms();
    let pair = if account.is_taken_down() {
        if !input.allow_takendown {
            let message = "Account has been taken down";
            return Err(XrpcError::auth_named("AccountTakedown", message));
        }
        // Its refresh token is not kept, so that the session ends by itself.
        let mut unused = ctx.store.batch();
        let grant = Grant::own(Scope::Takendown);
        ctx.sessions.start(&mut unused, &account.did, grant, now)
    } else {
        ctx.sessions.start_now(&account.did, grant, now).await
    };
    let mut answer = session_json(&pair.map_err(XrpcError::internal)?);
    add_account(&account, &mut answer);
    add_did_doc(&call, &account.did, &mut answer).await;
    Reply::json(&answer)
}

async fn get_session(call: Call) -> Result<Reply, XrpcError> {
    let did = call.did()?;
    let account = call.ctx.accounts.by_did(did).map_err(XrpcError::internal)?;
    let account = account
        .filter(|a| !a.is_taken_down() && a.status() != Status::Deleted)
        .ok_or_else(|| no_account(did))?;
    let mut answer = json!({});
    add_account(&account, &mut answer);
    let granted = call.session()?.granted.as_ref();
    if granted.is_some_and(|g| !g.permissions.allows_account("email", false))
        && let Some(answer) = answer.as_object_mut()
    {
        answer.retain(|name, _| !name.starts_with("email"));
    }
    add_did_doc(&call, did, &mut answer).await;
    Reply::json(&answer)
}

async fn refresh_session(call: Call) -> Result<Reply, XrpcError> {
    let token = call.refresh_token()?;
    let did = Did::parse(&token.sub).map_err(XrpcError::internal)?;
    let account = call
        .ctx
        .accounts
        .by_did(&did)
        .map_err(XrpcError::internal)?;
    let account = account
        .filter(|a| a.status() != Status::Deleted)
        .ok_or_else(|| no_account(&did))?;
    if account.is_taken_down() {
        return Err(XrpcError::auth_named(
            "AccountTakedown",
            "Account has been taken down",
        ));
    }
    let name = token.jti.as_deref().unwrap_or_default();
    let pair = call
        .ctx
        .sessions
        .rotate(&did, name, call.ctx.now_ms())
        .await
        .map_err(XrpcError::internal)?
        .ok_or_else(|| XrpcError::named("ExpiredToken", "Token has been revoked"))?;
    let mut answer = session_json(&pair);
    add_account(&account, &mut answer);
    add_did_doc(&call, &did, &mut answer).await;
    Reply::json(&answer)
}

async fn delete_session(call: Call) -> Result<Reply, XrpcError> {
    let token = call.refresh_token()?;
    let name = token.jti.as_deref().unwrap_or_default();
    call.ctx
        .sessions
        .end(&token.sub, name)
        .await
        .map_err(XrpcError::internal)?;
    Ok(Reply::Empty)
}

fn no_account(did: &Did) -> XrpcError {
    XrpcError::invalid(format!("Could not find user info for account: {did}"))
}

pub(super) fn session_json(pair: &TokenPair) -> Value {
    json!({ "accessJwt": pair.access, "refreshJwt": pair.refresh })
}

fn add_account(account: &Account, answer: &mut Value) {
    answer["did"] = account.did.as_str().into();
    answer["handle"] = account.handle.as_str().into();
    if let Some(email) = &account.email {
        answer["email"] = email.as_str().into();
    }
    answer["emailConfirmed"] = account.is_email_confirmed().into();
    if account.email_factor {
        answer["emailAuthFactor"] = true.into();
    }
    answer["active"] = account.is_active().into();
    if let Some(status) = account.status().name() {
        answer["status"] = status.into();
    }
}

/// Adds the DID document, by which a client finds where the account is hosted. An answer goes out
/// without it when it cannot be had.
pub(super) async fn add_did_doc(call: &Call, did: &Did, answer: &mut Value) {
    match call.ctx.identities.did_document(did).await {
        Ok(document) => answer["didDoc"] = json!(document),
        Err(cause) => tracing::warn!(%did, %cause, "no DID document"),
    }
}
