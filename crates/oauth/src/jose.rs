//! Signed tokens of others: ES256 keys and compact signatures (RFC 7515, 7517, 7638).

use data_encoding::BASE64URL_NOPAD;
use p256::ecdsa::signature::Verifier;
use p256::ecdsa::{Signature, VerifyingKey};
use serde_json::{Map, Value};
use sha2::{Digest, Sha256};

/// Longest token that is looked at, in bytes.
const MAX_TOKEN_BYTES: usize = 8192;

/// Why a key or a token cannot be read.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum JoseError {
    /// Not three parts of base64url with JSON objects in the first two.
    #[error("it is not a signed token of at most {MAX_TOKEN_BYTES} bytes")]
    Malformed,
    /// Only ES256 is taken.
    #[error("it is not signed by ES256")]
    Algorithm,
    /// Header parameters that must be understood are not.
    #[error("its header has critical extensions, which are not known here")]
    Critical,
    /// Not a public key on P-256.
    #[error("its key is not a public key of kind EC on P-256")]
    Key,
    /// Signed by something else.
    #[error("its signature does not fit")]
    Signature,
}

/// A public key on P-256.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PublicKey {
    key: VerifyingKey,
    x: String,
    y: String,
}

impl PublicKey {
    /// Reads a JSON Web Key. One with its private part is refused: whoever sends that around has lost it.
    pub fn from_jwk(jwk: &Value) -> Result<Self, JoseError> {
        let text = |name: &str| jwk.get(name).and_then(Value::as_str);
        if text("kty") != Some("EC") || text("crv") != Some("P-256") || jwk.get("d").is_some() {
            return Err(JoseError::Key);
        }
        if text("alg").is_some_and(|alg| alg != "ES256") {
            return Err(JoseError::Key);
        }
        let coordinate = |name| -> Result<(String, Vec<u8>), JoseError> {
            let text = text(name).filter(|t| t.len() == 43).ok_or(JoseError::Key)?;
            let bytes = BASE64URL_NOPAD.decode(text.as_bytes());
            Ok((text.to_owned(), bytes.map_err(|_| JoseError::Key)?))
        };
        let (x, x_bytes) = coordinate("x")?;
        let (y, y_bytes) = coordinate("y")?;
        let point = [&[4], x_bytes.as_slice(), y_bytes.as_slice()].concat();
        let key = VerifyingKey::from_sec1_bytes(&point).map_err(|_| JoseError::Key)?;
        Ok(Self { key, x, y })
    }

    /// The name of the key by its content (RFC 7638), SHA-256 in base64url.
    pub fn thumbprint(&self) -> String {
        let (x, y) = (&self.x, &self.y);
        let canonical = format!(r#"{{"crv":"P-256","kty":"EC","x":"{x}","y":"{y}"}}"#);
        BASE64URL_NOPAD.encode(&Sha256::digest(canonical.as_bytes()))
    }
}

/// A token, read but not yet verified.
pub(crate) struct Jws<'a> {
    /// Its header.
    pub header: Map<String, Value>,
    /// What it says.
    pub claims: Map<String, Value>,
    signed: &'a str,
    signature: Signature,
}

impl<'a> Jws<'a> {
    /// Reads a token. Its algorithm must be ES256 whatever the header would like.
    pub fn parse(token: &'a str) -> Result<Self, JoseError> {
        if token.len() > MAX_TOKEN_BYTES {
            return Err(JoseError::Malformed);
        }
        let (signed, signature) = token.rsplit_once('.').ok_or(JoseError::Malformed)?;
        let (header, claims) = signed.split_once('.').ok_or(JoseError::Malformed)?;
        let header = object(header)?;
        if header.get("alg").and_then(Value::as_str) != Some("ES256") {
            return Err(JoseError::Algorithm);
        }
        if header.contains_key("crit") {
            return Err(JoseError::Critical);
        }
        let signature = Signature::from_slice(&decode(signature)?);
        Ok(Self {
            header,
            claims: object(claims)?,
            signed,
            signature: signature.map_err(|_| JoseError::Signature)?,
        })
    }

    /// Checks the signature.
    pub fn verify(&self, key: &PublicKey) -> Result<(), JoseError> {
        let signed = self.signed.as_bytes();
        let verified = key.key.verify(signed, &self.signature);
        verified.map_err(|_| JoseError::Signature)
    }

    /// A claim that is a text.
    pub fn text(&self, name: &str) -> Option<&str> {
        self.claims.get(name).and_then(Value::as_str)
    }

    /// A claim that is a time, in seconds since 1970.
    pub fn time(&self, name: &str) -> Option<u64> {
        let value = self.claims.get(name)?;
        let whole = value.as_f64().filter(|s| *s >= 0.0).map(|s| s as u64);
        value.as_u64().or(whole)
    }
}

fn decode(part: &str) -> Result<Vec<u8>, JoseError> {
    let decoded = BASE64URL_NOPAD.decode(part.as_bytes());
    decoded.map_err(|_| JoseError::Malformed)
}

fn object(part: &str) -> Result<Map<String, Value>, JoseError> {
    serde_json::from_slice(&decode(part)?).map_err(|_| JoseError::Malformed)
}

#[cfg(test)]
pub(crate) mod testing {
    use p256::ecdsa::SigningKey;
    use p256::ecdsa::signature::Signer;
    use serde_json::json;

    use super::*;

    /// A key made from a seed.
    pub fn signing_key(seed: u8) -> SigningKey {
        SigningKey::from_slice(&[seed; 32]).unwrap()
    }

    /// Its public part.
    pub fn jwk(key: &SigningKey) -> Value {
        let point = key.verifying_key().to_sec1_point(false);
        let (x, y) = point.as_bytes()[1..].split_at(32);
        json!({ "kty": "EC", "crv": "P-256", "x": BASE64URL_NOPAD.encode(x), "y": BASE64URL_NOPAD.encode(y) })
    }

    /// A token.
    pub fn sign(key: &SigningKey, header: &Value, claims: &Value) -> String {
        let part = |v: &Value| BASE64URL_NOPAD.encode(v.to_string().as_bytes());
        let signed = format!("{}.{}", part(header), part(claims));
        let signature: Signature = key.sign(signed.as_bytes());
        format!("{signed}.{}", BASE64URL_NOPAD.encode(&signature.to_bytes()))
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::testing::{jwk, sign, signing_key};
    use super::*;

    #[test]
    fn a_signature_is_checked() {
        let key = signing_key(3);
        let public = PublicKey::from_jwk(&jwk(&key)).unwrap();
        let token = sign(&key, &json!({"alg": "ES256"}), &json!({"a": "b"}));
        let jws = Jws::parse(&token).unwrap();
        assert_eq!(jws.verify(&public), Ok(()));
        assert_eq!(jws.text("a"), Some("b"));
        let other = PublicKey::from_jwk(&jwk(&signing_key(4))).unwrap();
        assert_eq!(jws.verify(&other), Err(JoseError::Signature));
    }

    #[test]
    fn confused_algorithms_and_keys_are_refused() {
        let key = signing_key(3);
        for alg in ["none", "HS256", "ES256K", "es256"] {
            let token = sign(&key, &json!({"alg": alg}), &json!({}));
            assert_eq!(
                Jws::parse(&token).err(),
                Some(JoseError::Algorithm),
                "{alg}"
            );
        }
        let mut private = jwk(&key);
        private["d"] = "AAAA".into();
        assert_eq!(PublicKey::from_jwk(&private), Err(JoseError::Key));
        let mut off_curve = jwk(&key);
        off_curve["y"] = off_curve["x"].clone();
        assert_eq!(PublicKey::from_jwk(&off_curve), Err(JoseError::Key));
        let oct = json!({"kty": "oct", "k": "AAAA"});
        assert_eq!(PublicKey::from_jwk(&oct), Err(JoseError::Key));
    }

    #[test]
    fn the_thumbprint_of_a_known_key() {
        // RFC 9449, section 4.1 (key) and section 6.1 (thumbprint)
        let key = json!({
            "kty": "EC", "crv": "P-256",
            "x": "l8tFrhx-34tV3hRICRDY9zCkDlpBhF42UQUfWVAWBFs",
            "y": "9VE4jf_Ok_o64zbTTlcuNJajHmt6v9TDVrU0CdvGRDA",
        });
        let key = PublicKey::from_jwk(&key).unwrap();
        assert_eq!(
            key.thumbprint(),
            "0ZcOCORZNYy-DWpqq30jZyJGHTN0d2HglBV3uiguA4I"
        );
    }
}
