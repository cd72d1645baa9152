//! `com.atproto.server.createAccount` and `reserveSigningKey`.

use serde::Deserialize;
use serde_json::{Value, json};
use ues_repo::crypto::{KeyKind, SigningKey};
use ues_repo::repo::event::LogEvent;
use ues_repo::repo::layout::Status;
use ues_repo::syntax::{Datetime, Did, Handle};

use crate::accounts::handle_rules::{self, Allowed};
use crate::accounts::{Account, Grant, InviteClaim, MAX_NEW_PASSWORD, Scope, TokenPair};
use crate::context::Context;
use crate::lifecycle;
use crate::limits::{CREATE_ACCOUNT, RESERVE_KEY};
use crate::xrpc::{Auth, Call, Caller, Method, Reply, XrpcError};

use super::prepare::write_error;
use super::server::{add_did_doc, session_json};

const DAY_MS: u64 = 24 * 3600 * 1000;
/// How long an account that moves here may take until it is activated, in milliseconds.
const MOVE_MS: u64 = 3 * DAY_MS;
/// How long a key is reserved, in milliseconds.
const RESERVED_MS: u64 = 7 * DAY_MS;

/// The methods of this file.
pub fn methods() -> [Method; 2] {
    [
        Method::new(
            "com.atproto.server.createAccount",
            Auth::DidHolder,
            create_account,
        ),
        Method::new(
            "com.atproto.server.reserveSigningKey",
            Auth::Open,
            reserve_signing_key,
        ),
    ]
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

/// What a new account asks for, found good.
struct Wanted<'a> {
    handle: Handle,
    email: String,
    password: &'a str,
    /// The DID of an account that moves here.
    did: Option<Did>,
    invite: Option<InviteClaim>,
}

async fn create_account(mut call: Call) -> Result<Reply, XrpcError> {
    call.spend_by_address(CREATE_ACCOUNT)?;
    let input: CreateAccountInput = call.take_input()?;
    let ctx = &call.ctx;
    let wanted = check_new_account(&call, &input).await?;
    let (handle, email) = (&wanted.handle, &wanted.email);
    let mut names = vec![handle.as_str().to_owned(), email.clone()];
    names.extend(wanted.did.as_ref().map(Did::to_string));
    let taken = || XrpcError::invalid(format!("Handle already taken: {handle}"));
    let Some(_claim) = ctx.accounts.claim(names) else {
        return Err(taken());
    };
    let by_handle = ctx.accounts.by_handle(handle);
    if by_handle.map_err(XrpcError::internal)?.is_some() {
        return Err(taken());
    }
    let by_email = ctx.accounts.by_email(email);
    if by_email.map_err(XrpcError::internal)?.is_some() {
        return Err(XrpcError::invalid(format!("Email already taken: {email}")));
    }
    if let Some(did) = &wanted.did {
        let holds = matches!(&call.caller, Caller::DidHolder(holder) if holder == did);
        if !holds {
            return Err(XrpcError::auth(format!(
                "Missing auth to create account with did: {did}"
            )));
        }
        if lifecycle::account(ctx, did)?.is_some() {
            return Err(XrpcError::invalid("Repo already exists"));
        }
    }
    let hash = ctx
        .passwords
        .hash(wanted.password)
        .await
        .map_err(XrpcError::internal)?;

    let key = signing_key(ctx, wanted.did.as_ref())?;
    let did = match &wanted.did {
        Some(did) => did.clone(),
        None => ctx
            .identities
            .create(handle, &key, input.recovery_key.as_deref())
            .await
            .map_err(|e| e.into_xrpc())?,
    };
    let mut account = Account {
        email: Some(email.clone()),
        password: Some(hash),
        invite_code: wanted.invite.as_ref().map(|i| i.invite.code.clone()),
        ..Account::new(did.clone(), handle.clone())
    };
    if wanted.did.is_some() {
        let until = ctx.now_ms().saturating_add(MOVE_MS).cast_signed();
        let until = Datetime::from_unix_millis(until).to_string();
        account = account.with_deactivation(Some(account.created_at.clone()), Some(until));
    }
    let mut answer = json!({ "handle": handle, "did": did });
    let pair = enter_account(ctx, account, key, wanted.invite).await?;
    let tokens = session_json(&pair);
    for name in ["accessJwt", "refreshJwt"] {
        answer[name] = tokens[name].clone();
    }
    add_did_doc(&call, &did, &mut answer).await;
    Reply::json(&answer)
}

/// The key that was reserved for a DID, or a new one.
fn signing_key(ctx: &Context, did: Option<&Did>) -> Result<SigningKey, XrpcError> {
    if let Some(did) = did
        && let Some(key) = ctx.reserved_keys.read(did).map_err(XrpcError::internal)?
    {
        return Ok(key);
    }
    SigningKey::generate(KeyKind::K256).map_err(XrpcError::internal)
}

/// Stores a new account with its key, its first commit and its first session, all in one batch. One
/// that is not active is not announced.
async fn enter_account(
    ctx: &Context,
    account: Account,
    key: SigningKey,
    invite: Option<InviteClaim>,
) -> Result<TokenPair, XrpcError> {
    let did = account.did.clone();
    let before = ctx.accounts.by_did(&did).map_err(XrpcError::internal)?;
    let mut batch = ctx.store.batch();
    ctx.accounts.put(&mut batch, &account, before.as_deref());
    if let Some(invite) = &invite {
        invite.enter(&mut batch, &did, &account.created_at);
    }
    let pair = ctx
        .sessions
        .start(&mut batch, &did, Grant::own(Scope::Access), ctx.now_ms())
        .map_err(XrpcError::internal)?;
    ctx.keys
        .put(&mut batch, &did, &key)
        .map_err(XrpcError::internal)?;
    ctx.reserved_keys.remove(&mut batch, &did);
    // An account that comes back begins anew: what it was before stays untold.
    let past = ctx.withheld.until(&did);
    let past = past.map(|_| ctx.store.log().last_durable());
    ctx.withheld.put(&mut batch, &did, past);
    let mut announce = Vec::new();
    if account.is_active() {
        let time = ctx.repos.now();
        announce.push(LogEvent::Identity {
            did: did.clone(),
            handle: Some(account.handle.clone()),
            time: time.clone(),
        });
        announce.push(LogEvent::Account {
            did: did.clone(),
            status: Status::Active,
            time,
        });
    }
    ctx.repos
        .create_as(&did, &key, batch, announce, account.status())
        .await
        .map_err(write_error)?;
    ctx.keys.written(&did, key);
    ctx.withheld.written(&did, past);
    ctx.accounts.written(account);
    Ok(pair)
}

/// What a new account asks for, as far as it can be judged without looking at other accounts.
async fn check_new_account<'a>(
    call: &Call,
    input: &'a CreateAccountInput,
) -> Result<Wanted<'a>, XrpcError> {
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
    let code = input.invite_code.as_deref().filter(|code| !code.is_empty());
    if config.invite_required && code.is_none() {
        let message = "No invite code provided";
        return Err(XrpcError::named("InvalidInviteCode", message));
    }
    let Some(email) = input.email.as_deref().filter(|email| !email.is_empty()) else {
        return Err(XrpcError::invalid("Email is required"));
    };
    if !handle_rules::is_email(email) {
        return Err(XrpcError::invalid(
            "This email address is not supported, please use a different email.",
        ));
    }
    let handle = match (handle_rules::check(config, &input.handle)?, &input.did) {
        (Allowed::Own(handle), _) => handle,
        (Allowed::Foreign(_), None) => {
            let message = "Not a supported handle domain";
            return Err(XrpcError::named("UnsupportedDomain", message));
        }
        (Allowed::Foreign(handle), Some(did)) => {
            let found = call.ctx.identities.resolve_handle(&handle).await.ok();
            if found.as_ref().map(Did::as_str) != Some(did) {
                return Err(XrpcError::invalid("External handle did not resolve to DID"));
            }
            handle
        }
    };
    let invite = match code {
        Some(code) => Some(claim_invite(&call.ctx, code)?),
        None => None,
    };
    let did = input.did.as_deref().map(Did::parse).transpose();
    let did = did.map_err(|e| XrpcError::invalid(e.to_string()))?;
    if password.is_empty() {
        return Err(XrpcError::named("InvalidPassword", "Password is required"));
    }
    Ok(Wanted {
        handle,
        email: email.to_lowercase(),
        password,
        did,
        invite,
    })
}

fn claim_invite(ctx: &Context, code: &str) -> Result<InviteClaim, XrpcError> {
    let claim = ctx.invites.reserve(code).map_err(XrpcError::internal)?;
    let usable = match &claim {
        // Who was taken down invites nobody.
        Some(claim) => match Did::parse(&claim.invite.for_account) {
            Ok(did) => ctx
                .accounts
                .by_did(&did)
                .map_err(XrpcError::internal)?
                .is_none_or(|account| !account.is_taken_down()),
            Err(_) => true,
        },
        None => false,
    };
    claim.filter(|_| usable).ok_or_else(|| {
        let message = "Provided invite code not available";
        XrpcError::named("InvalidInviteCode", message)
    })
}

#[derive(Deserialize)]
struct ReserveInput {
    did: Option<String>,
}

async fn reserve_signing_key(mut call: Call) -> Result<Reply, XrpcError> {
    call.spend_by_address(RESERVE_KEY)?;
    let input: ReserveInput = call.take_input()?;
    let ctx = &call.ctx;
    let did = input.did.as_deref().map(Did::parse).transpose();
    let did = did.map_err(|e| XrpcError::invalid(e.to_string()))?;
    if let Some(did) = &did
        && let Some(key) = ctx.reserved_keys.read(did).map_err(XrpcError::internal)?
    {
        return Reply::json(&json!({ "signingKey": key.did_key() }));
    }
    let key = SigningKey::generate(KeyKind::K256).map_err(XrpcError::internal)?;
    let own = Did::parse(&key.did_key()).map_err(XrpcError::internal)?;
    let until = ctx.now_ms().saturating_add(RESERVED_MS);
    let mut batch = ctx.store.batch();
    for name in did.iter().chain([&own]) {
        ctx.reserved_keys
            .put_until(&mut batch, name, &key, until)
            .map_err(XrpcError::internal)?;
    }
    ctx.store.commit(batch).await.map_err(XrpcError::internal)?;
    Reply::json(&json!({ "signingKey": key.did_key() }))
}
