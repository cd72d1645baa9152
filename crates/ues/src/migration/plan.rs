//! Which steps are left, and which handle the account gets.

use serde::{Deserialize, Serialize};

use super::desk::Identity;
use crate::failure::{Failure, Outcome};
use crate::output::printable;

/// Which way an account moves.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Direction {
    /// From another server to this node.
    From,
    /// From this node to another server.
    To,
}

/// The server that an account's identity names.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Home {
    /// The one that it leaves.
    Old,
    /// The one that it moves to.
    New,
}

/// A step of a move.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Step {
    /// An account at the new server, switched off.
    Account,
    /// Its records.
    Repository,
    /// Its blobs.
    Blobs,
    /// What apps keep for it.
    Preferences,
    /// Nothing is missing.
    Check,
    /// The identity names the new server.
    Identity,
    /// The new account is switched on.
    Activate,
    /// The old account is switched off.
    Deactivate,
}

impl Step {
    /// All, in their order.
    pub const ALL: [Self; 8] = [
        Self::Account,
        Self::Repository,
        Self::Blobs,
        Self::Preferences,
        Self::Check,
        Self::Identity,
        Self::Activate,
        Self::Deactivate,
    ];

    /// Its name.
    pub fn name(self) -> &'static str {
        match self {
            Self::Account => "account",
            Self::Repository => "repository",
            Self::Blobs => "blobs",
            Self::Preferences => "preferences",
            Self::Check => "check",
            Self::Identity => "identity",
            Self::Activate => "activate",
            Self::Deactivate => "deactivate",
        }
    }
}

/// The steps that are left while the identity names this server.
///
/// Whatever came before is done again while it names the old one, for the account may have changed there. Once it names
/// the new one only what changed last is copied, and nothing once that one is switched on: the account may have changed
/// there.
pub fn steps(home: Home) -> &'static [Step] {
    match home {
        Home::Old => &Step::ALL,
        Home::New => &[Step::Activate, Step::Deactivate],
    }
}

/// Where an account lives. `new` is the address by which the new server calls itself, as far as it is known.
///
/// # Errors
/// When it lives at a third server.
pub fn home(direction: Direction, identity: &Identity, new: Option<&str>) -> Outcome<Home> {
    let bare = |url: &str| url.trim_end_matches('/').to_owned();
    let named = identity.endpoint.as_deref().map(bare);
    match (direction, identity.here) {
        (Direction::From, true) => Ok(Home::New),
        (Direction::From, false) | (Direction::To, true) => Ok(Home::Old),
        (Direction::To, false) if named.is_some() && named == new.map(bare) => Ok(Home::New),
        (Direction::To, false) => Err(Failure::failed(match named {
            Some(named) => format!(
                "the account does not live here: its identity names {}",
                printable(&named)
            ),
            None => "the account's identity names no server".to_owned(),
        })),
    }
}

/// The handle that the account gets at the new server: the one asked for, else the one that it has, unless that one
/// belongs to the old server.
///
/// # Errors
/// When it has to be asked for.
pub fn handle(
    asked: Option<&str>,
    has: &str,
    old_domains: &[String],
    new_domains: &[String],
) -> Outcome<String> {
    let within = |domains: &[String]| domains.iter().any(|domain| has.ends_with(domain.as_str()));
    match asked {
        Some(asked) => {
            let asked = asked
                .strip_prefix('@')
                .unwrap_or(asked)
                .to_ascii_lowercase();
            match new_domains.first() {
                Some(domain) if !asked.contains('.') => Ok(format!("{asked}{domain}")),
                _ => Ok(asked),
            }
        }
        None if within(old_domains) && !within(new_domains) => {
            let name = has.split('.').next().unwrap_or(has);
            let domain = new_domains.first().map_or(".example.com", String::as_str);
            Err(
                Failure::usage(format!("the handle {has} belongs to the old server"))
                    .hint(format!("say which one to take: --handle {name}{domain}")),
            )
        }
        None => Ok(has.to_owned()),
    }
}

/// The fields of the operation by which a did:plc names its new server: what that one recommends in the place of what
/// the old one did, and all else as it was. Keys that may sign the next operation are the new server's, after those to
/// be kept.
///
/// # Errors
/// When the identity has such keys that neither server knows: whose they are has to be said.
pub fn operation(
    now: &serde_json::Value,
    recommended: &serde_json::Value,
    old_keys: &[String],
    keep: &[String],
    drop: &[String],
) -> Outcome<serde_json::Value> {
    let texts = |value: &serde_json::Value| -> Vec<String> {
        let list = value.as_array().into_iter().flatten();
        list.filter_map(|v| v.as_str().map(str::to_owned)).collect()
    };
    let new_keys = texts(&recommended["rotationKeys"]);
    let has = texts(&now["rotationKeys"]);
    let known = |key: &String| {
        [old_keys, &new_keys, keep, drop]
            .iter()
            .any(|list| list.contains(key))
    };
    if let Some(unknown) = has.iter().find(|key| !known(key)) {
        let unknown = printable(unknown);
        return Err(Failure::usage(format!(
            "the identity may also be changed with the key {unknown}, which neither server names as its own"
        ))
        .hint(format!(
            "--keep-key {unknown} keeps it, if it is yours\n--drop-key {unknown} leaves it out"
        )));
    }
    let mut rotation: Vec<String> = has.into_iter().filter(|key| keep.contains(key)).collect();
    let more: Vec<String> = new_keys
        .into_iter()
        .filter(|key| !rotation.contains(key))
        .collect();
    rotation.extend(more);
    let merged = |name: &str| {
        let mut all = now[name].as_object().cloned().unwrap_or_default();
        all.extend(recommended[name].as_object().cloned().unwrap_or_default());
        all
    };
    let mut names = texts(&recommended["alsoKnownAs"]);
    let other = texts(&now["alsoKnownAs"]).into_iter();
    names.extend(other.filter(|name| !name.starts_with("at://")));
    Ok(serde_json::json!({
        "rotationKeys": rotation,
        "alsoKnownAs": names,
        "verificationMethods": merged("verificationMethods"),
        "services": merged("services"),
    }))
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    fn identity(endpoint: &str, here: bool) -> Identity {
        let (endpoint, key, plc) = (Some(endpoint.to_owned()), None, None);
        Identity {
            endpoint,
            here,
            key,
            plc,
        }
    }

    #[test]
    fn the_identity_says_what_is_left() {
        let there = identity("https://other.example/", false);
        let here = identity("https://node.example", true);
        assert_eq!(home(Direction::From, &there, None).unwrap(), Home::Old);
        assert_eq!(home(Direction::From, &here, None).unwrap(), Home::New);
        assert_eq!(home(Direction::To, &here, None).unwrap(), Home::Old);
        let new = Some("https://other.example");
        assert_eq!(home(Direction::To, &there, new).unwrap(), Home::New);
        assert!(home(Direction::To, &there, None).is_err());
        assert!(home(Direction::To, &there, Some("https://third.example")).is_err());

        assert_eq!(steps(Home::Old), Step::ALL);
        let after: Vec<Step> = Step::ALL
            .into_iter()
            .filter(|step| *step > Step::Identity)
            .collect();
        assert_eq!(steps(Home::New), after, "nothing that copies");
    }

    #[test]
    fn handles() {
        let (old, new) = ([".old.example".to_owned()], [".new.example".to_owned()]);
        let choose = |asked, has| handle(asked, has, &old, &new).ok();
        assert_eq!(choose(None, "a.own.org").as_deref(), Some("a.own.org"));
        assert_eq!(choose(None, "a.old.example"), None);
        assert_eq!(
            choose(Some("a"), "a.old.example").as_deref(),
            Some("a.new.example")
        );
        assert_eq!(
            choose(Some("@B.org"), "a.old.example").as_deref(),
            Some("b.org")
        );
        let both = [".test".to_owned()];
        assert_eq!(handle(None, "a.test", &both, &both).unwrap(), "a.test");
    }

    #[test]
    fn an_operation_changes_what_belongs_to_the_servers() {
        let now = json!({
            "rotationKeys": ["did:key:mine", "did:key:old"],
            "alsoKnownAs": ["at://a.old.example", "https://a.example"],
            "verificationMethods": { "atproto": "did:key:a", "atproto_label": "did:key:l" },
            "services": {
                "atproto_pds": { "type": "AtprotoPersonalDataServer", "endpoint": "https://old" },
                "atproto_labeler": { "type": "AtprotoLabeler", "endpoint": "https://label" },
            },
        });
        let recommended = json!({
            "rotationKeys": ["did:key:new"],
            "alsoKnownAs": ["at://a.new.example"],
            "verificationMethods": { "atproto": "did:key:b" },
            "services": { "atproto_pds": { "type": "AtprotoPersonalDataServer", "endpoint": "https://new" } },
        });
        let old = ["did:key:old".to_owned()];
        let mine = ["did:key:mine".to_owned()];
        let make =
            |keep: &[String], drop: &[String]| operation(&now, &recommended, &old, keep, drop);
        assert!(
            make(&[], &[])
                .unwrap_err()
                .hint
                .unwrap()
                .contains("did:key:mine")
        );
        let keys = |made: Outcome<Value>| made.unwrap()["rotationKeys"].clone();
        assert_eq!(
            keys(make(&mine, &[])),
            json!(["did:key:mine", "did:key:new"])
        );
        let made = make(&[], &mine).unwrap();
        assert_eq!(made["rotationKeys"], json!(["did:key:new"]));
        assert_eq!(
            made["alsoKnownAs"],
            json!(["at://a.new.example", "https://a.example"])
        );
        assert_eq!(made["verificationMethods"]["atproto"], "did:key:b");
        assert_eq!(made["verificationMethods"]["atproto_label"], "did:key:l");
        assert_eq!(made["services"]["atproto_pds"]["endpoint"], "https://new");
        assert_eq!(
            made["services"]["atproto_labeler"]["endpoint"],
            "https://label"
        );
    }
}
