//! `com.atproto.identity`: handles.

use serde::Deserialize;
use serde_json::json;
use ues_repo::repo::event::LogEvent;
use ues_repo::repo::layout::Status;
use ues_repo::syntax::Handle;

use crate::accounts::Account;
use crate::accounts::handle_rules::{self, Allowed};
use crate::context::Context;
use crate::lifecycle::note;
use crate::limits::{UPDATE_HANDLE, UPDATE_HANDLE_DAY};
use crate::moderation::Act;
use crate::xrpc::{Auth, Call, Method, Reply, XrpcError};

use super::prepare::write_error;

/// The methods of this file.
pub fn methods() -> [Method; 2] {
    [
        Method::new(
            "com.atproto.identity.resolveHandle",
            Auth::Open,
            resolve_handle,
        ),
        Method::new(
            "com.atproto.identity.updateHandle",
            Auth::Live,
            update_handle,
        ),
    ]
}

async fn resolve_handle(call: Call) -> Result<Reply, XrpcError> {
    let handle = handle_rules::parse(call.params.required("handle")?)?;
    let ctx = &call.ctx;
    let account = ctx
        .accounts
        .by_handle(&handle)
        .map_err(XrpcError::internal)?;
    if let Some(account) = account.filter(|a| a.is_active()) {
        return Reply::json(&json!({ "did": account.did }));
    }
    if ctx.config.serves_handle(handle.as_str()) {
        return Err(XrpcError::named(
            "HandleNotFound",
            "Unable to resolve handle",
        ));
    }
    match ctx.identities.resolve_handle(&handle).await {
        Ok(did) => Reply::json(&json!({ "did": did })),
        Err(cause) => {
            tracing::debug!(%handle, %cause, "handle not resolved");
            Err(XrpcError::invalid("Unable to resolve handle"))
        }
    }
}

#[derive(Deserialize)]
struct UpdateHandleInput {
    handle: String,
}

async fn update_handle(mut call: Call) -> Result<Reply, XrpcError> {
    let input: UpdateHandleInput = call.take_input()?;
    let did = call.did()?.clone();
    call.spend(UPDATE_HANDLE, did.as_str(), 1)?;
    call.spend(UPDATE_HANDLE_DAY, did.as_str(), 1)?;
    change_handle(&call.ctx, &did, &input.handle).await?;
    Ok(Reply::Empty)
}

/// Gives an account another handle: in its DID document, here, and in an `#identity` event.
pub async fn change_handle(
    ctx: &Context,
    did: &ues_repo::syntax::Did,
    wanted: &str,
) -> Result<Handle, XrpcError> {
    change_handle_as(ctx, did, wanted, None).await
}

/// The same; whoever administers the node, with `act`, may give reserved names.
pub async fn change_handle_as(
    ctx: &Context,
    did: &ues_repo::syntax::Did,
    wanted: &str,
    act: Option<Act>,
) -> Result<Handle, XrpcError> {
    let _turn = ctx.accounts.turn(did).await;
    let account = ctx.accounts.by_did(did).map_err(XrpcError::internal)?;
    let account = account
        .filter(|a| a.status() != Status::Deleted)
        .ok_or_else(|| XrpcError::invalid("Account not found"))?;
    let allowed = match &act {
        Some(_) => handle_rules::check_with_reserved(&ctx.config, wanted)?,
        None => handle_rules::check(&ctx.config, wanted)?,
    };
    let handle = match allowed {
        Allowed::Own(handle) => handle,
        Allowed::Foreign(handle) => {
            let found = ctx.identities.refresh_handle(&handle).await.ok();
            if found.as_ref() != Some(did) {
                return Err(XrpcError::invalid("External handle did not resolve to DID"));
            }
            handle
        }
    };
    let taken = || {
        XrpcError::named(
            "HandleNotAvailable",
            format!("Handle already taken: {handle}"),
        )
    };
    let names = vec![handle.as_str().to_owned(), did.as_str().to_owned()];
    let Some(_claim) = ctx.accounts.claim(names) else {
        return Err(taken());
    };
    let holder = ctx
        .accounts
        .by_handle(&handle)
        .map_err(XrpcError::internal)?;
    if holder.is_some_and(|holder| holder.did != *did) {
        return Err(taken());
    }
    ctx.identities
        .update_handle(did, &handle)
        .await
        .map_err(|e| e.into_xrpc())?;
    let changed = Account {
        handle: handle.clone(),
        ..(*account).clone()
    };
    let mut batch = ctx.store.batch();
    ctx.accounts.put(&mut batch, &changed, Some(&account));
    note(ctx, &mut batch, act);
    let event = LogEvent::Identity {
        did: did.clone(),
        handle: Some(handle.clone()),
        time: ctx.repos.now(),
    };
    ctx.repos.emit(&event, batch).await.map_err(write_error)?;
    ctx.accounts.written(changed);
    Ok(handle)
}
