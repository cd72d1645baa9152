//! How much of the node's disk an account may take with its records and blobs.

use http::StatusCode;
use serde::{Deserialize, Serialize};
use ues_data::Cid;
use ues_repo::repo::Room as RecordRoom;
use ues_repo::syntax::Did;

use crate::accounts::Account;
use crate::context::Context;
use crate::lifecycle;
use crate::xrpc::XrpcError;

/// How much an account may have. In what all may, and in what one has of its own, 0 is as much as there is room for;
/// `None` is what all may.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, rename_all = "camelCase")]
pub struct Quotas {
    /// Bytes of blobs.
    #[serde(rename = "blobBytes", skip_serializing_if = "Option::is_none")]
    pub blob_bytes: Option<u64>,
    /// Records.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub records: Option<u64>,
    /// Bytes of all records.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub record_bytes: Option<u64>,
}

/// What an account may have; `None`: as much as there is room for.
#[must_use]
pub fn quotas(ctx: &Context, account: &Account) -> Quotas {
    let all = &ctx.config.quotas;
    let bound = |own: Option<u64>, all: Option<u64>| own.or(all).filter(|bound| *bound > 0);
    Quotas {
        blob_bytes: bound(account.blob_quota, all.blob_bytes),
        records: bound(account.record_quota, all.records),
        record_bytes: bound(account.record_bytes_quota, all.record_bytes),
    }
}

/// 413 `QuotaExceeded`.
pub(crate) fn no_room(message: String) -> XrpcError {
    XrpcError::new(StatusCode::PAYLOAD_TOO_LARGE, "QuotaExceeded", message)
}

/// How much room the records of an account have.
///
/// # Errors
/// When the store cannot be read.
pub fn room_for_records(ctx: &Context, did: &Did) -> Result<RecordRoom, XrpcError> {
    let account = lifecycle::account(ctx, did)?;
    let quotas = account.map(|account| quotas(ctx, &account));
    let quotas = quotas.unwrap_or_default();
    Ok(RecordRoom {
        records: quotas.records,
        record_bytes: quotas.record_bytes,
    })
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
    let Some(quota) = account.and_then(|account| quotas(ctx, &account).blob_bytes) else {
        return Ok(Room { _turn: None });
    };
    let turn = ctx.accounts.turn(did).await;
    let (repos, did, cid) = (ctx.repos.clone(), did.clone(), *cid);
    let used = tokio::task::spawn_blocking(move || match repos.blob(&did, &cid)? {
        Some(_) => Ok(None),
        None => repos.usage(&did).map(Some),
    });
    let used = used.await.map_err(XrpcError::internal)?;
    let used = used.map_err(XrpcError::internal)?;
    match used {
        Some(used) if used.blob_bytes.saturating_add(size) > quota => Err(no_room(format!(
            "This account may have {quota} bytes of blobs and has {}: there is no room for {size} more",
            used.blob_bytes
        ))),
        _ => Ok(Room { _turn: turn }),
    }
}
