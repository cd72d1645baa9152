//! Service tokens: what another service knows an account by (<https://atproto.com/specs/xrpc#inter-service-authentication-jwt>).

use data_encoding::{BASE64URL_NOPAD, HEXLOWER};
use serde_json::json;
use ues_repo::syntax::Did;

use crate::context::Context;
use crate::xrpc::XrpcError;

/// Lifetime of a token where none is asked for, in seconds.
const LIFETIME_S: u64 = 60;

/// Makes a token by which `iss` calls the method `lxm` of the service `aud`, signed by the account's
/// key. It ends at `exp` (seconds since 1970), by default after a minute.
pub fn service_token(
    ctx: &Context,
    iss: &Did,
    aud: &str,
    lxm: Option<&str>,
    exp: Option<u64>,
) -> Result<String, XrpcError> {
    let key = ctx.keys.get(iss).map_err(XrpcError::internal)?;
    let key =
        key.ok_or_else(|| XrpcError::invalid(format!("This node has no signing key of {iss}")))?;
    let mut name = [0; 16];
    getrandom::fill(&mut name).map_err(XrpcError::internal)?;
    let now = ctx.now_ms() / 1000;
    let mut claims = json!({
        "iat": now,
        "iss": iss,
        "aud": aud,
        "exp": exp.unwrap_or(now + LIFETIME_S),
        "jti": HEXLOWER.encode(&name),
    });
    if let Some(lxm) = lxm {
        claims["lxm"] = lxm.into();
    }
    let header = json!({ "typ": "JWT", "alg": key.kind().jwt_alg() });
    let part = |value: &serde_json::Value| BASE64URL_NOPAD.encode(value.to_string().as_bytes());
    let signed = format!("{}.{}", part(&header), part(&claims));
    let signature = key.sign(signed.as_bytes());
    Ok(format!("{signed}.{}", BASE64URL_NOPAD.encode(&signature)))
}
