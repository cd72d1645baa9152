//! How much of the node's disk an account may take with its blobs.
//!
//! What an account has is read from the rows of its blobs whenever it matters: there is no count that could
//! be wrong.

use http::StatusCode;
use ues_data::Cid;
use ues_repo::syntax::Did;

use crate::accounts::Account;
use crate::context::Context;
use crate::lifecycle;
use crate::xrpc::XrpcError;

/// Bytes of blobs that an account may have; `None`: as many as there is room for.
pub fn blob_quota(ctx: &Context, account: &Account) -> Option<u64> {
    let bytes = account.blob_quota.unwrap_or(ctx.config.blob_quota);
    (bytes > 0).then_some(bytes)
}

/// Keeps an account's other uploads waiting while one is let in.
pub struct Room {
    _turn: Option<tokio::sync::OwnedMutexGuard<()>>,
}

/// Refuses a blob for which an account has no room left. One that it has already takes none. What comes back is
/// held until the blob is entered.
///
/// # Errors
/// 413 `QuotaExceeded`, or when the store cannot be read.
pub async fn room_for_blob(
    ctx: &Context,
    did: &Did,
    cid: &Cid,
    size: u64,
) -> Result<Room, XrpcError> {
    let account = lifecycle::account(ctx, did)?;
    let Some(quota) = account.and_then(|account| blob_quota(ctx, &account)) else {
        return Ok(Room { _turn: None });
    };
    let turn = ctx.accounts.turn(did).await;
    let (repos, did, cid) = (ctx.repos.clone(), did.clone(), *cid);
    let used = tokio::task::spawn_blocking(move || match repos.blob(&did, &cid)? {
        Some(_) => Ok(None),
        None => repos.blob_usage(&did).map(Some),
    });
    let used = used.await.map_err(XrpcError::internal)?;
    let used = used.map_err(XrpcError::internal)?;
    match used {
        Some(used) if used.bytes.saturating_add(size) > quota => {
            let message = format!(
                "This account may have {quota} bytes of blobs and has {}: there is no room for {size} more",
                used.bytes
            );
            let status = StatusCode::PAYLOAD_TOO_LARGE;
            Err(XrpcError::new(status, "QuotaExceeded", message))
        }
        _ => Ok(Room { _turn: turn }),
    }
}
