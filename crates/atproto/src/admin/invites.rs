//! Invite codes: made, and made worthless.

use serde_json::{Value, json};
use ues_repo::syntax::{Datetime, Did};

use super::Actor;
use crate::accounts::{ADMIN, Account, Invite, random_text};
use crate::context::Context;
use crate::lifecycle::{self, note};
use crate::xrpc::XrpcError;

/// Codes that a person makes at one time.
pub const MAX_COUNT: i64 = 100;
/// Accounts that one code of theirs may be good for.
pub const MAX_USES: i64 = 1_000_000;
/// Most codes of one call.
const MAX_CODES: usize = 10_000;

/// A fresh code, with the node's name in front that nobody takes for a link.
pub fn new_code(ctx: &Context) -> Result<String, XrpcError> {
    let host = ctx.config.hostname().replace('.', "-");
    let random = random_text(2, 5).map_err(XrpcError::internal)?;
    Ok(format!("{host}-{random}"))
}

/// Makes codes for each of some accounts (DIDs), or for nobody in particular, each for `uses` accounts to
/// be made with.
///
/// # Errors
/// When that were too many, or nothing can be written.
pub async fn make_invites(
    ctx: &Context,
    actor: &Actor,
    accounts: Option<Vec<String>>,
    count: usize,
    uses: i64,
) -> Result<Vec<(String, Vec<String>)>, XrpcError> {
    let accounts = accounts.unwrap_or_else(|| vec![ADMIN.to_owned()]);
    if count.saturating_mul(accounts.len()) > MAX_CODES {
        let message = format!("Too many codes. Max: {MAX_CODES}");
        return Err(XrpcError::invalid(message));
    }
    let now = Datetime::now().to_string();
    let mut batch = ctx.store.batch();
    let mut made = Vec::with_capacity(accounts.len());
    for account in accounts {
        let mut codes = Vec::with_capacity(count);
        for _ in 0..count {
            let code = new_code(ctx)?;
            let invite = Invite {
                code: code.clone(),
                available: uses,
                disabled: false,
                for_account: account.clone(),
                created_by: ADMIN.to_owned(),
                created_at: now.clone(),
            };
            ctx.invites.put(&mut batch, &invite);
            codes.push(code);
        }
        let details = json!({ "codes": count, "uses": uses });
        let act = actor.act("createInviteCodes", &account, details);
        note(ctx, &mut batch, Some(act));
        made.push((account, codes));
    }
    ctx.store.commit(batch).await.map_err(XrpcError::internal)?;
    Ok(made)
}

/// Makes codes worthless: those named, and all that some accounts have. Codes that are not there count for nothing.
///
/// # Errors
/// When nothing can be read or written.
pub async fn disable_invites(
    ctx: &Context,
    actor: &Actor,
    codes: &[String],
    accounts: &[String],
) -> Result<(), XrpcError> {
    if accounts.iter().any(|account| account == ADMIN) {
        return Err(XrpcError::invalid("cannot disable admin invite codes"));
    }
    let mut invites: Vec<Invite> = Vec::new();
    for code in codes {
        invites.extend(ctx.invites.get(code).map_err(XrpcError::internal)?);
    }
    for account in accounts {
        let codes = ctx.invites.of_account(account);
        invites.extend(codes.map_err(XrpcError::internal)?);
    }
    let mut batch = ctx.store.batch();
    for invite in invites {
        let act = actor.act("disableInviteCodes", &invite.code, Value::Null);
        note(ctx, &mut batch, Some(act));
        let invite = Invite {
            disabled: true,
            ..invite
        };
        ctx.invites.put(&mut batch, &invite);
    }
    ctx.store.commit(batch).await.map_err(XrpcError::internal)?;
    Ok(())
}

/// Says whether an account gets invite codes to give away.
///
/// # Errors
/// When there is no such account, or nothing can be written.
pub async fn set_account_invites(
    ctx: &Context,
    actor: &Actor,
    did: &Did,
    disabled: bool,
    words: Option<String>,
) -> Result<(), XrpcError> {
    let _turn = ctx.accounts.turn(did).await;
    let before = lifecycle::account(ctx, did)?;
    let before = before.ok_or_else(|| XrpcError::invalid("Account not found"))?;
    let after = Account {
        invites_disabled: disabled,
        ..(*before).clone()
    };
    let what = match disabled {
        true => "disableAccountInvites",
        false => "enableAccountInvites",
    };
    let details = words.map_or(Value::Null, |words| json!({ "note": words }));
    let mut batch = ctx.store.batch();
    ctx.accounts.put(&mut batch, &after, Some(&before));
    let act = actor.act(what, did.as_str(), details);
    note(ctx, &mut batch, Some(act));
    ctx.store.commit(batch).await.map_err(XrpcError::internal)?;
    ctx.accounts.written(after);
    Ok(())
}
