//! URIs of any scheme.

use super::newtype::text_identifier;

text_identifier!(
    /// A URI of any scheme: a scheme, a colon and something without spaces, 8192 bytes at most.
    ///
    /// As loose as the lexicon format `uri` (RFC 3986 scheme; the rest is not looked into).
    Uri, "URI", check
);

const MAX_BYTES: usize = 8192;
const MAX_SCHEME: usize = 81;

impl Uri {
    /// The scheme, such as `https`.
    pub fn scheme(&self) -> &str {
        self.as_str()
            .split_once(':')
            .map_or("", |(scheme, _)| scheme)
    }
}

fn check(text: &str) -> Result<(), &'static str> {
    if text.len() > MAX_BYTES {
        return Err("at most 8192 bytes");
    }
    let (scheme, rest) = text.split_once(':').ok_or("has a scheme and a colon")?;
    if scheme.len() > MAX_SCHEME
        || !scheme.starts_with(|c: char| c.is_ascii_alphabetic())
        || !scheme
            .bytes()
            .all(|b| b.is_ascii_alphanumeric() || matches!(b, b'+' | b'-' | b'.'))
    {
        return Err("its scheme begins with a letter and consists of A-Z a-z 0-9 + - .");
    }
    if rest.is_empty() {
        return Err("something follows the scheme");
    }
    if rest.chars().any(|c| c.is_whitespace() || c.is_control()) {
        return Err("has no white space or control characters");
    }
    Ok(())
}
