//! `com.atproto.server`: e-mail addresses and forgotten passwords.

use serde::Deserialize;
use serde_json::json;
use ues_repo::syntax::{Datetime, Did};

use crate::accounts::{Account, MAX_NEW_PASSWORD, Purpose, handle_rules};
use crate::context::Context;
use crate::lifecycle::{self, note};
use crate::limits::{
    REQUEST_MAIL, REQUEST_MAIL_DAY, REQUEST_RESET, REQUEST_RESET_DAY, RESET_PASSWORD,
};
use crate::moderation::Act;
use crate::xrpc::{Auth, Call, Method, Reply, XrpcError};

use super::mail_tokens::{send_token, take_token, token_error};

/// The methods of this file.
pub fn methods() -> [Method; 6] {
    [
        Method::new(
            "com.atproto.server.requestEmailConfirmation",
            Auth::Live,
            request_confirmation,
        ),
        Method::new("com.atproto.server.confirmEmail", Auth::Live, confirm),
        Method::new(
            "com.atproto.server.requestEmailUpdate",
            Auth::Full,
            request_update,
        ),
        Method::new("com.atproto.server.updateEmail", Auth::Full, update),
        Method::new(
            "com.atproto.server.requestPasswordReset",
            Auth::Open,
            request_reset,
        ),
        Method::new("com.atproto.server.resetPassword", Auth::Open, reset),
    ]
}

fn spend_mail(call: &Call, what: &str) -> Result<(), XrpcError> {
    let key = format!("{what} {}", call.did()?);
    call.spend(REQUEST_MAIL_DAY, &key, 1)?;
    call.spend(REQUEST_MAIL, &key, 1)
}

async fn request_confirmation(call: Call) -> Result<Reply, XrpcError> {
    spend_mail(&call, "confirm")?;
    let account = lifecycle::account(&call.ctx, call.did()?)?;
    let account = account.ok_or_else(|| XrpcError::invalid("account not found"))?;
    send_token(&call.ctx, &account, Purpose::ConfirmEmail).await?;
    Ok(Reply::Empty)
}

#[derive(Deserialize)]
struct ConfirmInput {
    email: String,
    token: String,
}

async fn confirm(mut call: Call) -> Result<Reply, XrpcError> {
    let input: ConfirmInput = call.take_input()?;
    let did = call.did()?.clone();
    let ctx = &call.ctx;
    let _turn = ctx.accounts.turn(&did).await;
    let before = lifecycle::account(ctx, &did)?;
    let before = before.ok_or_else(|| XrpcError::named("AccountNotFound", "user not found"))?;
    if before.email.as_deref() != Some(&input.email.to_lowercase()) {
        return Err(XrpcError::named("InvalidEmail", "invalid email"));
    }
    let mut batch = ctx.store.batch();
    take_token(ctx, &mut batch, &did, Purpose::ConfirmEmail, &input.token)?;
    let after = Account {
        email_confirmed_at: Some(Datetime::now().to_string()),
        ..(*before).clone()
    };
    ctx.accounts.put(&mut batch, &after, Some(&before));
    ctx.store.commit(batch).await.map_err(XrpcError::internal)?;
    ctx.accounts.written(after);
    Ok(Reply::Empty)
}

async fn request_update(call: Call) -> Result<Reply, XrpcError> {
    spend_mail(&call, "update")?;
    let account = lifecycle::account(&call.ctx, call.did()?)?;
    let account = account.ok_or_else(|| XrpcError::invalid("account not found"))?;
    if account.email.is_none() {
        return Err(XrpcError::invalid("account does not have an email address"));
    }
    let required = account.is_email_confirmed();
    if required {
        send_token(&call.ctx, &account, Purpose::UpdateEmail).await?;
    }
    Reply::json(&json!({ "tokenRequired": required }))
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct UpdateInput {
    email: String,
    email_auth_factor: Option<bool>,
    token: Option<String>,
}

async fn update(mut call: Call) -> Result<Reply, XrpcError> {
    let input: UpdateInput = call.take_input()?;
    let did = call.did()?.clone();
    if !handle_rules::is_email(&input.email) {
        return Err(XrpcError::invalid(
            "This email address is not supported, please use a different email.",
        ));
    }
    let ctx = &call.ctx;
    let account = lifecycle::account(ctx, &did)?;
    let account = account.ok_or_else(|| XrpcError::invalid("account not found"))?;
    let token = input.token.as_deref().filter(|token| !token.is_empty());
    if token.is_none() && account.is_email_confirmed() {
        let message = "confirmation token required";
        return Err(XrpcError::named("TokenRequired", message));
    }
    let change = EmailChange {
        email: &input.email,
        factor: input.email_auth_factor,
        token,
    };
    change_email(ctx, &did, change, None).await?;
    Ok(Reply::Empty)
}

/// A new address, or only another wish for codes at sign-in.
pub struct EmailChange<'a> {
    /// The address.
    pub email: &'a str,
    /// Whether sign-ins ask for a code that is sent to it; `None`: as before.
    pub factor: Option<bool>,
    /// The token that is used up.
    pub token: Option<&'a str>,
}

/// Gives an account another address, which is not confirmed, and ends all tokens that went to the
/// one before.
pub async fn change_email(
    ctx: &Context,
    did: &Did,
    change: EmailChange<'_>,
    act: Option<Act>,
) -> Result<(), XrpcError> {
    let email = change.email.to_lowercase();
    let in_use = || {
        XrpcError::invalid("This email address is already in use, please use a different email.")
    };
    let Some(_claim) = ctx.accounts.claim(vec![email.clone()]) else {
        return Err(in_use());
    };
    let _turn = ctx.accounts.turn(did).await;
    let before = lifecycle::account(ctx, did)?;
    let before = before.ok_or_else(|| XrpcError::invalid("account not found"))?;
    let holder = ctx.accounts.by_email(&email).map_err(XrpcError::internal)?;
    if holder.is_some_and(|holder| holder.did != *did) {
        return Err(in_use());
    }
    let mut batch = ctx.store.batch();
    if let Some(token) = change.token {
        take_token(ctx, &mut batch, did, Purpose::UpdateEmail, token)?;
    }
    let same = before.email.as_deref() == Some(&email);
    let confirmed = before.email_confirmed_at.clone();
    let after = Account {
        // Whoever only switches the codes has shown to read the address.
        email_confirmed_at: confirmed.filter(|_| same && change.factor.is_some()),
        email_factor: change.factor.unwrap_or(before.email_factor && same),
        email: Some(email),
        ..(*before).clone()
    };
    if after.email_factor && !after.is_email_confirmed() {
        return Err(XrpcError::invalid(
            "confirm your e-mail address before you have sign-in codes sent to it",
        ));
    }
    ctx.mail_tokens.remove_all(&mut batch, did);
    ctx.accounts.put(&mut batch, &after, Some(&before));
    note(ctx, &mut batch, act);
    ctx.store.commit(batch).await.map_err(XrpcError::internal)?;
    ctx.accounts.written(after);
    Ok(())
}

#[derive(Deserialize)]
struct RequestResetInput {
    email: String,
}

/// Answers the same whether there is an account or not, after the same work.
async fn request_reset(mut call: Call) -> Result<Reply, XrpcError> {
    call.spend_by_address(REQUEST_RESET_DAY)?;
    call.spend_by_address(REQUEST_RESET)?;
    let input: RequestResetInput = call.take_input()?;
    let ctx = &call.ctx;
    let account = ctx
        .accounts
        .by_email(&input.email)
        .map_err(XrpcError::internal)?;
    match account.filter(|account| !account.is_deleted()) {
        Some(account) => send_token(ctx, &account, Purpose::ResetPassword).await?,
        None => ctx
            .mail_tokens
            .make_for_nobody(&ctx.store, &ctx.seal, ctx.now_ms())
            .await
            .map_err(XrpcError::internal)?,
    }
    Ok(Reply::Empty)
}

#[derive(Deserialize)]
struct ResetInput {
    token: String,
    password: String,
}

async fn reset(mut call: Call) -> Result<Reply, XrpcError> {
    call.spend_by_address(RESET_PASSWORD)?;
    let input: ResetInput = call.take_input()?;
    let ctx = &call.ctx;
    let owner = ctx.mail_tokens.owner(&ctx.seal, &input.token);
    check_new_password(&input.password)?;
    let did = owner.map_err(token_error)?;
    change_password(ctx, &did, &input.password, Some(&input.token), None).await?;
    Ok(Reply::Empty)
}

/// Refuses what is no password for an account.
pub fn check_new_password(password: &str) -> Result<(), XrpcError> {
    match password.chars().count() {
        1..=MAX_NEW_PASSWORD => Ok(()),
        _ => Err(XrpcError::invalid("Invalid password length.")),
    }
}

/// Gives an account another password and ends its sessions.
pub async fn change_password(
    ctx: &Context,
    did: &Did,
    password: &str,
    token: Option<&str>,
    act: Option<Act>,
) -> Result<(), XrpcError> {
    let hash = ctx
        .passwords
        .hash(password)
        .await
        .map_err(XrpcError::internal)?;
    let _turn = ctx.accounts.turn(did).await;
    let before = lifecycle::account(ctx, did)?;
    let before = before.ok_or_else(|| XrpcError::invalid("Account not found"))?;
    let mut batch = ctx.store.batch();
    match token {
        Some(token) => take_token(ctx, &mut batch, did, Purpose::ResetPassword, token)?,
        None => ctx
            .mail_tokens
            .remove(&mut batch, did, Purpose::ResetPassword),
    }
    let after = Account {
        password: Some(hash),
        ..(*before).clone()
    };
    ctx.accounts.put(&mut batch, &after, Some(&before));
    lifecycle::end_sessions(ctx, &mut batch, did)?;
    note(ctx, &mut batch, act);
    ctx.store.commit(batch).await.map_err(XrpcError::internal)?;
    ctx.accounts.written(after);
    Ok(())
}
