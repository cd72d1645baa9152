//! Repairing the repository of an account.

use serde_json::json;
use ues_repo::repo::RepairedRows;
use ues_repo::repo::write::{CommitMeta, WriteError};
use ues_repo::syntax::Did;

use super::Actor;
use crate::context::Context;
use crate::lifecycle::{self, note};
use crate::methods::write_error;
use crate::xrpc::XrpcError;

/// Checks all of a repository, makes its rows what its tree says, and announces it anew by a fresh commit over the same
/// tree.
///
/// # Errors
/// 400 `RepoDamaged` when something is lost: nothing is changed then. When there is no such account, it is not active, or
/// nothing can be written.
pub async fn repair(
    ctx: &Context,
    actor: &Actor,
    did: &Did,
) -> Result<(RepairedRows, CommitMeta), XrpcError> {
    let account = lifecycle::account(ctx, did)?;
    account.ok_or_else(|| XrpcError::invalid("Account not found"))?;
    let mut batch = ctx.store.batch();
    let act = actor.act("repairRepository", did.as_str(), json!(null));
    note(ctx, &mut batch, Some(act));
    ctx.repos.repair(did, batch).await.map_err(|e| match e {
        WriteError::Damaged { .. } => XrpcError::named("RepoDamaged", e.to_string()),
        WriteError::Inactive(status) => {
            let status = status.name().unwrap_or("active");
            XrpcError::invalid(format!(
                "the account is {status}: only an active one is repaired"
            ))
        }
        other => write_error(other),
    })
}
