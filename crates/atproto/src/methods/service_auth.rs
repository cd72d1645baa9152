//! `com.atproto.server.getServiceAuth`: tokens for other services.

use serde_json::json;
use ues_repo::syntax::Did;

use crate::accounts::Scope;
use crate::proxy::{is_privileged, is_protected, may_call_privileged, service_token};
use crate::xrpc::{Auth, Call, Method, Reply, XrpcError};

const CREATE_ACCOUNT: &str = "com.atproto.server.createAccount";
/// Longest life of a token for one method, in seconds.
const MAX_LIFETIME_S: u64 = 3600;
/// Longest life of a token for any method, in seconds.
const MAX_OPEN_LIFETIME_S: u64 = 60;

/// The methods of this file.
pub fn methods() -> [Method; 1] {
    [Method::new(
        "com.atproto.server.getServiceAuth",
        Auth::AnySession,
        get_service_auth,
    )]
}

async fn get_service_auth(call: Call) -> Result<Reply, XrpcError> {
    let session = call.session()?;
    let aud = call.params.required("aud")?;
    if !is_audience(aud) {
        return Err(XrpcError::invalid(
            "aud must be a valid atproto DID or did#serviceId reference",
        ));
    }
    let lxm = call.params.text("lxm");
    if session.scope == Scope::Takendown && lxm != Some(CREATE_ACCOUNT) {
        return Err(XrpcError::named("InvalidToken", "Bad token scope"));
    }
    if let Some(lxm) = lxm
        && is_privileged(lxm)
        && session.scope != Scope::Takendown
        && !may_call_privileged(session.scope, lxm)
    {
        return Err(XrpcError::invalid(format!(
            "insufficient access to request a service auth token for the following method: {lxm}"
        )));
    }
    // 0 counts as none, as with the official server.
    let exp = call.params.integer("exp").filter(|exp| *exp != 0);
    let exp = exp.map(|exp| check_exp(exp, lxm.is_some(), call.ctx.now_ms()));
    if let Some(lxm) = lxm
        && is_protected(lxm)
    {
        return Err(XrpcError::invalid(format!(
            "cannot request a service auth token for the following protected method: {lxm}"
        )));
    }
    let token = service_token(&call.ctx, &session.did, aud, lxm, exp.transpose()?)?;
    Reply::json(&json!({ "token": token }))
}

/// A DID of a method that AT Protocol uses, perhaps with the name of a service.
fn is_audience(aud: &str) -> bool {
    let (did, name) = match aud.split_once('#') {
        Some((did, name)) => (did, Some(name)),
        None => (aud, None),
    };
    let named = name.is_none_or(|n| {
        let good = |b: u8| b.is_ascii_alphanumeric() || b"-._~!$&'()*+,;=:@/?%".contains(&b);
        !n.is_empty() && n.bytes().all(good)
    });
    named && Did::parse(did).is_ok_and(|did| matches!(did.method(), "plc" | "web"))
}

fn check_exp(exp: i64, for_one_method: bool, now_ms: u64) -> Result<u64, XrpcError> {
    let bad = |message: &'static str| Err(XrpcError::named("BadExpiration", message));
    let Ok(exp) = u64::try_from(exp) else {
        return bad("expiration is in past");
    };
    let ends_ms = exp.saturating_mul(1000);
    if ends_ms < now_ms {
        bad("expiration is in past")
    } else if ends_ms - now_ms > MAX_LIFETIME_S * 1000 {
        bad("cannot request a token with an expiration more than an hour in the future")
    } else if !for_one_method && ends_ms - now_ms > MAX_OPEN_LIFETIME_S * 1000 {
        bad(
            "cannot request a method-less token with an expiration more than a minute in the future",
        )
    } else {
        Ok(exp)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn audiences() {
        assert!(is_audience("did:web:api.bsky.app"));
        assert!(is_audience("did:plc:abcdefghijklmnopqrstuvwx#bsky_appview"));
        for bad in [
            "",
            "api.bsky.app",
            "did:key:z123",
            "did:web:a.b#",
            "did:web:a.b#c d",
        ] {
            assert!(!is_audience(bad), "{bad}");
        }
    }

    #[test]
    fn lifetimes() {
        let name = |e: Result<u64, XrpcError>| e.map_err(|e| e.name().to_owned());
        let now = 1_000_000;
        assert_eq!(name(check_exp(1060, false, now)), Ok(1060));
        assert_eq!(name(check_exp(4600, true, now)), Ok(4600));
        let bad = Err("BadExpiration".to_owned());
        assert_eq!(name(check_exp(999, true, now)), bad);
        assert_eq!(name(check_exp(-5, true, now)), bad);
        assert_eq!(name(check_exp(4601, true, now)), bad);
        assert_eq!(name(check_exp(1061, false, now)), bad);
    }
}
