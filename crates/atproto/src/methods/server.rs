//! `com.atproto.server`: accounts and sessions.

use serde::Deserialize;
use serde_json::{Value, json};
use ues_repo::crypto::{KeyKind, SigningKey};
use ues_repo::repo::event::LogEvent;
use ues_repo::repo::layout::Status;
use ues_repo::syntax::{AtIdentifier, Datetime, Did, Handle};

use crate::accounts::handle_rules::{self, Allowed};
use crate::accounts::{Account, MAX_NEW_PASSWORD, MAX_OLD_PASSWORD, Scope, TokenPair};
use crate::limits::{CREATE_ACCOUNT, CREATE_SESSION, CREATE_SESSION_DAY, limit_key};
use crate::xrpc::{Auth, Call, Method, Reply, XrpcError};

use super::prepare::write_error;

/// The methods of this file.
pub fn methods() -> [Method; 6] {
    [
        Method::new(
            "com.atproto.server.describeServer",
            Auth::Open,
            describe_server,
        ),
        Method::new(
            "com.atproto.server.createAccount",
            Auth::Open,
            create_account,
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
struct CreateAccountInput {
    email: Option<String>,
    handle: String,
    did: Option<String>,
    invite_code: Option<String>,
    password: Option<String>,
    recovery_key: Option<String>,
    plc_op: Option<Value>,
}

async fn create_account(mut call: Call) -> Result<Reply, XrpcError> {
    call.spend_by_address(CREATE_ACCOUNT)?;
    let input: CreateAccountInput = call.take_input()?;
    let ctx = &call.ctx;
    let (handle, email, password) = check_new_account(&call, &input)?;
    let names = vec![handle.as_str().to_owned(), email.clone()];
    let taken = || XrpcError::invalid(format!("Handle already taken: {handle}"));
    let Some(_claim) = ctx.accounts.claim(names) else {
        return Err(taken());
    };
    if ctx
        .accounts
        .by_handle(&handle)
        .map_err(XrpcError::internal)?
        .is_some()
    {
        return Err(taken());
    }
    if ctx
        .accounts
        .by_email(&email)
        .map_err(XrpcError::internal)?
        .is_some()
    {
        return Err(XrpcError::invalid(format!("Email already taken: {email}")));
    }
    let hash = ctx
        .passwords
        .hash(password)
        .await
        .map_err(XrpcError::internal)?;

    let key = SigningKey::generate(KeyKind::K256).map_err(XrpcError::internal)?;
    let did = ctx
        .identities
        .create(&handle, &key, input.recovery_key.as_deref())
        .await
        .map_err(|e| e.into_xrpc())?;
    let account = Account {
        did: did.clone(),
        handle: handle.clone(),
        email: Some(email),
        email_confirmed: false,
        password: Some(hash),
        created_at: Datetime::now().to_string(),
        status: None,
    };
    let pair = enter_account(&call, account, key).await?;
    let mut answer = session_json(&pair);
    answer["handle"] = handle.as_str().into();
    answer["did"] = did.as_str().into();
    add_did_doc(&call, &did, &mut answer).await;
    Reply::json(&answer)
}

/// Stores a new account with its key, its first commit and its first session, all in one batch.
async fn enter_account(
    call: &Call,
    account: Account,
    key: SigningKey,
) -> Result<TokenPair, XrpcError> {
    let ctx = &call.ctx;
    let did = account.did.clone();
    let mut batch = ctx.store.batch();
    ctx.accounts.put(&mut batch, &account, None);
    let pair = ctx
        .sessions
        .start(&mut batch, &did, Scope::Access, ctx.now_ms())
        .map_err(XrpcError::internal)?;
    ctx.keys
        .put(&mut batch, &did, &key)
        .map_err(XrpcError::internal)?;
    let time = ctx.repos.now();
    let announce = vec![
        LogEvent::Identity {
            did: did.clone(),
            handle: Some(account.handle.clone()),
            time: time.clone(),
        },
        LogEvent::Account {
            did: did.clone(),
            status: Status::Active,
            time,
        },
    ];
    ctx.repos
        .create(&did, &key, batch, announce)
        .await
        .map_err(write_error)?;
    ctx.keys.written(&did, key);
    ctx.accounts.written(account);
    Ok(pair)
}

/// What a new account asks for, as far as it can be judged without looking at others.
fn check_new_account<'a>(
    call: &Call,
    input: &'a CreateAccountInput,
) -> Result<(Handle, String, &'a str), XrpcError> {
    let config = &call.ctx.config;
    if input.plc_op.is_some() {
        return Err(XrpcError::invalid("Unsupported input: \"plcOp\""));
    }
    let password = input.password.as_deref().unwrap_or_default();
    if password.chars().count() > MAX_NEW_PASSWORD {
        let message =
            format!("Password too long. Maximum length is {MAX_NEW_PASSWORD} characters.");
        return Err(XrpcError::invalid(message));
    }
    if config.invite_required {
        let message = match input.invite_code {
            None => "No invite code provided",
            Some(_) => "Provided invite code not available",
        };
        return Err(XrpcError::named("InvalidInviteCode", message));
    }
    let Some(email) = &input.email else {
        return Err(XrpcError::invalid("Email is required"));
    };
    if !handle_rules::is_email(email) {
        return Err(XrpcError::invalid(
            "This email address is not supported, please use a different email.",
        ));
    }
    let handle = match handle_rules::check(config, &input.handle)? {
        Allowed::Own(handle) => handle,
        Allowed::Foreign(_) if input.did.is_none() => {
            let message = "Not a supported handle domain";
            return Err(XrpcError::named("UnsupportedDomain", message));
        }
        Allowed::Foreign(handle) => handle,
    };
    if let Some(did) = &input.did {
        return Err(XrpcError::auth(format!(
            "Missing auth to create account with did: {did}"
        )));
    }
    if password.is_empty() {
        return Err(XrpcError::named("InvalidPassword", "Password is required"));
    }
    Ok((handle, email.to_lowercase(), password))
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct CreateSessionInput {
    identifier: String,
    password: String,
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
    let account = account.filter(|a| a.status() != Status::Deleted);
    let stored = account.as_ref().and_then(|a| a.password.as_deref());
    let same = ctx
        .passwords
        .verify(&input.password, stored)
        .await
        .map_err(XrpcError::internal)?;
    let Some(account) = account.filter(|_| same) else {
        return Err(XrpcError::auth("Invalid identifier or password"));
    };
    let now = ctx.now_ms();
    let pair = if account.is_taken_down() {
        if !input.allow_takendown {
            let message = "Account has been taken down";
            return Err(XrpcError::auth_named("AccountTakedown", message));
        }
        // Its refresh token is not kept, so that the session ends by itself.
        let mut unused = ctx.store.batch();
        ctx.sessions
            .start(&mut unused, &account.did, Scope::Takendown, now)
    } else {
        ctx.sessions
            .start_now(&account.did, Scope::Access, now)
            .await
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

fn session_json(pair: &TokenPair) -> Value {
    json!({ "accessJwt": pair.access, "refreshJwt": pair.refresh })
}

fn add_account(account: &Account, answer: &mut Value) {
    answer["did"] = account.did.as_str().into();
    answer["handle"] = account.handle.as_str().into();
    if let Some(email) = &account.email {
        answer["email"] = email.as_str().into();
    }
    answer["emailConfirmed"] = account.email_confirmed.into();
    answer["active"] = account.is_active().into();
    if let Some(status) = account.status().name() {
        answer["status"] = status.into();
    }
}

/// Adds the DID document, by which a client finds where the account is hosted. An answer goes out
/// without it when it cannot be had.
async fn add_did_doc(call: &Call, did: &Did, answer: &mut Value) {
    match call.ctx.identities.did_document(did).await {
        Ok(document) => answer["didDoc"] = json!(document),
        Err(cause) => tracing::warn!(%did, %cause, "no DID document"),
    }
}
