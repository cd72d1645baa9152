//! `com.atproto.server`: invite codes.

use serde::Deserialize;
use serde_json::{Value, json};
use ues_repo::syntax::Datetime;

use crate::accounts::{ADMIN, Account, Invite, InviteUse};
use crate::admin::{make_invites, new_code};
use crate::context::Context;
use crate::lifecycle;
use crate::xrpc::{Auth, Call, Method, Reply, XrpcError};

use super::admin_act::actor;

/// Codes that an account may have and not have given away.
const MAX_UNUSED: i64 = 5;
const DAY_MS: i64 = 24 * 3600 * 1000;

/// The methods of this file.
pub fn methods() -> [Method; 3] {
    [
        Method::new("com.atproto.server.createInviteCode", Auth::Admin, create),
        Method::new(
            "com.atproto.server.createInviteCodes",
            Auth::Admin,
            create_many,
        ),
        Method::new(
            "com.atproto.server.getAccountInviteCodes",
            Auth::Full,
            of_account,
        ),
    ]
}

/// A code as the protocol shows it.
pub fn invite_json(invite: &Invite, uses: &[InviteUse]) -> Value {
    let uses: Vec<_> = uses
        .iter()
        .map(|used| json!({ "usedBy": used.used_by, "usedAt": used.used_at }))
        .collect();
    json!({
        "code": invite.code,
        "available": invite.available,
        "disabled": invite.disabled,
        "forAccount": invite.for_account,
        "createdBy": invite.created_by,
        "createdAt": invite.created_at,
        "uses": uses,
    })
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct CreateInput {
    use_count: i64,
    for_account: Option<String>,
}

async fn create(mut call: Call) -> Result<Reply, XrpcError> {
    let input: CreateInput = call.take_input()?;
    let accounts = input.for_account.map(|account| vec![account]);
    let made = make_invites(&call.ctx, &actor(&call)?, accounts, 1, input.use_count).await?;
    let code = made.into_iter().flat_map(|(_, codes)| codes).next();
    Reply::json(&json!({ "code": code }))
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct CreateManyInput {
    code_count: usize,
    use_count: i64,
    for_accounts: Option<Vec<String>>,
}

async fn create_many(mut call: Call) -> Result<Reply, XrpcError> {
    let input: CreateManyInput = call.take_input()?;
    let actor = actor(&call)?;
    let (count, uses) = (input.code_count, input.use_count);
    let made = make_invites(&call.ctx, &actor, input.for_accounts, count, uses).await?;
    let codes: Vec<_> = made
        .iter()
        .map(|(account, codes)| json!({ "account": account, "codes": codes }))
        .collect();
    Reply::json(&json!({ "codes": codes }))
}

async fn of_account(call: Call) -> Result<Reply, XrpcError> {
    let did = call.did()?.clone();
    let ctx = &call.ctx;
    let include_used = call.params.flag("includeUsed");
    let _turn = ctx.accounts.turn(&did).await;
    let account = lifecycle::account(ctx, &did)?.filter(|account| account.is_active());
    let account = account.ok_or_else(|| XrpcError::named("NotFound", "Account not found"))?;
    let mut codes = with_uses(ctx, did.as_str())?;
    if call.params.flag("createAvailable")
        && ctx.config.invite_required
        && ctx.config.invite_interval_days > 0
    {
        codes.extend(make_due(ctx, &account, &codes).await?);
    }
    codes.retain(|(invite, uses)| {
        let used = i64::try_from(uses.len()).unwrap_or(i64::MAX) >= invite.available;
        !invite.disabled && (include_used || !used)
    });
    let codes: Vec<_> = codes
        .iter()
        .map(|(invite, uses)| invite_json(invite, uses))
        .collect();
    Reply::json(&json!({ "codes": codes }))
}

/// The codes that an account has, each with its uses.
pub fn with_uses(ctx: &Context, account: &str) -> Result<Vec<(Invite, Vec<InviteUse>)>, XrpcError> {
    let codes = ctx.invites.of_account(account);
    let codes = codes.map_err(XrpcError::internal)?.into_iter();
    codes
        .map(|invite| {
            let uses = ctx.invites.uses(&invite.code);
            Ok((invite, uses.map_err(XrpcError::internal)?))
        })
        .collect()
}

/// Makes the codes that an account has earned by the time it is here. One whose invites are disabled
/// gets them disabled.
async fn make_due(
    ctx: &Context,
    account: &Account,
    codes: &[(Invite, Vec<InviteUse>)],
) -> Result<Vec<(Invite, Vec<InviteUse>)>, XrpcError> {
    let own: Vec<_> = codes
        .iter()
        .filter(|(invite, _)| invite.created_by != ADMIN)
        .collect();
    let open = own
        .iter()
        .filter(|(invite, uses)| {
            !invite.disabled && i64::try_from(uses.len()).is_ok_and(|used| used < invite.available)
        })
        .count();
    let since = Datetime::parse(&account.created_at).map_err(XrpcError::internal)?;
    let days = i64::try_from(ctx.config.invite_interval_days).unwrap_or(i64::MAX);
    let age_ms = ctx.now_ms().cast_signed() - since.unix_millis();
    let earned = age_ms / days.saturating_mul(DAY_MS).max(1);
    let length = |n: usize| i64::try_from(n).unwrap_or(i64::MAX);
    let due = (MAX_UNUSED - length(open)).min(earned - length(own.len()));
    let mut made = Vec::new();
    let mut batch = ctx.store.batch();
    for _ in 0..due.max(0) {
        let invite = Invite {
            code: new_code(ctx)?,
            available: 1,
            disabled: account.invites_disabled,
            for_account: account.did.to_string(),
            created_by: account.did.to_string(),
            created_at: Datetime::now().to_string(),
        };
        ctx.invites.put(&mut batch, &invite);
        made.push((invite, Vec::new()));
    }
    if !made.is_empty() {
        ctx.store.commit(batch).await.map_err(XrpcError::internal)?;
    }
    Ok(made)
}

/// The code that an account was invited with, with its uses.
pub fn invited_by(ctx: &Context, account: &Account) -> Result<Option<Value>, XrpcError> {
    let Some(code) = &account.invite_code else {
        return Ok(None);
    };
    let Some(invite) = ctx.invites.get(code).map_err(XrpcError::internal)? else {
        return Ok(None);
    };
    let uses = ctx.invites.uses(code).map_err(XrpcError::internal)?;
    Ok(Some(invite_json(&invite, &uses)))
}
