//! Which handles an account of this node may take.

use std::sync::LazyLock;

use ues_repo::syntax::Handle;

use crate::config::Config;
use crate::xrpc::XrpcError;

static RESERVED: LazyLock<Vec<&str>> =
    LazyLock::new(|| include_str!("reserved_handles.txt").lines().collect());

/// Shortest name before a domain of the node.
const MIN_NAME: usize = 3;
/// Longest name before a domain of the node.
const MAX_NAME: usize = 18;

/// Reads a handle in any case.
pub fn parse(text: &str) -> Result<Handle, XrpcError> {
    Handle::parse(text)
        .map(|h| h.normalize())
        .map_err(|e| XrpcError::named("InvalidHandle", e.to_string()))
}

/// A handle that has passed the node's rules.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Allowed {
    /// Under one of the node's own domains.
    Own(Handle),
    /// Under a domain of somebody else, who must point it to the account's DID.
    Foreign(Handle),
}

/// Checks a handle against the rules of the node's own domains.
pub fn check(config: &Config, text: &str) -> Result<Allowed, XrpcError> {
    check_names(config, text, false)
}

/// The same for whoever administers the node: names that are reserved are allowed.
pub fn check_with_reserved(config: &Config, text: &str) -> Result<Allowed, XrpcError> {
    check_names(config, text, true)
}

fn check_names(config: &Config, text: &str, reserved: bool) -> Result<Allowed, XrpcError> {
    let handle = parse(text)?;
    if !handle.has_allowed_tld() {
        return Err(XrpcError::named(
            "InvalidHandle",
            "Handle TLD is invalid or disallowed",
        ));
    }
    let Some(domain) = config
        .handle_domains
        .iter()
        .find(|d| handle.as_str().ends_with(d.as_str()))
    else {
        return Ok(Allowed::Foreign(handle));
    };
    let name = handle
        .as_str()
        .strip_suffix(domain.as_str())
        .unwrap_or_default();
    let refused = |why| Err(XrpcError::named("InvalidHandle", why));
    if name.contains('.') {
        return refused("Invalid characters in handle");
    }
    if name.len() < MIN_NAME {
        return refused("Handle too short");
    }
    if name.len() > MAX_NAME {
        return refused("Handle too long");
    }
    if !reserved && RESERVED.binary_search(&name).is_ok() {
        return Err(XrpcError::named("HandleNotAvailable", "Reserved handle"));
    }
    Ok(Allowed::Own(handle))
}

/// Whether an e-mail address can be one: a local part, an at sign, a domain with a dot.
pub fn is_email(text: &str) -> bool {
    let Some((local, domain)) = text.rsplit_once('@') else {
        return false;
    };
    let plain = |c: char| !c.is_whitespace() && !c.is_control() && !matches!(c, '<' | '>' | ',');
    let label = |l: &str| {
        (1..=63).contains(&l.len())
            && l.chars().all(|c| c.is_alphanumeric() || c == '-')
            && !l.starts_with('-')
            && !l.ends_with('-')
    };
    (1..=64).contains(&local.len())
        && domain.len() <= 253
        && domain.contains('.')
        && domain.split('.').all(label)
        && local.chars().all(|c| plain(c) && c != '@')
        && !local.starts_with('.')
        && !local.ends_with('.')
        && !local.contains("..")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn refused(text: &str) -> (String, String) {
        let error = check(&Config::default(), text).unwrap_err();
        (error.name().to_owned(), error.message().to_owned())
    }

    #[test]
    fn own_handles_follow_the_rules() {
        let allowed = check(&Config::default(), "Alice.test").unwrap();
        assert_eq!(allowed, Allowed::Own(Handle::parse("alice.test").unwrap()));
        assert_eq!(refused("a.b.test").1, "Invalid characters in handle");
        assert_eq!(refused("ab.test").1, "Handle too short");
        assert_eq!(refused("abcdefghijklmnopqrs.test").1, "Handle too long");
        assert_eq!(refused("admin.test").0, "HandleNotAvailable");
        assert_eq!(refused("not a handle").0, "InvalidHandle");
        assert_eq!(
            refused("alice.local").1,
            "Handle TLD is invalid or disallowed"
        );
    }

    #[test]
    fn the_reserved_names_are_sorted() {
        assert!(RESERVED.is_sorted());
    }

    #[test]
    fn addresses() {
        for good in ["alice@test.com", "a.b+c@sub.example.org", "x@müller.de"] {
            assert!(is_email(good), "{good}");
        }
        for bad in [
            "",
            "alice",
            "alice@",
            "@test.com",
            "a@b",
            "a b@test.com",
            "a@-x.com",
            "a@b..c",
        ] {
            assert!(!is_email(bad), "{bad}");
        }
    }
}
