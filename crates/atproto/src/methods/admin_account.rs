//! `com.atproto.admin`: accounts.

use serde::Deserialize;
use serde_json::{Value, json};
use ues_repo::syntax::AtIdentifier;

use crate::accounts::Account;
use crate::admin::find_accounts;
use crate::context::Context;
use crate::lifecycle::{self, note};
use crate::mail::Letter;
use crate::xrpc::{Auth, Call, Method, Reply, XrpcError};

use super::admin_act::{act, did};
use super::identity::change_handle_as;
use super::server_invites::{invite_json, invited_by, with_uses};
use super::server_mail::{EmailChange, change_email, change_password, check_new_password};

/// The methods of this file.
pub fn methods() -> [Method; 8] {
    [
        Method::new("com.atproto.admin.deleteAccount", Auth::Admin, delete),
        Method::new(
            "com.atproto.admin.getAccountInfo",
            Auth::Moderator,
            account_info,
        ),
        Method::new(
            "com.atproto.admin.getAccountInfos",
            Auth::Moderator,
            account_infos,
        ),
        Method::new("com.atproto.admin.searchAccounts", Auth::Moderator, search),
        Method::new("com.atproto.admin.sendEmail", Auth::Moderator, send_email),
        Method::new(
            "com.atproto.admin.updateAccountEmail",
            Auth::Admin,
            update_email,
        ),
        Method::new(
            "com.atproto.admin.updateAccountHandle",
            Auth::Admin,
            update_handle,
        ),
        Method::new(
            "com.atproto.admin.updateAccountPassword",
            Auth::Admin,
            update_password,
        ),
    ]
}

#[derive(Deserialize)]
struct DidInput {
    did: String,
}

async fn delete(mut call: Call) -> Result<Reply, XrpcError> {
    let input: DidInput = call.take_input()?;
    let did = did(&input.did)?;
    let act = act(&call, "deleteAccount", did.as_str(), Value::Null)?;
    lifecycle::delete(&call.ctx, &did, Some(act)).await?;
    Ok(Reply::Empty)
}

/// An account as those who administer the node see it.
fn account_view(ctx: &Context, account: &Account) -> Result<Value, XrpcError> {
    let invites = with_uses(ctx, account.did.as_str())?;
    let invites: Vec<_> = invites
        .iter()
        .map(|(invite, uses)| invite_json(invite, uses))
        .collect();
    let mut view = json!({
        "did": account.did,
        "handle": account.handle,
        "indexedAt": account.created_at,
        "invites": invites,
        "invitesDisabled": account.invites_disabled,
    });
    for (name, value) in [
        ("email", &account.email),
        ("emailConfirmedAt", &account.email_confirmed_at),
        ("deactivatedAt", &account.deactivated_at),
    ] {
        if let Some(value) = value {
            view[name] = value.as_str().into();
        }
    }
    if let Some(invited_by) = invited_by(ctx, account)? {
        view["invitedBy"] = invited_by;
    }
    Ok(view)
}

async fn account_info(call: Call) -> Result<Reply, XrpcError> {
    let account = lifecycle::account(&call.ctx, &did(call.params.required("did")?)?)?;
    let account = account.ok_or_else(|| XrpcError::named("NotFound", "Account not found"))?;
    Reply::json(&account_view(&call.ctx, &account)?)
}

async fn account_infos(call: Call) -> Result<Reply, XrpcError> {
    let mut infos = Vec::new();
    for text in call.params.texts("dids") {
        if let Some(account) = lifecycle::account(&call.ctx, &did(text)?)? {
            infos.push(account_view(&call.ctx, &account)?);
        }
    }
    Reply::json(&json!({ "infos": infos }))
}

/// By a part of the e-mail address, or all, in the order of the DIDs.
async fn search(call: Call) -> Result<Reply, XrpcError> {
    let limit = call.params.limit(50, 100);
    let part = call.params.text("email").map(str::to_lowercase);
    let after = call.params.text("cursor").map(str::to_owned);
    let found = find_accounts(&call.ctx, after, limit, move |account| {
        let email = account.email.as_deref().unwrap_or_default();
        part.as_deref().is_none_or(|part| email.contains(part))
    })
    .await?;
    let views = found
        .iter()
        .map(|account| account_view(&call.ctx, account))
        .collect::<Result<Vec<_>, _>>()?;
    let mut answer = json!({ "accounts": views });
    if let Some(last) = found.last().filter(|_| found.len() == limit) {
        answer["cursor"] = last.did.as_str().into();
    }
    Reply::json(&answer)
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct EmailInput {
    recipient_did: String,
    content: String,
    subject: Option<String>,
}

async fn send_email(mut call: Call) -> Result<Reply, XrpcError> {
    let input: EmailInput = call.take_input()?;
    let did = did(&input.recipient_did)?;
    let ctx = &call.ctx;
    let account = lifecycle::account(ctx, &did)?;
    let account = account.ok_or_else(|| XrpcError::invalid("Recipient not found"))?;
    let to = account.email.clone();
    let to = to.ok_or_else(|| XrpcError::invalid("account does not have an email address"))?;
    let subject = input.subject;
    let subject = subject.unwrap_or_else(|| "Message via your PDS".to_owned());
    let details = json!({ "subject": subject });
    let letter = Letter {
        to,
        subject,
        text: input.content,
    };
    let mut batch = ctx.store.batch();
    ctx.outbox
        .put(&mut batch, &ctx.seal, &letter, ctx.now_ms())
        .map_err(XrpcError::internal)?;
    let act = act(&call, "sendEmail", did.as_str(), details)?;
    note(ctx, &mut batch, Some(act));
    ctx.store.commit(batch).await.map_err(XrpcError::internal)?;
    ctx.outbox.committed();
    Reply::json(&json!({ "sent": true }))
}

#[derive(Deserialize)]
struct UpdateEmailInput {
    account: String,
    email: String,
}

async fn update_email(mut call: Call) -> Result<Reply, XrpcError> {
    let input: UpdateEmailInput = call.take_input()?;
    let ctx = &call.ctx;
    let id = AtIdentifier::parse(&input.account);
    let id = id.map_err(|e| XrpcError::invalid(e.to_string()))?;
    let account = ctx.accounts.by_identifier(&id);
    let account = account.map_err(XrpcError::internal)?;
    let account = account.filter(|account| !account.is_deleted());
    let account = account
        .ok_or_else(|| XrpcError::invalid(format!("Account does not exist: {}", input.account)))?;
    let details = json!({ "email": input.email });
    let act = act(&call, "updateAccountEmail", account.did.as_str(), details)?;
    let change = EmailChange {
        email: &input.email,
        factor: None,
        token: None,
    };
    change_email(ctx, &account.did, change, Some(act)).await?;
    Ok(Reply::Empty)
}

#[derive(Deserialize)]
struct UpdateHandleInput {
    did: String,
    handle: String,
}

async fn update_handle(mut call: Call) -> Result<Reply, XrpcError> {
    let input: UpdateHandleInput = call.take_input()?;
    let did = did(&input.did)?;
    let details = json!({ "handle": input.handle });
    let act = act(&call, "updateAccountHandle", did.as_str(), details)?;
    change_handle_as(&call.ctx, &did, &input.handle, Some(act)).await?;
    Ok(Reply::Empty)
}

#[derive(Deserialize)]
struct UpdatePasswordInput {
    did: String,
    password: String,
}

async fn update_password(mut call: Call) -> Result<Reply, XrpcError> {
    let input: UpdatePasswordInput = call.take_input()?;
    check_new_password(&input.password)?;
    let did = did(&input.did)?;
    let act = act(&call, "updateAccountPassword", did.as_str(), Value::Null)?;
    change_password(&call.ctx, &did, &input.password, None, Some(act)).await?;
    Ok(Reply::Empty)
}
