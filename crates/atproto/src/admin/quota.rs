//! How much an account may take, where it is not what all may.

use serde_json::json;
use ues_repo::syntax::Did;

use super::Actor;
use crate::accounts::Account;
use crate::context::Context;
use crate::lifecycle::{self, note};
use crate::xrpc::XrpcError;

/// Sets how many bytes of blobs an account may have: 0 for as many as there is room for, `None` for what all may.
/// What is there already stays.
///
/// # Errors
/// When there is no such account, or nothing can be written.
pub async fn set_blob_quota(
    ctx: &Context,
    actor: &Actor,
    did: &Did,
    bytes: Option<u64>,
) -> Result<(), XrpcError> {
    let _turn = ctx.accounts.turn(did).await;
    let before = lifecycle::account(ctx, did)?;
    let before = before.ok_or_else(|| XrpcError::invalid("Account not found"))?;
    let after = Account {
        blob_quota: bytes,
        ..(*before).clone()
    };
    let mut batch = ctx.store.batch();
    ctx.accounts.put(&mut batch, &after, Some(&before));
    let act = actor.act("setQuota", did.as_str(), json!({ "blobBytes": bytes }));
    note(ctx, &mut batch, Some(act));
    ctx.store.commit(batch).await.map_err(XrpcError::internal)?;
    ctx.accounts.written(after);
    Ok(())
}
