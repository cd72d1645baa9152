//! Proof key for code exchange (RFC 7636), by S256 only.

use serde::{Deserialize, Serialize};

use crate::error::OAuthError;
use crate::secret::{hash_secret, secret_matches};

/// The hash that a client sends ahead of its verifier.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Challenge(String);

impl Challenge {
    /// Reads the parameters of an authorisation request.
    pub fn parse(challenge: Option<&str>, method: Option<&str>) -> Result<Self, OAuthError> {
        let challenge = challenge
            .ok_or_else(|| OAuthError::request("code_challenge is missing: PKCE is required"))?;
        if method != Some("S256") {
            let found = method.unwrap_or("plain");
            let found: String = found.chars().take(20).collect();
            return Err(OAuthError::request(format!(
                "code_challenge_method must be S256, it is {found:?}"
            )));
        }
        if challenge.len() != 43 || !challenge.bytes().all(is_base64url) {
            return Err(OAuthError::request(
                "code_challenge must be 43 characters of base64url, the SHA-256 of the verifier",
            ));
        }
        Ok(Self(challenge.to_owned()))
    }

    /// Checks the verifier that comes with the code.
    pub fn verify(&self, verifier: Option<&str>) -> Result<(), OAuthError> {
        let verifier = verifier.ok_or_else(|| OAuthError::grant("code_verifier is missing"))?;
        let unreserved = |b: u8| is_base64url(b) || b == b'.' || b == b'~';
        if !(43..=128).contains(&verifier.len()) || !verifier.bytes().all(unreserved) {
            return Err(OAuthError::grant(
                "code_verifier must be 43 to 128 unreserved characters",
            ));
        }
        if !secret_matches(&hash_secret(verifier), &self.0) {
            return Err(OAuthError::grant(
                "code_verifier does not fit the challenge",
            ));
        }
        Ok(())
    }
}

fn is_base64url(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || byte == b'-' || byte == b'_'
}

#[cfg(test)]
mod tests {
    use super::*;

    // RFC 7636, appendix B
    const VERIFIER: &str = "dBjftJeZ4CVP-mB92K27uhbUJU1p1r_wW1gFWFOEjXk";
    const CHALLENGE: &str = "E9Melhoa2OwvFrEMTJguCHaoeK1t8URWbuGJSstw-cM";

    #[test]
    fn the_example_of_the_rfc() {
        let challenge = Challenge::parse(Some(CHALLENGE), Some("S256")).unwrap();
        assert_eq!(challenge.verify(Some(VERIFIER)), Ok(()));
        assert!(challenge.verify(Some(CHALLENGE)).is_err());
        assert!(challenge.verify(None).is_err());
    }

    #[test]
    fn plain_or_none_is_refused() {
        for (challenge, method) in [
            (Some(VERIFIER), None),
            (Some(VERIFIER), Some("plain")),
            (None, Some("S256")),
            (Some("short"), Some("S256")),
        ] {
            assert!(Challenge::parse(challenge, method).is_err());
        }
    }
}
