//! Demonstrating proof of possession (RFC 9449), nonces required.

use std::collections::HashSet;

use data_encoding::BASE64URL_NOPAD;
use hmac::{Hmac, KeyInit, Mac};
use serde_json::Value;
use sha2::{Digest, Sha256};
use url::Url;
use zeroize::Zeroizing;

use crate::error::{ErrorCode, OAuthError};
use crate::jose::{Jws, PublicKey};
use crate::secret::{hash_secret, secret_matches};

/// Seconds for which a nonce is the newest; it is taken for as long again.
pub const NONCE_WINDOW_S: u64 = 60;
/// How far a client's clock may be off, in seconds. The nonce is what shows that a proof is fresh.
const CLOCK_SKEW_S: u64 = 600;
/// Longest name of a proof, in bytes.
const MAX_JTI_BYTES: usize = 512;
/// Proofs that are remembered in one window.
const MAX_PROOFS: usize = 1 << 19;

/// The server's nonces: made from a secret and the time, so that none has to be kept.
pub struct Nonces(Zeroizing<[u8; 32]>);

impl Nonces {
    /// Nonces of a secret. With a fresh one at each start no proof of an earlier run is taken again.
    pub fn new(secret: [u8; 32]) -> Self {
        Self(Zeroizing::new(secret))
    }

    /// The newest.
    pub fn current(&self, now_s: u64) -> String {
        self.of(now_s / NONCE_WINDOW_S)
    }

    fn of(&self, window: u64) -> String {
        let mut key = Zeroizing::new([0; 64]);
        key[..32].copy_from_slice(&*self.0);
        let mut mac = <Hmac<Sha256> as KeyInit>::new(&(*key).into());
        mac.update(&window.to_be_bytes());
        BASE64URL_NOPAD.encode(&mac.finalize().into_bytes()[..16])
    }

    fn accepts(&self, nonce: &str, now_s: u64) -> bool {
        let window = now_s / NONCE_WINDOW_S;
        secret_matches(nonce, &self.of(window))
            || secret_matches(nonce, &self.of(window.saturating_sub(1)))
    }
}

/// What a proof must be for.
#[derive(Clone, Copy, Debug)]
pub struct ProofFor<'a> {
    /// Method of the request.
    pub method: &'a str,
    /// URL of the request without query, as clients see it.
    pub url: &'a str,
    /// The access token that comes with it.
    pub access_token: Option<&'a str>,
    /// Seconds since 1970.
    pub now_s: u64,
}

/// A proof that was checked, but for whether it was seen before.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Proof {
    /// Thumbprint of the key that made it.
    pub thumbprint: String,
    /// What makes it one of a kind: its key and its name.
    id: [u8; 32],
}

/// Checks the value of a `DPoP` header (RFC 9449 section 4.3). [`Replays`] tells whether it was used before.
pub fn check_proof(
    header: &str,
    wanted: &ProofFor<'_>,
    nonces: &Nonces,
) -> Result<Proof, OAuthError> {
    let wrong = |why: &str| OAuthError::proof(format!("the DPoP proof is refused: {why}"));
    let jws = Jws::parse(header).map_err(|e| wrong(&e.to_string()))?;
    if jws.header.get("typ").and_then(Value::as_str) != Some("dpop+jwt") {
        return Err(wrong("its type is not dpop+jwt"));
    }
    let jwk = jws
        .header
        .get("jwk")
        .ok_or_else(|| wrong("it has no jwk"))?;
    let key = PublicKey::from_jwk(jwk).map_err(|e| wrong(&e.to_string()))?;
    jws.verify(&key).map_err(|e| wrong(&e.to_string()))?;
    let jti = jws
        .text("jti")
        .filter(|jti| !jti.is_empty() && jti.len() <= MAX_JTI_BYTES);
    let jti = jti.ok_or_else(|| wrong("jti is missing or too long"))?;
    if jws.text("htm") != Some(wanted.method) {
        return Err(wrong("htm is not the request's method"));
    }
    let htu = jws.text("htu").ok_or_else(|| wrong("htu is missing"))?;
    if without_query(htu).is_none_or(|htu| Some(htu) != without_query(wanted.url)) {
        return Err(wrong("htu is not the request's URL"));
    }
    let iat = jws.time("iat").ok_or_else(|| wrong("iat is missing"))?;
    if iat.abs_diff(wanted.now_s) > CLOCK_SKEW_S {
        return Err(wrong("iat is too far from the server's time"));
    }
    match (jws.text("ath"), wanted.access_token) {
        (Some(ath), Some(token)) if secret_matches(ath, &hash_secret(token)) => {}
        (None, None) => {}
        (None, Some(_)) => return Err(wrong("ath is missing")),
        _ => return Err(wrong("ath is not the hash of the access token")),
    }
    let nonce = jws
        .text("nonce")
        .ok_or_else(|| use_nonce("a DPoP proof needs the server's nonce"))?;
    if !nonces.accepts(nonce, wanted.now_s) {
        return Err(use_nonce(
            "the nonce of the DPoP proof is not the server's newest",
        ));
    }
    let thumbprint = key.thumbprint();
    let mut id = Sha256::new();
    id.update(thumbprint.as_bytes());
    id.update(jti.as_bytes());
    Ok(Proof {
        thumbprint,
        id: id.finalize().into(),
    })
}

fn use_nonce(why: &'static str) -> OAuthError {
    OAuthError::new(ErrorCode::UseDpopNonce, why)
}

/// A URL in its normal form, without query and fragment.
fn without_query(url: &str) -> Option<String> {
    let mut url = Url::parse(url).ok()?;
    if !matches!(url.scheme(), "http" | "https")
        || !url.username().is_empty()
        || url.password().is_some()
    {
        return None;
    }
    url.set_query(None);
    url.set_fragment(None);
    Some(url.into())
}

/// Proofs that were used, for as long as their nonces are taken. Bounded: when full, requests have to wait.
#[derive(Debug, Default)]
pub struct Replays {
    window: u64,
    now: HashSet<[u8; 32]>,
    before: HashSet<[u8; 32]>,
    earlier: HashSet<[u8; 32]>,
}

impl Replays {
    /// Notes a proof; refuses one that was used.
    pub fn use_up(&mut self, proof: &Proof, now_s: u64) -> Result<(), OAuthError> {
        let window = now_s / NONCE_WINDOW_S;
        // A clock that is set back must not make room for old proofs.
        while self.window < window {
            let passed = window - self.window;
            self.earlier = std::mem::take(&mut self.before);
            self.before = std::mem::take(&mut self.now);
            self.window = if passed > 3 {
                window - 3
            } else {
                self.window + 1
            };
        }
        let seen = [&self.now, &self.before, &self.earlier];
        if seen.iter().any(|set| set.contains(&proof.id)) {
            return Err(OAuthError::proof("the DPoP proof was used before"));
        }
        if self.now.len() >= MAX_PROOFS {
            let why = "too many requests at one time: try again in a minute";
            return Err(OAuthError::new(ErrorCode::TemporarilyUnavailable, why));
        }
        self.now.insert(proof.id);
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::jose::testing::{jwk, sign, signing_key};

    const URL: &str = "https://pds.example.com/oauth/token";
    const NOW: u64 = 1_700_000_000;

    fn nonces() -> Nonces {
        Nonces::new([9; 32])
    }

    fn wanted(access_token: Option<&str>) -> ProofFor<'_> {
        ProofFor {
            method: "POST",
            url: URL,
            access_token,
            now_s: NOW,
        }
    }

    fn claims() -> Value {
        json!({ "jti": "1", "htm": "POST", "htu": URL, "iat": NOW, "nonce": nonces().current(NOW) })
    }

    fn proof(claims: &Value) -> String {
        let key = signing_key(5);
        sign(
            &key,
            &json!({"alg": "ES256", "typ": "dpop+jwt", "jwk": jwk(&key)}),
            claims,
        )
    }

    fn code(claims: &Value, token: Option<&str>) -> Option<ErrorCode> {
        check_proof(&proof(claims), &wanted(token), &nonces())
            .err()
            .map(|e| e.code)
    }

    #[test]
    fn a_good_proof_is_taken_once() {
        let checked = check_proof(&proof(&claims()), &wanted(None), &nonces()).unwrap();
        let mut replays = Replays::default();
        assert_eq!(replays.use_up(&checked, NOW), Ok(()));
        for later in [0, 30, NONCE_WINDOW_S, 2 * NONCE_WINDOW_S] {
            assert!(replays.use_up(&checked, NOW + later).is_err(), "{later}");
        }
        // by then its nonce is refused
        assert_eq!(replays.use_up(&checked, NOW + 10 * NONCE_WINDOW_S), Ok(()));
        assert!(!nonces().accepts(&nonces().current(NOW), NOW + 2 * NONCE_WINDOW_S));
    }

    #[test]
    fn what_a_proof_says_is_compared() {
        let wrong = Some(ErrorCode::InvalidDpopProof);
        for (name, value) in [
            ("htm", json!("GET")),
            ("htm", json!("post")),
            ("htu", json!("https://pds.example.com/oauth/par")),
            ("htu", json!("https://other.example.com/oauth/token")),
            ("htu", json!("https://me@pds.example.com/oauth/token")),
            ("iat", json!(NOW - 3600)),
            ("iat", json!("now")),
            ("jti", json!("")),
            ("jti", json!(1)),
            ("ath", json!("AAAA")),
        ] {
            let mut claims = claims();
            claims[name] = value.clone();
            assert_eq!(code(&claims, None), wrong, "{name} {value}");
        }
        let mut query = claims();
        query["htu"] = format!("{URL}?a=b#c").into();
        assert_eq!(code(&query, None), None);
    }

    #[test]
    fn the_token_is_bound() {
        let mut bound = claims();
        bound["ath"] = hash_secret("token").into();
        assert_eq!(code(&bound, Some("token")), None);
        assert_eq!(
            code(&bound, Some("other")),
            Some(ErrorCode::InvalidDpopProof)
        );
        assert_eq!(
            code(&claims(), Some("token")),
            Some(ErrorCode::InvalidDpopProof)
        );
    }

    #[test]
    fn a_nonce_is_asked_for() {
        let mut old = claims();
        old["nonce"] = nonces().current(NOW - 5 * NONCE_WINDOW_S).into();
        assert_eq!(code(&old, None), Some(ErrorCode::UseDpopNonce));
        old.as_object_mut().unwrap().remove("nonce");
        assert_eq!(code(&old, None), Some(ErrorCode::UseDpopNonce));
    }

    #[test]
    fn a_proof_of_another_type_or_key_is_refused() {
        let (key, other) = (signing_key(5), signing_key(6));
        for header in [
            json!({"alg": "ES256", "typ": "JWT", "jwk": jwk(&key)}),
            json!({"alg": "ES256", "typ": "dpop+jwt"}),
            json!({"alg": "ES256", "typ": "dpop+jwt", "jwk": jwk(&other)}),
        ] {
            let token = sign(&key, &header, &claims());
            let refused = check_proof(&token, &wanted(None), &nonces());
            assert_eq!(
                refused.err().map(|e| e.code),
                Some(ErrorCode::InvalidDpopProof)
            );
        }
    }
}
