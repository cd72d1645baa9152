//! Handles: domain names that stand for an account.

use super::newtype::text_identifier;

text_identifier!(
    /// A domain name that stands for an account, such as `alice.example.com`.
    ///
    /// The text keeps its case; [`Handle::normalize`] gives the form to compare
    /// (<https://atproto.com/specs/handle>).
    Handle, "handle", check
);

const MAX_BYTES: usize = 253;
const MAX_LABEL: usize = 63;

/// Top-level domains that syntax allows and registration does not.
const RESERVED: [&str; 8] = [
    "alt",
    "arpa",
    "example",
    "internal",
    "invalid",
    "local",
    "localhost",
    "onion",
];

impl Handle {
    /// The handle that stands for one which does not resolve to its account.
    pub fn invalid() -> Self {
        Self("handle.invalid".into())
    }

    /// Whether this is `handle.invalid`.
    pub fn is_invalid(&self) -> bool {
        self.as_str().eq_ignore_ascii_case("handle.invalid")
    }

    /// The same handle in lower case.
    pub fn normalize(&self) -> Self {
        if self.as_str().bytes().any(|b| b.is_ascii_uppercase()) {
            Self(self.as_str().to_ascii_lowercase().into())
        } else {
            self.clone()
        }
    }

    /// The last label, such as `com`.
    pub fn tld(&self) -> &str {
        self.as_str().rsplit('.').next().unwrap_or_default()
    }

    /// Whether the network lets an account have this top-level domain.
    ///
    /// `.test` is allowed here; whether it is depends on the node being a local one.
    pub fn has_allowed_tld(&self) -> bool {
        !RESERVED
            .iter()
            .any(|tld| self.tld().eq_ignore_ascii_case(tld))
    }
}

/// Checks one label of a domain name; says nothing of which characters it may begin with.
pub(super) fn check_label(label: &str) -> Result<(), &'static str> {
    if label.is_empty() {
        return Err("its labels are not empty");
    }
    if label.len() > MAX_LABEL {
        return Err("its labels have at most 63 characters");
    }
    if !label
        .bytes()
        .all(|b| b.is_ascii_alphanumeric() || b == b'-')
    {
        return Err("its labels consist of A-Z a-z 0-9 -");
    }
    if label.starts_with('-') || label.ends_with('-') {
        return Err("its labels neither begin nor end with a hyphen");
    }
    Ok(())
}

fn check(text: &str) -> Result<(), &'static str> {
    if text.len() > MAX_BYTES {
        return Err("at most 253 characters");
    }
    let mut labels = 0;
    let mut last = "";
    for label in text.split('.') {
        check_label(label)?;
        labels += 1;
        last = label;
    }
    if labels < 2 {
        return Err("has two or more labels, divided by dots");
    }
    if !last.starts_with(|c: char| c.is_ascii_alphabetic()) {
        return Err("its last label begins with a letter");
    }
    Ok(())
}
