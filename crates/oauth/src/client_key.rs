//! How a confidential client shows who it is: a token signed with one of its keys (RFC 7523).

use serde_json::Value;

use crate::error::OAuthError;
use crate::jose::{Jws, PublicKey};
use crate::secret::hash_secret;

/// The only `client_assertion_type`.
pub const ASSERTION_TYPE: &str = "urn:ietf:params:oauth:client-assertion-type:jwt-bearer";
/// Longest key set that is read.
pub const MAX_JWKS_BYTES: usize = 64 << 10;
const MAX_KEYS: usize = 32;
/// Longest life of an assertion, and how far clocks may differ, in seconds.
const MAX_AGE_S: u64 = 300;

/// The keys of a client.
#[derive(Clone, Debug)]
pub struct ClientKeys(Vec<(Option<String>, PublicKey)>);

/// A client that has shown who it is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AssertedClient {
    /// Thumbprint of the key that it used.
    pub thumbprint: String,
    /// Names the assertion, which must be taken once only.
    pub once: String,
    /// When the assertion ends, in seconds since 1970.
    pub ends_s: u64,
}

impl ClientKeys {
    /// Reads a key set. Keys of other kinds are passed over.
    pub fn parse(jwks: &Value) -> Result<Self, OAuthError> {
        let keys = jwks.get("keys").and_then(Value::as_array);
        let keys = keys.ok_or_else(|| OAuthError::metadata("the client's key set has no keys"))?;
        if keys.len() > MAX_KEYS {
            return Err(OAuthError::metadata(
                "the client's key set has more than 32 keys",
            ));
        }
        let usable = keys
            .iter()
            .filter(|k| k.get("use").is_none_or(|u| u == "sig"));
        let keys = usable.filter_map(|jwk| {
            let kid = jwk.get("kid").and_then(Value::as_str).map(str::to_owned);
            Some((kid, PublicKey::from_jwk(jwk).ok()?))
        });
        let keys: Vec<_> = keys.collect();
        if keys.is_empty() {
            return Err(OAuthError::metadata(
                "the client's key set has no public ES256 key",
            ));
        }
        Ok(Self(keys))
    }

    /// Checks an assertion, which must be meant for this server.
    pub fn check(
        &self,
        assertion: &str,
        client_id: &str,
        issuer: &str,
        now_s: u64,
    ) -> Result<AssertedClient, OAuthError> {
        let wrong = |why: &str| OAuthError::client(format!("client_assertion is refused: {why}"));
        let jws = Jws::parse(assertion).map_err(|e| wrong(&e.to_string()))?;
        let kid = jws.header.get("kid").and_then(Value::as_str);
        let mut fitting = self
            .0
            .iter()
            .filter(|(own, _)| kid.is_none() || own.as_deref() == kid);
        let signed_by = fitting.find(|(_, key)| jws.verify(key).is_ok());
        let (_, key) =
            signed_by.ok_or_else(|| wrong("it is signed by none of the client's keys"))?;
        if jws.text("iss") != Some(client_id) || jws.text("sub") != Some(client_id) {
            return Err(wrong("iss and sub must be the client_id"));
        }
        let audience = match jws.claims.get("aud") {
            Some(Value::Array(all)) => all.len() == 1 && all[0] == issuer,
            Some(one) => one == issuer,
            None => false,
        };
        if !audience {
            return Err(wrong("aud must be the issuer of this server"));
        }
        let iat = jws.time("iat").ok_or_else(|| wrong("iat is missing"))?;
        let ends_s = jws
            .time("exp")
            .unwrap_or(iat + MAX_AGE_S)
            .min(iat + MAX_AGE_S);
        if iat > now_s + MAX_AGE_S || ends_s <= now_s {
            return Err(wrong("it has ended, or has not begun"));
        }
        let jti = jws.text("jti").filter(|jti| (1..=512).contains(&jti.len()));
        let jti = jti.ok_or_else(|| wrong("jti is missing or too long"))?;
        Ok(AssertedClient {
            thumbprint: key.thumbprint(),
            once: hash_secret(&format!("{client_id}\n{jti}")),
            ends_s,
        })
    }
}

/// The `client_id` that an assertion says it is for, before it is checked.
pub fn asserted_client(assertion: &str) -> Option<String> {
    let jws = Jws::parse(assertion).ok()?;
    jws.text("sub").map(str::to_owned)
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::jose::testing::{jwk, sign, signing_key};

    const CLIENT: &str = "https://app.example.com/client.json";
    const ISSUER: &str = "https://pds.example.com";
    const NOW: u64 = 1_700_000_000;

    fn keys() -> ClientKeys {
        let mut key = jwk(&signing_key(7));
        key["kid"] = "a".into();
        ClientKeys::parse(&json!({ "keys": [{"kty": "RSA", "n": "x"}, key] })).unwrap()
    }

    fn check(
        change: impl Fn(&mut Value),
        seed: u8,
        kid: &str,
    ) -> Result<AssertedClient, OAuthError> {
        let mut claims = json!({
            "iss": CLIENT, "sub": CLIENT, "aud": ISSUER, "jti": "1", "iat": NOW, "exp": NOW + 60,
        });
        change(&mut claims);
        let token = sign(
            &signing_key(seed),
            &json!({"alg": "ES256", "kid": kid}),
            &claims,
        );
        keys().check(&token, CLIENT, ISSUER, NOW)
    }

    #[test]
    fn an_assertion() {
        let good = check(|_| {}, 7, "a").unwrap();
        assert_eq!(good.ends_s, NOW + 60);
        assert!(check(|_| {}, 8, "a").is_err());
        assert!(check(|_| {}, 7, "b").is_err());
        for (name, value) in [
            ("iss", json!("https://other.example.com/client.json")),
            ("sub", json!("https://other.example.com/client.json")),
            ("aud", json!("https://other.example.com")),
            ("aud", json!([ISSUER, "https://other.example.com"])),
            ("exp", json!(NOW - 1)),
            ("iat", json!(NOW + 3600)),
            ("iat", json!(NOW - 3600)),
            ("jti", json!(null)),
        ] {
            assert!(
                check(|claims| claims[name] = value.clone(), 7, "a").is_err(),
                "{name} {value}"
            );
        }
    }
}
