//! `com.atproto.server`: switching an account off and on, deleting it, how it stands.

use serde::Deserialize;
use serde_json::json;
use ues_repo::syntax::Did;

use crate::accounts::{MAX_OLD_PASSWORD, Purpose};
use crate::lifecycle;
use crate::limits::{DELETE_ACCOUNT, REQUEST_MAIL, REQUEST_MAIL_DAY};
use crate::xrpc::{Auth, Call, Method, Reply, XrpcError};

use super::mail_tokens::{send_token, take_token};

/// The methods of this file.
pub fn methods() -> [Method; 5] {
    [
        Method::new("com.atproto.server.activateAccount", Auth::Owner, activate),
        Method::new(
            "com.atproto.server.deactivateAccount",
            Auth::OwnerEver,
            deactivate,
        ),
        Method::new(
            "com.atproto.server.requestAccountDelete",
            Auth::Full,
            request_delete,
        ),
        Method::new("com.atproto.server.deleteAccount", Auth::Open, delete),
        Method::new(
            "com.atproto.server.checkAccountStatus",
            Auth::Session,
            check_status,
        ),
    ]
}

async fn activate(call: Call) -> Result<Reply, XrpcError> {
    lifecycle::activate(&call.ctx, call.did()?, true, None).await?;
    Ok(Reply::Empty)
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct DeactivateInput {
    delete_after: Option<String>,
}

async fn deactivate(mut call: Call) -> Result<Reply, XrpcError> {
    let input: DeactivateInput = call.take_input()?;
    let ctx = &call.ctx;
    let did = call.did()?;
    lifecycle::deactivate(ctx, did, input.delete_after, None).await?;
    // An application that switches an account off leaves no other one behind that goes on.
    if call.session()?.granted.is_some() {
        let mut batch = ctx.store.batch();
        ctx.oauth
            .end_all(&mut batch, did)
            .map_err(XrpcError::internal)?;
        ctx.store.commit(batch).await.map_err(XrpcError::internal)?;
    }
    Ok(Reply::Empty)
}

async fn request_delete(call: Call) -> Result<Reply, XrpcError> {
    let did = call.did()?;
    let key = format!("delete {did}");
    call.spend(REQUEST_MAIL_DAY, &key, 1)?;
    call.spend(REQUEST_MAIL, &key, 1)?;
    let account = lifecycle::account(&call.ctx, did)?;
    let account = account.ok_or_else(|| XrpcError::invalid("account not found"))?;
    send_token(&call.ctx, &account, Purpose::DeleteAccount).await?;
    Ok(Reply::Empty)
}

#[derive(Deserialize)]
struct DeleteInput {
    did: String,
    password: String,
    token: String,
}

async fn delete(mut call: Call) -> Result<Reply, XrpcError> {
    call.spend_by_address(DELETE_ACCOUNT)?;
    let input: DeleteInput = call.take_input()?;
    if input.password.chars().count() > MAX_OLD_PASSWORD {
        return Err(XrpcError::auth(
            "Password too long. Consider resetting your password.",
        ));
    }
    let ctx = &call.ctx;
    let did = Did::parse(&input.did).map_err(|e| XrpcError::invalid(e.to_string()))?;
    let account = lifecycle::account(ctx, &did)?;
    let account = account.ok_or_else(|| XrpcError::invalid("account not found"))?;
    let same = ctx
        .passwords
        .verify(&input.password, account.password.as_deref())
        .await
        .map_err(XrpcError::internal)?;
    if !same {
        return Err(XrpcError::auth("Invalid did or password"));
    }
    // Deleting removes the token with all others.
    let mut unused = ctx.store.batch();
    take_token(ctx, &mut unused, &did, Purpose::DeleteAccount, &input.token)?;
    lifecycle::delete(ctx, &did, None).await?;
    Ok(Reply::Empty)
}

async fn check_status(call: Call) -> Result<Reply, XrpcError> {
    let did = call.did()?.clone();
    let ctx = &call.ctx;
    let gone = || XrpcError::named("NotFound", "Repo not found");
    let account = lifecycle::account(ctx, &did)?.ok_or_else(gone)?;
    let head = ctx.repos.head(&did).map_err(XrpcError::internal)?;
    let head = head.ok_or_else(gone)?;
    let (repos, whose) = (ctx.repos.clone(), did.clone());
    let counts = tokio::task::spawn_blocking(move || repos.counts(&whose))
        .await
        .map_err(XrpcError::internal)?
        .map_err(XrpcError::internal)?;
    let valid = lifecycle::check_document(ctx, &did).await.is_ok();
    Reply::json(&json!({
        "activated": !account.is_deactivated() && !account.is_taken_down(),
        "validDid": valid,
        "repoCommit": head.commit.to_string(),
        "repoRev": head.rev.as_str(),
        "repoBlocks": counts.blocks,
        "indexedRecords": counts.records,
        "privateStateValues": 0,
        "expectedBlobs": counts.expected_blobs,
        "importedBlobs": counts.blobs,
    }))
}
