//! Session tokens: JSON Web Tokens under HMAC-SHA-256, in the official server's shape.

use data_encoding::BASE64URL_NOPAD;
use hmac::{Hmac, KeyInit, Mac};
use serde::{Deserialize, Serialize};
use sha2::Sha256;

/// Lifetime of an access token in seconds.
pub const ACCESS_LIFETIME_S: u64 = 120 * 60;
/// Lifetime of a refresh token in seconds.
pub const REFRESH_LIFETIME_S: u64 = 90 * 86_400;
/// Longest token that is looked at.
const MAX_TOKEN_BYTES: usize = 4096;

/// What a token allows.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub enum Scope {
    /// All that the account's owner may do.
    #[serde(rename = "com.atproto.access")]
    Access,
    /// Only to get new tokens.
    #[serde(rename = "com.atproto.refresh")]
    Refresh,
    /// What an app password allows.
    #[serde(rename = "com.atproto.appPass")]
    AppPass,
    /// What a privileged app password allows.
    #[serde(rename = "com.atproto.appPassPrivileged")]
    AppPassPrivileged,
    /// What an application was granted; no session token has it.
    #[serde(skip)]
    Granted,
    /// What the owner of an account that was taken down may still do: take their data along.
    #[serde(rename = "com.atproto.takendown")]
    Takendown,
}

/// What a token says.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Claims {
    /// What it allows.
    pub scope: Scope,
    /// DID of the service that made it, for itself.
    pub aud: String,
    /// DID of the account.
    pub sub: String,
    /// When it was made, in seconds since 1970.
    pub iat: u64,
    /// When it ends, in seconds since 1970.
    pub exp: u64,
    /// Name of a refresh token.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub jti: Option<String>,
    /// Only service tokens have it, which are not accepted as a session.
    #[serde(default, skip_serializing)]
    lxm: Option<serde::de::IgnoredAny>,
    /// Only tokens bound to a key have it, which are not accepted as a session.
    #[serde(default, skip_serializing)]
    cnf: Option<serde::de::IgnoredAny>,
}

/// Why a token is not accepted.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum TokenError {
    /// Not a token, or not signed by this node, or not of the type that is wanted here.
    #[error("Token could not be verified")]
    Unverified,
    /// Its time has passed.
    #[error("Token has expired")]
    Expired,
    /// Signed, but not what a session token says.
    #[error("Malformed token")]
    Malformed,
}

#[derive(Serialize, Deserialize)]
struct Header {
    typ: Option<String>,
    alg: String,
}

/// The kind of a token, as its header says it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum TokenType {
    /// `at+jwt`.
    Access,
    /// `refresh+jwt`.
    Refresh,
}

impl TokenType {
    fn name(self) -> &'static str {
        match self {
            Self::Access => "at+jwt",
            Self::Refresh => "refresh+jwt",
        }
    }
}

/// Makes and checks the tokens of one node.
#[derive(Clone)]
pub struct TokenSigner {
    mac: Hmac<Sha256>,
    service_did: String,
}

impl TokenSigner {
    /// A signer with the node's secret.
    pub fn new(secret: &[u8; 32], service_did: impl Into<String>) -> Self {
        // A key of the hash's length is never refused; it is filled up with zeros (RFC 2104).
        let mut key = [0; 64];
        key[..32].copy_from_slice(secret);
        let mac = <Hmac<Sha256> as KeyInit>::new(&key.into());
        Self {
            mac,
            service_did: service_did.into(),
        }
    }

    /// An access token.
    pub fn access(&self, did: &str, scope: Scope, now_s: u64) -> String {
        self.sign(
            TokenType::Access,
            &self.claims(did, scope, now_s, ACCESS_LIFETIME_S, None),
        )
    }

    /// A refresh token with a name; the claims are needed to keep it.
    pub fn refresh(&self, did: &str, jti: String, now_s: u64) -> (String, Claims) {
        let claims = self.claims(did, Scope::Refresh, now_s, REFRESH_LIFETIME_S, Some(jti));
        (self.sign(TokenType::Refresh, &claims), claims)
    }

    fn claims(&self, did: &str, scope: Scope, now: u64, life: u64, jti: Option<String>) -> Claims {
        Claims {
            scope,
            aud: self.service_did.clone(),
            sub: did.to_owned(),
            iat: now,
            exp: now + life,
            jti,
            lxm: None,
            cnf: None,
        }
    }

    fn sign(&self, typ: TokenType, claims: &Claims) -> String {
        let header = format!(r#"{{"typ":"{}","alg":"HS256"}}"#, typ.name());
        let mut token = BASE64URL_NOPAD.encode(header.as_bytes());
        token.push('.');
        // Plain strings and numbers always serialise.
        let body = serde_json::to_vec(claims).unwrap_or_default();
        BASE64URL_NOPAD.encode_append(&body, &mut token);
        let mut mac = self.mac.clone();
        mac.update(token.as_bytes());
        let tag = mac.finalize().into_bytes();
        token.push('.');
        BASE64URL_NOPAD.encode_append(&tag, &mut token);
        token
    }

    /// Checks a token. `allow_expired` is for ending a session.
    pub fn verify(
        &self,
        token: &str,
        typ: TokenType,
        now_s: u64,
        allow_expired: bool,
    ) -> Result<Claims, TokenError> {
        if token.len() > MAX_TOKEN_BYTES {
            return Err(TokenError::Unverified);
        }
        let (signed, tag) = token.rsplit_once('.').ok_or(TokenError::Unverified)?;
        let (header, body) = signed.split_once('.').ok_or(TokenError::Unverified)?;
        let decode = |text: &str| {
            BASE64URL_NOPAD
                .decode(text.as_bytes())
                .map_err(|_| TokenError::Unverified)
        };
        let mut mac = self.mac.clone();
        mac.update(signed.as_bytes());
        mac.verify_slice(&decode(tag)?)
            .map_err(|_| TokenError::Unverified)?;
        let header: Header =
            serde_json::from_slice(&decode(header)?).map_err(|_| TokenError::Unverified)?;
        if header.alg != "HS256" || header.typ.as_deref() != Some(typ.name()) {
            return Err(TokenError::Unverified);
        }
        let claims: Claims =
            serde_json::from_slice(&decode(body)?).map_err(|_| TokenError::Malformed)?;
        if claims.aud != self.service_did {
            return Err(TokenError::Unverified);
        }
        if claims.lxm.is_some() || claims.cnf.is_some() || !claims.sub.starts_with("did:") {
            return Err(TokenError::Malformed);
        }
        if claims.exp <= now_s && !allow_expired {
            return Err(TokenError::Expired);
        }
        Ok(claims)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn signer() -> TokenSigner {
        TokenSigner::new(&[7; 32], "did:web:localhost")
    }

    #[test]
    fn a_token_is_read_back_until_it_ends() {
        let token = signer().access("did:plc:abc", Scope::Access, 1000);
        let claims = signer()
            .verify(&token, TokenType::Access, 1001, false)
            .unwrap();
        assert_eq!(
            (claims.sub.as_str(), claims.scope),
            ("did:plc:abc", Scope::Access)
        );
        let end = 1000 + ACCESS_LIFETIME_S;
        assert_eq!(
            signer().verify(&token, TokenType::Access, end, false),
            Err(TokenError::Expired)
        );
        assert!(
            signer()
                .verify(&token, TokenType::Access, end, true)
                .is_ok()
        );
    }

    #[test]
    fn tokens_of_another_kind_node_or_key_are_refused() {
        let access = signer().access("did:plc:abc", Scope::Access, 1000);
        let refused = Err(TokenError::Unverified);
        assert_eq!(
            signer().verify(&access, TokenType::Refresh, 1001, false),
            refused
        );
        let other = TokenSigner::new(&[8; 32], "did:web:localhost");
        assert_eq!(
            other.verify(&access, TokenType::Access, 1001, false),
            refused
        );
        let other = TokenSigner::new(&[7; 32], "did:web:elsewhere");
        assert_eq!(
            other.verify(&access, TokenType::Access, 1001, false),
            refused
        );
    }

    #[test]
    fn every_changed_byte_is_noticed() {
        let token = signer().access("did:plc:abc", Scope::Access, 1000);
        for at in 0..token.len() {
            let mut bytes = token.clone().into_bytes();
            bytes[at] = if bytes[at] == b'A' { b'B' } else { b'A' };
            let changed = String::from_utf8(bytes).unwrap();
            assert!(
                signer()
                    .verify(&changed, TokenType::Access, 1001, false)
                    .is_err(),
                "{at}"
            );
        }
    }

    #[test]
    fn the_shape_is_the_official_one() {
        let (token, claims) = signer().refresh("did:plc:abc", "id".into(), 5);
        let body = token.split('.').nth(1).unwrap();
        let body = BASE64URL_NOPAD.decode(body.as_bytes()).unwrap();
        let body: serde_json::Value = serde_json::from_slice(&body).unwrap();
        assert_eq!(
            body,
            serde_json::json!({
                "scope": "com.atproto.refresh", "aud": "did:web:localhost", "sub": "did:plc:abc",
                "iat": 5, "exp": claims.exp, "jti": "id",
            })
        );
    }
}
