//! Tokens by which accounts and services elsewhere call this node
//! (<https://atproto.com/specs/xrpc#inter-service-authentication-jwt>).

use data_encoding::BASE64URL_NOPAD;
use quick_cache::sync::Cache;
use serde::Deserialize;
use sha2::{Digest, Sha256};
use ues_repo::crypto::VerifyingKey;
use ues_repo::identity::DidDocument;
use ues_repo::syntax::Did;

use crate::context::Context;

use super::error::XrpcError;

/// Longest token that is looked at.
const MAX_TOKEN_BYTES: usize = 8192;
/// Longest life that is left to a token, in seconds: others make none that live longer than an hour.
const MAX_LIFETIME_S: u64 = 3600 + SKEW_S;
/// How far clocks may differ, in seconds.
const SKEW_S: u64 = 60;
/// How often one token may be used: a service may have to try again, a thief may not go on for ever.
const MAX_USES: u32 = 32;
/// Tokens whose uses are counted at one time.
const COUNTED: usize = 100_000;

/// Who made a token.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Issuer {
    /// The account or service.
    pub did: Did,
    /// A service within the DID, such as `atproto_labeler`.
    pub service: Option<String>,
}

#[derive(Deserialize)]
struct Header {
    alg: String,
    #[serde(default)]
    typ: Option<String>,
}

#[derive(Deserialize)]
struct Payload {
    iss: String,
    aud: String,
    exp: f64,
    #[serde(default)]
    nbf: Option<f64>,
    #[serde(default)]
    lxm: Option<String>,
    #[serde(default)]
    jti: Option<String>,
}

/// How often tokens were used.
pub struct Uses(Cache<[u8; 32], u32>);

impl Default for Uses {
    fn default() -> Self {
        Self(Cache::new(COUNTED))
    }
}

impl Uses {
    /// Counts a use; whether it is one of the allowed ones.
    fn count(&self, issuer: &str, name: &str) -> bool {
        let mut hash = Sha256::new();
        hash.update(issuer.as_bytes());
        hash.update([0]);
        hash.update(name.as_bytes());
        let key: [u8; 32] = hash.finalize().into();
        let used = self.0.get(&key).unwrap_or_default();
        self.0.insert(key, used.saturating_add(1));
        used < MAX_USES
    }
}

/// Whether a bearer token says that it is for one method: no session token does.
pub fn is_service_token(token: &str) -> bool {
    let payload = token
        .split('.')
        .nth(1)
        .filter(|p| p.len() <= MAX_TOKEN_BYTES);
    payload
        .and_then(|p| BASE64URL_NOPAD.decode(p.as_bytes()).ok())
        .and_then(|bytes| serde_json::from_slice::<serde_json::Value>(&bytes).ok())
        .is_some_and(|payload| payload.get("lxm").is_some_and(|lxm| !lxm.is_null()))
}

/// Checks a token for a method of this node: who made it, for whom, for what, when, and the signature
/// by the key that the issuer's DID document names now. `trusted` is the only DID that may have made it,
/// itself or as a labeler; anybody may if it is absent.
///
/// # Errors
/// 401, with the official server's names.
pub async fn verify(
    ctx: &Context,
    token: &str,
    nsid: &str,
    trusted: Option<&str>,
) -> Result<Issuer, XrpcError> {
    let token = Token::parse(token)?;
    let issuer = token.check(nsid, ctx.now_ms() / 1000)?;
    let service = issuer.service.as_deref();
    let itself = service.is_none_or(|name| name == "atproto_labeler");
    if trusted.is_some_and(|trusted| issuer.did.as_str() != trusted || !itself) {
        return Err(XrpcError::auth_named("UntrustedIss", "Untrusted issuer"));
    }
    token.check_audience(&ctx.service_did)?;
    let unresolved = |cause: String| {
        tracing::debug!(did = %issuer.did, %cause, "the issuer of a token was not resolved");
        XrpcError::auth("could not resolve iss did")
    };
    let document = ctx.identities.did_document(&issuer.did).await;
    let document = document.map_err(|e| unresolved(e.to_string()))?;
    let key = key_of(&issuer, &document)?;
    if !token.is_signed_by(&key) {
        // The key may be a new one.
        let document = ctx.identities.refresh_document(&issuer.did).await;
        let document = document.map_err(|e| unresolved(e.to_string()))?;
        let fresh = key_of(&issuer, &document)?;
        if fresh == key || !token.is_signed_by(&fresh) {
            return Err(XrpcError::auth_named(
                "BadJwtSignature",
                "jwt signature does not match jwt issuer",
            ));
        }
    }
    // Only now: what is not signed must not use up what is.
    let name = token.payload.jti.as_deref().unwrap_or(&token.signed);
    if !ctx.token_uses.count(&token.payload.iss, name) {
        return Err(XrpcError::auth_named(
            "BadJwt",
            format!("this token was used {MAX_USES} times already"),
        ));
    }
    Ok(issuer)
}

fn key_of(issuer: &Issuer, document: &DidDocument) -> Result<VerifyingKey, XrpcError> {
    let key = match issuer.service.as_deref() {
        Some("atproto_labeler") => document.label_key(),
        _ => document.signing_key(),
    };
    key.map_err(|_| XrpcError::auth("missing or bad key in did doc"))
}

/// A token taken apart.
struct Token {
    header: Header,
    payload: Payload,
    signed: String,
    signature: Vec<u8>,
}

impl Token {
    fn parse(token: &str) -> Result<Self, XrpcError> {
        let malformed = || XrpcError::auth_named("BadJwt", "poorly formatted jwt");
        if token.len() > MAX_TOKEN_BYTES {
            return Err(malformed());
        }
        let (signed, signature) = token.rsplit_once('.').ok_or_else(malformed)?;
        let (header, payload) = signed.split_once('.').ok_or_else(malformed)?;
        if payload.contains('.') {
            return Err(malformed());
        }
        let bytes = |part: &str| {
            BASE64URL_NOPAD
                .decode(part.as_bytes())
                .map_err(|_| malformed())
        };
        let header: Header = serde_json::from_slice(&bytes(header)?).map_err(|_| malformed())?;
        if let Some(typ) = &header.typ
            && ["at+jwt", "refresh+jwt", "dpop+jwt"].contains(&typ.to_ascii_lowercase().as_str())
        {
            let message = format!("Invalid jwt type {typ:?}");
            return Err(XrpcError::auth_named("BadJwtType", message));
        }
        let payload = serde_json::from_slice(&bytes(payload)?).map_err(|_| malformed())?;
        Ok(Self {
            header,
            payload,
            signed: signed.to_owned(),
            signature: bytes(signature)?,
        })
    }

    /// What the token says itself, but for whom it is.
    fn check(&self, nsid: &str, now_s: u64) -> Result<Issuer, XrpcError> {
        let refused = |name, message: String| Err(XrpcError::auth_named(name, message));
        let payload = &self.payload;
        let now = now_s as f64;
        if now > payload.exp {
            return refused("JwtExpired", "jwt expired".to_owned());
        }
        if payload.exp > now + MAX_LIFETIME_S as f64 {
            return refused(
                "BadJwt",
                "jwt expires more than an hour from now".to_owned(),
            );
        }
        if payload.nbf.is_some_and(|nbf| nbf > now + SKEW_S as f64) {
            return refused("BadJwt", "jwt is not valid yet".to_owned());
        }
        if payload.lxm.as_deref() != Some(nsid) {
            let what = match payload.lxm {
                Some(_) => "bad",
                None => "missing",
            };
            let message = format!("{what} jwt lexicon method (\"lxm\"). must match: {nsid}");
            return refused("BadJwtLexiconMethod", message);
        }
        let (did, service) = match payload.iss.split_once('#') {
            Some((did, name)) => (did, Some(name.to_owned())),
            None => (payload.iss.as_str(), None),
        };
        let named = service
            .as_ref()
            .is_none_or(|n| !n.is_empty() && !n.contains('#'));
        let Some(did) = Did::parse(did).ok().filter(|_| named) else {
            return refused("BadJwtIss", "jwt iss is not a valid did".to_owned());
        };
        Ok(Issuer { did, service })
    }

    fn check_audience(&self, own_did: &str) -> Result<(), XrpcError> {
        if self.payload.aud != own_did {
            let message = format!("jwt audience does not match service did {own_did}");
            return Err(XrpcError::auth_named("BadJwtAudience", message));
        }
        Ok(())
    }

    fn is_signed_by(&self, key: &VerifyingKey) -> bool {
        self.header.alg == key.kind().jwt_alg()
            && key.verify(self.signed.as_bytes(), &self.signature).is_ok()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::{Value, json};

    const NSID: &str = "com.atproto.repo.uploadBlob";
    const OWN: &str = "did:web:pds.example.com";

    fn token(claims: &Value) -> String {
        let part = |v: &Value| BASE64URL_NOPAD.encode(v.to_string().as_bytes());
        format!("{}.{}.AAAA", part(&json!({"alg": "ES256K"})), part(claims))
    }

    fn refused(change: &Value) -> String {
        let mut claims = json!({
            "iss": "did:web:a.example", "aud": OWN, "exp": 1060, "lxm": NSID, "jti": "a",
        });
        for (name, value) in change.as_object().unwrap() {
            claims[name] = value.clone();
        }
        let checked = Token::parse(&token(&claims)).and_then(|t| {
            let issuer = t.check(NSID, 1000)?;
            t.check_audience(OWN)?;
            Ok(issuer)
        });
        match checked {
            Ok(issuer) => issuer.did.to_string(),
            Err(e) => e.name().to_owned(),
        }
    }

    #[test]
    fn what_a_token_says_is_checked() {
        assert_eq!(refused(&json!({})), "did:web:a.example");
        assert_eq!(
            refused(&json!({"iss": "did:web:b#atproto_labeler"})),
            "did:web:b"
        );
        assert_eq!(refused(&json!({"exp": 999})), "JwtExpired");
        assert_eq!(refused(&json!({"exp": 1e9})), "BadJwt");
        assert_eq!(refused(&json!({"nbf": 1100})), "BadJwt");
        assert_eq!(refused(&json!({"aud": "did:web:b"})), "BadJwtAudience");
        assert_eq!(
            refused(&json!({"lxm": "com.atproto.repo.x"})),
            "BadJwtLexiconMethod"
        );
        assert_eq!(refused(&json!({"lxm": null})), "BadJwtLexiconMethod");
        assert_eq!(refused(&json!({"iss": "someone"})), "BadJwtIss");
        assert_eq!(refused(&json!({"iss": "did:web:b#"})), "BadJwtIss");
        assert_eq!(refused(&json!({"aud": 7})), "BadJwt");
    }

    #[test]
    fn only_tokens_for_a_method_are_service_tokens() {
        assert!(is_service_token(&token(&json!({"lxm": NSID}))));
        assert!(!is_service_token(&token(
            &json!({"scope": "com.atproto.access"})
        )));
        assert!(!is_service_token("garbage"));
    }

    #[test]
    fn uses_are_bounded() {
        let uses = Uses::default();
        assert!((0..MAX_USES).all(|_| uses.count("did:web:a", "x")));
        assert!(!uses.count("did:web:a", "x"));
        assert!(uses.count("did:web:b", "x"));
    }
}
