//! Tokens by which the holder of a DID's key proves who they are to a service.
//!
//! <https://atproto.com/specs/xrpc#inter-service-authentication-jwt>

use std::sync::Arc;

use data_encoding::BASE64URL_NOPAD;
use serde::Deserialize;
use serde::de::DeserializeOwned;
use ues_repo::crypto::VerifyingKey;
use ues_repo::identity::DidDocument;
use ues_repo::syntax::Did;

use crate::context::Context;

use super::error::XrpcError;

/// Longest token that is looked at.
const MAX_TOKEN_BYTES: usize = 8192;

#[derive(Deserialize)]
struct Header {
    alg: String,
    #[serde(default)]
    typ: Option<String>,
}

#[derive(Deserialize)]
struct Claims {
    iss: String,
    aud: String,
    exp: f64,
    #[serde(default)]
    lxm: Option<String>,
}

/// Checks a token for a call of the method `nsid`: who made it. `trusted` is the only one that may
/// have, with or without `#atproto_labeler` behind it.
///
/// # Errors
/// 401, with the official server's names.
pub async fn verify(
    ctx: &Context,
    token: &str,
    nsid: &str,
    trusted: Option<&str>,
) -> Result<Did, XrpcError> {
    let bad = || XrpcError::auth_named("BadJwt", "poorly formatted jwt");
    if token.len() > MAX_TOKEN_BYTES {
        return Err(bad());
    }
    let (signed, signature) = token.rsplit_once('.').ok_or_else(bad)?;
    let (header, claims) = signed.split_once('.').ok_or_else(bad)?;
    let header: Header = part(header).ok_or_else(bad)?;
    if let Some(typ @ ("at+jwt" | "refresh+jwt" | "dpop+jwt")) = header.typ.as_deref() {
        let message = format!("Invalid jwt type \"{typ}\"");
        return Err(XrpcError::auth_named("BadJwtType", message));
    }
    let claims: Claims = part(claims).ok_or_else(bad)?;
    let signature = BASE64URL_NOPAD
        .decode(signature.as_bytes())
        .map_err(|_| bad())?;
    if claims.exp < ctx.now_ms() as f64 / 1000.0 {
        return Err(XrpcError::auth_named("JwtExpired", "jwt expired"));
    }
    if claims.lxm.as_deref() != Some(nsid) {
        let what = match claims.lxm {
            Some(_) => "bad",
            None => "missing",
        };
        let message = format!("{what} jwt lexicon method (\"lxm\"). must match: {nsid}");
        return Err(XrpcError::auth_named("BadJwtLexiconMethod", message));
    }
    let (did, fragment) = match claims.iss.split_once('#') {
        Some((did, fragment)) => (did, Some(fragment)),
        None => (claims.iss.as_str(), None),
    };
    let labeler = fragment == Some("atproto_labeler");
    if trusted.is_some_and(|trusted| did != trusted || !(fragment.is_none() || labeler)) {
        return Err(XrpcError::auth_named("UntrustedIss", "Untrusted issuer"));
    }
    let iss = || XrpcError::auth_named("BadJwtIss", "jwt iss is not a valid did");
    if fragment.is_some_and(str::is_empty) {
        return Err(iss());
    }
    let did = Did::parse(did).map_err(|_| iss())?;
    let unresolved = |cause: crate::identity::IdentityError| {
        tracing::debug!(%did, %cause, "the issuer of a service token is not resolved");
        XrpcError::auth("could not resolve iss did")
    };
    let document = ctx
        .identities
        .did_document(&did)
        .await
        .map_err(unresolved)?;
    let holds = |document: &Arc<DidDocument>| {
        let key = signing_key(document, labeler)?;
        Ok::<_, XrpcError>(
            key.kind().jwt_alg() == header.alg
                && key.kind().is_atproto()
                && key.verify(signed.as_bytes(), &signature).is_ok(),
        )
    };
    if !holds(&document)? {
        // The key may have been changed since the document was kept.
        let fresh = ctx
            .identities
            .fresh_document(&did)
            .await
            .map_err(unresolved)?;
        if !holds(&fresh)? {
            let message = "jwt signature does not match jwt issuer";
            return Err(XrpcError::auth_named("BadJwtSignature", message));
        }
    }
    if claims.aud != ctx.service_did {
        let message = "jwt audience does not match service did";
        return Err(XrpcError::auth_named("BadJwtAudience", message));
    }
    Ok(did)
}

fn part<T: DeserializeOwned>(text: &str) -> Option<T> {
    serde_json::from_slice(&BASE64URL_NOPAD.decode(text.as_bytes()).ok()?).ok()
}

fn signing_key(document: &DidDocument, labeler: bool) -> Result<VerifyingKey, XrpcError> {
    let missing = || XrpcError::auth("missing or bad key in did doc");
    if !labeler {
        return document.signing_key().map_err(|_| missing());
    }
    let method = document
        .verification_method
        .iter()
        .find(|method| method.id.ends_with("#atproto_label"))
        .and_then(|method| method.public_key_multibase.as_deref());
    method
        .and_then(|key| VerifyingKey::from_multikey(key).ok())
        .ok_or_else(missing)
}
