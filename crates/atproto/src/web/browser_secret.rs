//! The secret by which a page knows a browser again, and its cookie.

use http::{HeaderMap, header};

/// Length of a secret of 256 bits in base64url.
const LENGTH: usize = 43;

/// A fresh secret of 256 bits, in base64url.
///
/// # Errors
/// When the system has no random numbers.
pub fn fresh_secret() -> Result<String, getrandom::Error> {
    let mut bytes = [0; 32];
    getrandom::fill(&mut bytes)?;
    Ok(data_encoding::BASE64URL_NOPAD.encode(&bytes))
}

/// The secret in the cookie of this name, if there is one of the right length.
pub fn secret_of<'a>(headers: &'a HeaderMap, name: &str) -> Option<&'a str> {
    let cookies = headers.get_all(header::COOKIE).iter();
    let mut pairs = cookies
        .filter_map(|v| v.to_str().ok())
        .flat_map(|v| v.split(';'));
    let value = pairs.find_map(|pair| pair.trim().strip_prefix(name)?.strip_prefix('='));
    value.filter(|secret| secret.len() == LENGTH)
}
