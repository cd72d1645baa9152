//! What becomes of accounts: switched off and on, taken down, deleted.

use std::sync::Arc;

use ues_repo::syntax::{Datetime, Did};
use ues_storage::Batch;

use crate::accounts::{Account, Suspension};
use crate::context::Context;
use crate::methods::write_error;
use crate::moderation::{Act, EVERYTHING};
use crate::suspensions::ends_ms;
use crate::xrpc::XrpcError;

/// Accounts of one look for those that are due.
const PAGE: usize = 1000;

/// The account of a DID that was not deleted.
pub fn account(ctx: &Context, did: &Did) -> Result<Option<Arc<Account>>, XrpcError> {
    let account = ctx.accounts.by_did(did).map_err(XrpcError::internal)?;
    Ok(account.filter(|a| !a.is_deleted()))
}

fn found(ctx: &Context, did: &Did) -> Result<Arc<Account>, XrpcError> {
    account(ctx, did)?.ok_or_else(|| XrpcError::invalid("Account not found"))
}

/// Puts what somebody who administers the node did into a batch.
pub fn note(ctx: &Context, batch: &mut Batch, act: Option<Act>) {
    if let Some(act) = act {
        ctx.acts.add(batch, |_| act);
    }
}

/// Writes a changed account with its status, announced.
async fn put_status(
    ctx: &Context,
    before: &Account,
    after: Account,
    mut batch: Batch,
) -> Result<(), XrpcError> {
    ctx.accounts.put(&mut batch, &after, Some(before));
    ctx.repos
        .set_status(&after.did, after.status(), batch)
        .await
        .map_err(write_error)?;
    ctx.accounts.written(after);
    Ok(())
}

/// Switches an account off, and perhaps lets it be deleted at a time.
///
/// # Errors
/// When there is no such account, or nothing can be written.
pub async fn deactivate(
    ctx: &Context,
    did: &Did,
    delete_after: Option<String>,
    act: Option<Act>,
) -> Result<(), XrpcError> {
    let _turn = ctx.accounts.turn(did).await;
    let before = found(ctx, did)?;
    let after = before.with_deactivation(Some(Datetime::now().to_string()), delete_after);
    let mut batch = ctx.store.batch();
    note(ctx, &mut batch, act);
    put_status(ctx, &before, after, batch).await
}

/// Switches an account on and announces it whole. With `checked` its DID must point here.
///
/// # Errors
/// When there is no such account, its DID points elsewhere, or nothing can be written.
pub async fn activate(
    ctx: &Context,
    did: &Did,
    checked: bool,
    act: Option<Act>,
) -> Result<(), XrpcError> {
    if checked {
        check_document(ctx, did).await?;
    }
    let _turn = ctx.accounts.turn(did).await;
    let gone = || XrpcError::named("AccountNotFound", "user not found");
    let before = account(ctx, did)?.ok_or_else(gone)?;
    if before.is_taken_down() {
        return Err(gone());
    }
    let after = before.with_deactivation(None, None);
    let mut batch = ctx.store.batch();
    note(ctx, &mut batch, act);
    ctx.accounts.put(&mut batch, &after, Some(&before));
    ctx.repos
        .activate(did, &after.handle, batch)
        .await
        .map_err(write_error)?;
    ctx.accounts.written(after);
    Ok(())
}

/// Ends all sessions of an account, those of all applications, and its sign-ins to the pages; goes into `batch`.
///
/// # Errors
/// When they cannot be read.
pub fn end_sessions(ctx: &Context, batch: &mut Batch, did: &Did) -> Result<(), XrpcError> {
    ctx.sessions
        .end_all(batch, did)
        .map_err(XrpcError::internal)?;
    ctx.oauth.end_all(batch, did).map_err(XrpcError::internal)?;
    ctx.oauth.end_browsers(batch, did, ctx.now_ms());
    Ok(())
}

/// Takes an account down for a reason, or gives it back, and ends its sessions.
///
/// # Errors
/// When there is no such account, or nothing can be written.
pub async fn take_down(
    ctx: &Context,
    did: &Did,
    reason: Option<String>,
    act: Option<Act>,
) -> Result<(), XrpcError> {
    let _turn = ctx.accounts.turn(did).await;
    let before = found(ctx, did)?;
    let mut batch = ctx.store.batch();
    end_sessions(ctx, &mut batch, did)?;
    note(ctx, &mut batch, act);
    let after = before.with_takedown(reason);
    put_held(ctx, &before, after, batch).await
}

/// Suspends an account, until the term is over or it is lifted; or lifts it. Nobody is signed out: what is signed in works
/// again afterwards.
///
/// # Errors
/// When there is no such account, or nothing can be written.
pub async fn suspend(
    ctx: &Context,
    did: &Did,
    suspension: Option<Suspension>,
    act: Option<Act>,
) -> Result<(), XrpcError> {
    let _turn = ctx.accounts.turn(did).await;
    let before = found(ctx, did)?;
    let mut batch = ctx.store.batch();
    note(ctx, &mut batch, act);
    put_held(ctx, &before, before.with_suspension(suspension), batch).await
}

/// Writes a changed account whose past is told or not told by what the operator says of it now.
async fn put_held(
    ctx: &Context,
    before: &Account,
    after: Account,
    mut batch: Batch,
) -> Result<(), XrpcError> {
    let did = before.did.clone();
    let withheld = after.is_taken_down().then_some(EVERYTHING);
    ctx.withheld.put(&mut batch, &did, withheld);
    ctx.suspensions.put(&mut batch, before, &after);
    put_status(ctx, before, after, batch).await?;
    withhold(ctx, &did, withheld);
    Ok(())
}

/// Ends the suspensions whose term is over; gives how many. `now_ms` is the time, in milliseconds since 1970.
///
/// # Errors
/// When the store cannot be read.
pub async fn end_suspensions(ctx: &Context, now_ms: u64) -> Result<usize, XrpcError> {
    let mut ended = 0;
    for did in ctx.suspensions.due(now_ms).map_err(XrpcError::internal)? {
        let _turn = ctx.accounts.turn(&did).await;
        let Some(before) = account(ctx, &did)? else {
            continue;
        };
        // It may have got another term meanwhile.
        let ends = before.suspension.as_ref().and_then(ends_ms);
        if ends.is_none_or(|ends| ends > now_ms) {
            continue;
        }
        match put_held(
            ctx,
            &before,
            before.with_suspension(None),
            ctx.store.batch(),
        )
        .await
        {
            Ok(()) => ended += 1,
            Err(cause) => tracing::error!(%did, %cause, "a suspension cannot be ended"),
        }
    }
    Ok(ended)
}

/// Announces an account's status again.
///
/// # Errors
/// When there is no such account, or nothing can be written.
pub async fn announce(ctx: &Context, did: &Did, act: Option<Act>) -> Result<(), XrpcError> {
    let _turn = ctx.accounts.turn(did).await;
    let account = found(ctx, did)?;
    let mut batch = ctx.store.batch();
    note(ctx, &mut batch, act);
    put_status(ctx, &account, (*account).clone(), batch).await
}

/// Deletes an account: its repository, blobs, keys, passwords, sessions and names, at once and for
/// good.
///
/// # Errors
/// When there is no such account, or nothing can be written.
pub async fn delete(ctx: &Context, did: &Did, act: Option<Act>) -> Result<(), XrpcError> {
    let _turn = ctx.accounts.turn(did).await;
    let before = found(ctx, did)?;
    delete_now(ctx, &before, act).await
}

async fn delete_now(ctx: &Context, before: &Account, act: Option<Act>) -> Result<(), XrpcError> {
    let did = &before.did;
    let after = before.deleted().map_err(XrpcError::internal)?;
    let mut batch = ctx.store.batch();
    note(ctx, &mut batch, act);
    ctx.accounts.put(&mut batch, &after, Some(before));
    ctx.suspensions.put(&mut batch, before, &after);
    end_sessions(ctx, &mut batch, did)?;
    ctx.app_passwords
        .remove_all(&mut batch, did)
        .map_err(XrpcError::internal)?;
    ctx.takedowns
        .remove_all(&mut batch, did)
        .map_err(XrpcError::internal)?;
    ctx.mail_tokens.remove_all(&mut batch, did);
    ctx.preferences.delete(&mut batch, did);
    ctx.totps.remove(&mut batch, did);
    ctx.recovery.remove(&mut batch, did);
    ctx.passkeys
        .remove_all(&mut batch, did)
        .map_err(XrpcError::internal)?;
    ctx.keys.remove(&mut batch, did);
    ctx.withheld.put(&mut batch, did, Some(EVERYTHING));
    ctx.repos.delete(did, batch).await.map_err(write_error)?;
    ctx.keys.removed(did);
    ctx.accounts.written(after);
    withhold(ctx, did, Some(EVERYTHING));
    Ok(())
}

fn withhold(ctx: &Context, did: &Did, until: Option<u64>) {
    ctx.withheld.written(did, until);
    if until.is_some() {
        ctx.hub.withhold();
    }
}

/// Deletes the accounts whose owners have switched them off with a time that has passed; gives how
/// many. `now_ms` is the time, in milliseconds since 1970.
///
/// # Errors
/// When the store cannot be read.
pub async fn delete_due(ctx: &Context, now_ms: u64) -> Result<usize, XrpcError> {
    let is_due = |account: &Account| {
        account.is_deactivated()
            && !account.is_deleted()
            && account
                .delete_after
                .as_deref()
                .and_then(|time| Datetime::parse(time).ok())
                .is_some_and(|time| u64::try_from(time.unix_millis()).unwrap_or(0) <= now_ms)
    };
    let mut deleted = 0;
    let mut after: Option<String> = None;
    loop {
        let page = ctx
            .accounts
            .page(after.as_deref(), PAGE)
            .map_err(XrpcError::internal)?;
        let Some(last) = page.last() else {
            return Ok(deleted);
        };
        after = Some(last.did.to_string());
        for due in page.iter().filter(|account| is_due(account)) {
            let _turn = ctx.accounts.turn(&due.did).await;
            // It may have been switched on meanwhile.
            let Some(now) = account(ctx, &due.did)?.filter(|now| is_due(now)) else {
                continue;
            };
            match delete_now(ctx, &now, None).await {
                Ok(()) => deleted += 1,
                Err(cause) => {
                    tracing::error!(did = %now.did, %cause, "an account that is due cannot be deleted")
                }
            }
        }
    }
}

/// Checks that an account's DID document says that it is here.
///
/// # Errors
/// What is wrong with it, in the official server's words.
pub async fn check_document(ctx: &Context, did: &Did) -> Result<(), XrpcError> {
    let identities = &ctx.identities;
    let (endpoint, key) = if did.as_str().starts_with("did:plc:") {
        let data = identities.plc_data(did).await.map_err(|e| e.into_xrpc())?;
        if !data.rotation_keys.contains(&identities.rotation_key()) {
            return Err(XrpcError::invalid(
                "Server rotation key not included in PLC DID data",
            ));
        }
        let endpoint = data.services.get("atproto_pds").map(|s| s.endpoint.clone());
        (endpoint, data.verification_methods.get("atproto").cloned())
    } else {
        let document = identities.refresh_document(did).await;
        let document = document.map_err(|_| XrpcError::invalid("Could not resolve DID"))?;
        let key = document.signing_key().ok().map(|key| key.did_key());
        (document.pds_endpoint().map(str::to_owned), key)
    };
    if endpoint.as_deref() != Some(ctx.config.endpoint()) {
        let message = "DID document atproto_pds service endpoint does not match PDS public url";
        return Err(XrpcError::invalid(message));
    }
    let own = ctx.keys.get(did).map_err(XrpcError::internal)?;
    if key.is_none() || key != own.map(|key| key.did_key()) {
        let message = "DID document verification method does not match expected signing key";
        return Err(XrpcError::invalid(message));
    }
    Ok(())
}
