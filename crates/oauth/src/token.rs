//! Access tokens: signed by the server for itself, bound to the client's key (RFC 9068, RFC 9449 section 6).

use data_encoding::BASE64URL_NOPAD;
use hmac::{Hmac, KeyInit, Mac};
use serde::{Deserialize, Serialize};
use serde_json::Value;
use sha2::Sha256;
use zeroize::Zeroizing;

use crate::error::{ErrorCode, OAuthError};

/// Lifetime of an access token in seconds; its session can be ended earlier.
pub const ACCESS_LIFETIME_S: u64 = 15 * 60;
const MAX_TOKEN_BYTES: usize = 8192;
const HEADER: &str = r#"{"typ":"at+jwt","alg":"HS256"}"#;

/// The key that a token is bound to.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
struct Confirmation {
    jkt: String,
}

/// What an access token says.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct AccessClaims {
    /// The server that made it.
    pub iss: String,
    /// DID of the service that it is for.
    pub aud: String,
    /// DID of the account.
    pub sub: String,
    /// The client.
    pub client_id: String,
    /// What it allows.
    pub scope: String,
    /// The session that it belongs to.
    pub sid: String,
    /// Names the token.
    pub jti: String,
    /// When it was made, in seconds since 1970.
    pub iat: u64,
    /// When it ends, in seconds since 1970.
    pub exp: u64,
    cnf: Confirmation,
}

impl AccessClaims {
    /// Thumbprint of the key that must prove each request.
    pub fn thumbprint(&self) -> &str {
        &self.cnf.jkt
    }
}

/// Makes and checks the access tokens of one server.
#[derive(Clone)]
pub struct AccessTokens {
    mac: Hmac<Sha256>,
    issuer: String,
    audience: String,
}

impl AccessTokens {
    /// With a secret that is used for nothing else, the server's URL and the service's DID.
    pub fn new(secret: &[u8; 32], issuer: impl Into<String>, audience: impl Into<String>) -> Self {
        let mut key = Zeroizing::new([0; 64]);
        key[..32].copy_from_slice(secret);
        Self {
            mac: <Hmac<Sha256> as KeyInit>::new(&(*key).into()),
            issuer: issuer.into(),
            audience: audience.into(),
        }
    }

    /// A token for an account's session. `jti` names it.
    pub fn issue(&self, session: TokenFor<'_>, jti: String, now_s: u64) -> String {
        let claims = AccessClaims {
            iss: self.issuer.clone(),
            aud: self.audience.clone(),
            sub: session.did.to_owned(),
            client_id: session.client_id.to_owned(),
            scope: session.scope.to_owned(),
            sid: session.session.to_owned(),
            jti,
            iat: now_s,
            exp: now_s + ACCESS_LIFETIME_S,
            cnf: Confirmation {
                jkt: session.thumbprint.to_owned(),
            },
        };
        let mut token = BASE64URL_NOPAD.encode(HEADER.as_bytes());
        token.push('.');
        // Plain strings and numbers always serialise.
        let body = serde_json::to_vec(&claims).unwrap_or_default();
        BASE64URL_NOPAD.encode_append(&body, &mut token);
        let mut mac = self.mac.clone();
        mac.update(token.as_bytes());
        let tag = mac.finalize().into_bytes();
        token.push('.');
        BASE64URL_NOPAD.encode_append(&tag, &mut token);
        token
    }

    /// Checks a token; whether its session was ended is for the caller to see.
    pub fn verify(&self, token: &str, now_s: u64) -> Result<AccessClaims, OAuthError> {
        let wrong = |why: &'static str| OAuthError::new(ErrorCode::InvalidToken, why);
        let unverified = || wrong("the access token is not one of this server");
        if token.len() > MAX_TOKEN_BYTES {
            return Err(unverified());
        }
        let (signed, tag) = token.rsplit_once('.').ok_or_else(unverified)?;
        let (header, body) = signed.split_once('.').ok_or_else(unverified)?;
        let decode = |part: &str| {
            BASE64URL_NOPAD
                .decode(part.as_bytes())
                .map_err(|_| unverified())
        };
        let mut mac = self.mac.clone();
        mac.update(signed.as_bytes());
        mac.verify_slice(&decode(tag)?).map_err(|_| unverified())?;
        let header: Value = serde_json::from_slice(&decode(header)?).map_err(|_| unverified())?;
        if header["alg"] != "HS256" || header["typ"] != "at+jwt" {
            return Err(unverified());
        }
        let claims: AccessClaims =
            serde_json::from_slice(&decode(body)?).map_err(|_| unverified())?;
        if claims.iss != self.issuer || claims.aud != self.audience {
            return Err(unverified());
        }
        if claims.exp <= now_s {
            return Err(wrong("the access token has expired"));
        }
        Ok(claims)
    }
}

/// For whom a token is.
#[derive(Clone, Copy, Debug)]
pub struct TokenFor<'a> {
    /// The account.
    pub did: &'a str,
    /// The client.
    pub client_id: &'a str,
    /// What it allows.
    pub scope: &'a str,
    /// The session.
    pub session: &'a str,
    /// Thumbprint of the client's key.
    pub thumbprint: &'a str,
}

#[cfg(test)]
mod tests {
    use super::*;

    fn tokens(secret: u8, issuer: &str) -> AccessTokens {
        AccessTokens::new(&[secret; 32], issuer, "did:web:pds.example.com")
    }

    fn token() -> String {
        let session = TokenFor {
            did: "did:plc:a",
            client_id: "https://app.example.com/c.json",
            scope: "atproto",
            session: "s",
            thumbprint: "key",
        };
        tokens(1, "https://pds.example.com").issue(session, "j".into(), 1000)
    }

    #[test]
    fn a_token_is_read_back_until_it_ends() {
        let ours = tokens(1, "https://pds.example.com");
        let claims = ours.verify(&token(), 1001).unwrap();
        assert_eq!(
            (claims.sub.as_str(), claims.thumbprint()),
            ("did:plc:a", "key")
        );
        assert!(ours.verify(&token(), 1000 + ACCESS_LIFETIME_S).is_err());
        assert!(
            tokens(2, "https://pds.example.com")
                .verify(&token(), 1001)
                .is_err()
        );
        assert!(
            tokens(1, "https://other.example.com")
                .verify(&token(), 1001)
                .is_err()
        );
    }

    #[test]
    fn every_changed_byte_is_noticed() {
        let ours = tokens(1, "https://pds.example.com");
        for at in 0..token().len() {
            let mut bytes = token().into_bytes();
            bytes[at] = if bytes[at] == b'A' { b'B' } else { b'A' };
            let changed = String::from_utf8(bytes).unwrap();
            assert!(ours.verify(&changed, 1001).is_err(), "{at}");
        }
    }
}
