//! How much an account may take, where it is not what all may.

use serde::Deserialize;
use serde_json::json;
use ues_repo::syntax::Did;

use super::Actor;
use crate::accounts::Account;
use crate::context::Context;
use crate::lifecycle::{self, note};
use crate::xrpc::XrpcError;

/// What is to be set; what is absent stays. `Some(None)` is what all may, `Some(Some(0))` as much as there is room for.
#[derive(Clone, Copy, Debug, Default, Deserialize)]
#[serde(default, rename_all = "camelCase", deny_unknown_fields)]
pub struct NewQuotas {
    /// Bytes of blobs.
    #[serde(deserialize_with = "given")]
    pub blob_bytes: Option<Option<u64>>,
    /// Records.
    #[serde(deserialize_with = "given")]
    pub records: Option<Option<u64>>,
    /// Bytes of all records.
    #[serde(deserialize_with = "given")]
    pub record_bytes: Option<Option<u64>>,
}

/// Tells `null` from what is absent.
fn given<'de, D: serde::Deserializer<'de>>(input: D) -> Result<Option<Option<u64>>, D::Error> {
    Option::deserialize(input).map(Some)
}

/// Sets how much an account may have. What is there already stays.
///
/// # Errors
/// When there is no such account, or nothing can be written.
pub async fn set_quotas(
    ctx: &Context,
    actor: &Actor,
    did: &Did,
    new: NewQuotas,
) -> Result<(), XrpcError> {
    let _turn = ctx.accounts.turn(did).await;
    let before = lifecycle::account(ctx, did)?;
    let before = before.ok_or_else(|| XrpcError::invalid("Account not found"))?;
    let after = Account {
        blob_quota: new.blob_bytes.unwrap_or(before.blob_quota),
        record_quota: new.records.unwrap_or(before.record_quota),
        record_bytes_quota: new.record_bytes.unwrap_or(before.record_bytes_quota),
        ..(*before).clone()
    };
    let mut details = serde_json::Map::new();
    for (name, set) in [
        ("blobBytes", new.blob_bytes),
        ("records", new.records),
        ("recordBytes", new.record_bytes),
    ] {
        if let Some(set) = set {
            details.insert(name.to_owned(), json!(set));
        }
    }
    let mut batch = ctx.store.batch();
    ctx.accounts.put(&mut batch, &after, Some(&before));
    let act = actor.act("setQuota", did.as_str(), details.into());
    note(ctx, &mut batch, Some(act));
    ctx.store.commit(batch).await.map_err(XrpcError::internal)?;
    ctx.accounts.written(after);
    Ok(())
}
