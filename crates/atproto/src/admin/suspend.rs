//! Suspending accounts for a time.

use serde_json::json;
use ues_repo::syntax::{Datetime, Did};

use super::Actor;
use crate::accounts::Suspension;
use crate::context::Context;
use crate::lifecycle;
use crate::xrpc::XrpcError;

/// Longest reason, in characters.
const MAX_REASON: usize = 500;

/// Suspends an account: until a time (RFC 3339), or until it is lifted. One that is suspended gets the new term.
///
/// # Errors
/// When the time is none or has passed, there is no such account, or nothing can be written.
pub async fn suspend(
    ctx: &Context,
    actor: &Actor,
    did: &Did,
    until: Option<&str>,
    reason: Option<String>,
) -> Result<(), XrpcError> {
    let reason = reason.filter(|reason| !reason.trim().is_empty());
    if reason
        .as_deref()
        .is_some_and(|r| r.chars().count() > MAX_REASON)
    {
        let message = format!("a reason has at most {MAX_REASON} characters");
        return Err(XrpcError::invalid(message));
    }
    let until = match until {
        None => None,
        Some(text) => {
            let wrong =
                || XrpcError::invalid(format!("{text:?} is no time such as 2026-01-31T12:00:00Z"));
            let until = Datetime::parse(text).map_err(|_| wrong())?;
            if u64::try_from(until.unix_millis()).unwrap_or(0) <= ctx.now_ms() {
                return Err(XrpcError::invalid(format!("{text} has passed")));
            }
            Some(until.to_string())
        }
    };
    let details = json!({ "suspended": true, "until": until, "reason": reason });
    let act = actor.act("suspendAccount", did.as_str(), details);
    let suspension = Suspension {
        since: Datetime::now().to_string(),
        until,
        reason,
    };
    lifecycle::suspend(ctx, did, Some(suspension), Some(act)).await
}

/// Lifts a suspension before its term.
///
/// # Errors
/// When the account is not suspended or not there, or nothing can be written.
pub async fn lift_suspension(ctx: &Context, actor: &Actor, did: &Did) -> Result<(), XrpcError> {
    let account = lifecycle::account(ctx, did)?;
    if account.is_none_or(|account| account.suspension.is_none()) {
        return Err(XrpcError::invalid("the account is not suspended"));
    }
    let act = actor.act(
        "suspendAccount",
        did.as_str(),
        json!({ "suspended": false }),
    );
    lifecycle::suspend(ctx, did, None, Some(act)).await
}
