//! Decentralised identifiers.

use super::newtype::text_identifier;

text_identifier!(
    /// A decentralised identifier, such as `did:plc:7iza6de2dwap2sbkpav7c6c6`.
    ///
    /// Any method is accepted, 2048 bytes at most (<https://atproto.com/specs/did>).
    Did, "DID", check
);

const MAX_BYTES: usize = 2048;

impl Did {
    /// The method, such as `plc`.
    pub fn method(&self) -> &str {
        self.parts().0
    }

    /// What follows the method: for did:plc the 24 characters, for did:web the host.
    pub fn method_specific(&self) -> &str {
        self.parts().1
    }

    fn parts(&self) -> (&str, &str) {
        self.as_str()
            .strip_prefix("did:")
            .and_then(|rest| rest.split_once(':'))
            .unwrap_or_default()
    }
}

fn check(text: &str) -> Result<(), &'static str> {
    if text.len() > MAX_BYTES {
        return Err("at most 2048 bytes");
    }
    let rest = text.strip_prefix("did:").ok_or("begins with \"did:\"")?;
    let (method, specific) = rest
        .split_once(':')
        .ok_or("has a method and an identifier, divided by a colon")?;
    if method.is_empty() || !method.bytes().all(|b| b.is_ascii_lowercase()) {
        return Err("its method is one or more of a-z");
    }
    if specific.is_empty() {
        return Err("its identifier is not empty");
    }
    if !specific
        .bytes()
        .all(|b| b.is_ascii_alphanumeric() || matches!(b, b'.' | b'_' | b':' | b'%' | b'-'))
    {
        return Err("its identifier consists of A-Z a-z 0-9 . _ : % -");
    }
    if specific.ends_with([':', '%']) {
        return Err("it does not end with a colon or percent sign");
    }
    Ok(())
}
