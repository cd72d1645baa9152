//! `com.atproto.admin`: invite codes.

use serde::Deserialize;
use serde_json::json;
use ues_repo::syntax::Datetime;

use crate::accounts::{InviteOrder, Place};
use crate::admin::{disable_invites, set_account_invites};
use crate::xrpc::{Auth, Call, Method, Reply, XrpcError};

use super::admin_act::{actor, did};
use super::server_invites::invite_json;

/// The methods of this file.
pub fn methods() -> [Method; 4] {
    [
        Method::new(
            "com.atproto.admin.disableAccountInvites",
            Auth::Moderator,
            disable_account,
        ),
        Method::new(
            "com.atproto.admin.enableAccountInvites",
            Auth::Moderator,
            enable_account,
        ),
        Method::new(
            "com.atproto.admin.disableInviteCodes",
            Auth::Moderator,
            disable_codes,
        ),
        Method::new("com.atproto.admin.getInviteCodes", Auth::Moderator, list),
    ]
}

#[derive(Deserialize)]
struct AccountInput {
    account: String,
    note: Option<String>,
}

async fn disable_account(call: Call) -> Result<Reply, XrpcError> {
    set_disabled(call, true).await
}

async fn enable_account(call: Call) -> Result<Reply, XrpcError> {
    set_disabled(call, false).await
}

async fn set_disabled(mut call: Call, disabled: bool) -> Result<Reply, XrpcError> {
    let input: AccountInput = call.take_input()?;
    let did = did(&input.account)?;
    set_account_invites(&call.ctx, &actor(&call)?, &did, disabled, input.note).await?;
    Ok(Reply::Empty)
}

#[derive(Deserialize)]
struct CodesInput {
    #[serde(default)]
    codes: Vec<String>,
    #[serde(default)]
    accounts: Vec<String>,
}

async fn disable_codes(mut call: Call) -> Result<Reply, XrpcError> {
    let input: CodesInput = call.take_input()?;
    disable_invites(&call.ctx, &actor(&call)?, &input.codes, &input.accounts).await?;
    Ok(Reply::Empty)
}

async fn list(call: Call) -> Result<Reply, XrpcError> {
    let order = match call.params.text("sort").unwrap_or("recent") {
        "recent" => InviteOrder::Recent,
        "usage" => InviteOrder::Usage,
        other => return Err(XrpcError::invalid(format!("unknown sort method: {other}"))),
    };
    let limit = call.params.limit(100, 500);
    let after = call.params.text("cursor").map(|text| place(order, text));
    let after = after.transpose()?;
    let invites = std::sync::Arc::clone(&call.ctx.invites);
    let page = tokio::task::spawn_blocking(move || invites.list(order, after.as_ref(), limit));
    let page = page
        .await
        .map_err(XrpcError::internal)?
        .map_err(XrpcError::internal)?;
    let codes: Vec<_> = page
        .iter()
        .map(|(_, invite, uses)| invite_json(invite, uses))
        .collect();
    let mut answer = json!({ "codes": codes });
    if let Some(((first, code), ..)) = page.last() {
        let first = match order {
            InviteOrder::Recent => Datetime::parse(first)
                .map_err(XrpcError::internal)?
                .unix_millis()
                .to_string(),
            InviteOrder::Usage => first.trim_start_matches('0').to_owned(),
        };
        let first = if first.is_empty() { "0" } else { &first };
        answer["cursor"] = format!("{first}::{code}").into();
    }
    Reply::json(&answer)
}

/// The place that a cursor names: `time in milliseconds::code`, or `uses::code`.
fn place(order: InviteOrder, cursor: &str) -> Result<Place, XrpcError> {
    let malformed = || XrpcError::invalid("Malformed cursor");
    let (first, code) = cursor.split_once("::").ok_or_else(malformed)?;
    let number: i64 = first.parse().map_err(|_| malformed())?;
    let first = match order {
        InviteOrder::Recent => Datetime::from_unix_millis(number).to_string(),
        InviteOrder::Usage => format!("{number:020}"),
    };
    Ok((first, code.to_owned()))
}
