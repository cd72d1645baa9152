//! `include:…`: a bundle of permissions that an application asks for by the name under which somebody publishes it
//! ([permission sets](https://atproto.com/specs/permission#permission-sets)).

use std::collections::HashMap;
use std::fmt;

use ues_repo::lexicon::{Permission as Listed, PermissionSet};

use super::{Action, Permission, parse_one};

/// A permission set, and for which service.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Include {
    /// NSID under which the set is published.
    pub set: String,
    /// DID of a service with its fragment, for the methods of the set that leave the service open.
    pub audience: Option<String>,
}

impl Include {
    /// What the set grants: records and methods within the namespace of its own name. Whatever else it lists is left
    /// out, each permission as a whole.
    pub fn grants(&self, set: &PermissionSet) -> Vec<Permission> {
        let listed = set.permissions.iter();
        listed.filter_map(|listed| self.grant(listed)).collect()
    }

    fn grant(&self, listed: &Listed) -> Option<Permission> {
        let only = |known: &[&str]| {
            listed
                .parameters
                .keys()
                .all(|k| known.contains(&k.as_str()))
        };
        let values = |name: &str| listed.parameters.get(name).cloned();
        let within = |names: &[String]| names.iter().all(|name| self.is_within(name));
        match listed.resource.as_str() {
            "repo" if only(&["collection", "action"]) => {
                let collections = values("collection").filter(|c| within(c))?;
                let text = scope_text(
                    "repo",
                    "collection",
                    &collections,
                    &[("action", values("action"))],
                );
                parse_one(&text)
            }
            "rpc" if only(&["lxm", "aud", "inheritAud"]) => {
                let methods = values("lxm").filter(|m| within(m))?;
                let inherits = match values("inheritAud").as_deref() {
                    None => false,
                    Some([yes]) if yes == "true" => true,
                    Some(_) => return None,
                };
                let audience = match (values("aud").as_deref(), inherits) {
                    // A set cannot name a service of its choice.
                    (Some([any]), false) if any == "*" => any.clone(),
                    (None, true) => self.audience.clone()?,
                    _ => return None,
                };
                let text = scope_text("rpc", "lxm", &methods, &[("aud", Some(vec![audience]))]);
                parse_one(&text)
            }
            _ => None,
        }
    }

    /// Whether a name is in the group of the set's own name, or below it.
    fn is_within(&self, name: &str) -> bool {
        let group = self.set.rfind('.').and_then(|dot| self.set.get(..=dot));
        group.is_some_and(|group| name.len() > group.len() && name.starts_with(group))
    }
}

/// A scope with what its permission sets grant in place of each `include:`.
///
/// `sets` has the sets by name; one that is not among them grants nothing.
pub fn expand(scope: &str, sets: &HashMap<String, PermissionSet>) -> String {
    let mut out: Vec<String> = Vec::new();
    for text in scope.split(' ') {
        match parse_one(text) {
            Some(Permission::Include(include)) => {
                let set = sets.get(&include.set);
                let grants = set.map(|set| include.grants(set)).unwrap_or_default();
                out.extend(grants.iter().map(ToString::to_string));
            }
            _ => out.push(text.to_owned()),
        }
    }
    out.join(" ")
}

impl fmt::Display for Permission {
    /// The scope's text.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let one = |value: &str| Some(vec![value.to_owned()]);
        let text = match self {
            Self::Atproto => "atproto".to_owned(),
            Self::Generic => "transition:generic".to_owned(),
            Self::Chat => "transition:chat.bsky".to_owned(),
            Self::Email => "transition:email".to_owned(),
            Self::Repo {
                collections,
                actions,
            } => {
                let names = actions.iter().map(|a| a.name().to_owned()).collect();
                let named = (actions.len() < Action::ALL.len()).then_some(names);
                scope_text("repo", "collection", collections, &[("action", named)])
            }
            Self::Rpc { methods, audience } => {
                scope_text("rpc", "lxm", methods, &[("aud", one(audience))])
            }
            Self::Blob { accept } => scope_text("blob", "accept", accept, &[]),
            Self::Account { attribute, manage } => {
                let action = manage.then(|| vec!["manage".to_owned()]);
                let attribute = std::slice::from_ref(attribute);
                scope_text("account", "attr", attribute, &[("action", action)])
            }
            Self::Identity { attribute } => {
                scope_text("identity", "attr", std::slice::from_ref(attribute), &[])
            }
            Self::Include(Include { set, audience }) => {
                let audience = audience.as_deref().and_then(one);
                let set = std::slice::from_ref(set);
                scope_text("include", "nsid", set, &[("aud", audience)])
            }
        };
        f.write_str(&text)
    }
}

/// `resource:value?name=value`, with several values of the first parameter all in the query.
fn scope_text(
    resource: &str,
    first: &str,
    values: &[String],
    more: &[(&str, Option<Vec<String>>)],
) -> String {
    let mut text = resource.to_owned();
    let mut pairs = Vec::new();
    match values {
        [one] => {
            text.push(':');
            text.push_str(&encoded(one));
        }
        all => pairs.extend(all.iter().map(|value| (first, value))),
    }
    for (name, values) in more {
        pairs.extend(values.iter().flatten().map(|value| (*name, value)));
    }
    for (index, (name, value)) in pairs.into_iter().enumerate() {
        text.push(if index == 0 { '?' } else { '&' });
        text.push_str(name);
        text.push('=');
        text.push_str(&encoded(value));
    }
    text
}

/// Percent-encoding of what would be taken for something else in a scope.
fn encoded(value: &str) -> String {
    let kept = |b: u8| b.is_ascii_alphanumeric() || b"-._~:/*+,@!".contains(&b);
    let mut out = String::with_capacity(value.len());
    for byte in value.bytes() {
        if kept(byte) {
            out.push(char::from(byte));
        } else {
            out.push_str(&format!("%{byte:02X}"));
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::scope::Permissions;
    use serde_json::{Value, json};
    use ues_repo::lexicon::{Definition, Document};

    const SERVICE: &str = "did:web:api.example.com#service";

    fn set(permissions: &Value) -> PermissionSet {
        let document = json!({
            "lexicon": 1, "id": "com.example.calendar.authFull",
            "defs": { "main": { "type": "permission-set", "title": "Calendar", "permissions": permissions } },
        });
        match Document::parse(&document).unwrap().main() {
            Some(Definition::PermissionSet(set)) => set.clone(),
            other => panic!("{other:?}"),
        }
    }

    fn granted(scope: &str, permissions: Value) -> String {
        let sets = HashMap::from([(
            "com.example.calendar.authFull".to_owned(),
            set(&permissions),
        )]);
        let text = expand(&format!("{scope} atproto"), &sets);
        Permissions::parse(&text).unwrap();
        text.strip_suffix("atproto").unwrap().trim_end().to_owned()
    }

    const PLAIN: &str = "include:com.example.calendar.authFull";
    const TO: &str = "include:com.example.calendar.authFull?aud=did:web:api.example.com%23service";

    fn permission(resource: &str, more: Value) -> Value {
        let mut one = json!({ "type": "permission", "resource": resource });
        for (name, value) in more.as_object().unwrap() {
            one[name] = value.clone();
        }
        one
    }

    #[test]
    fn records_and_methods_of_the_own_namespace() {
        let all = json!([
            permission(
                "repo",
                json!({ "collection": ["com.example.calendar.event"] })
            ),
            permission(
                "repo",
                json!({ "collection": ["com.example.calendar.a", "com.example.calendar.b.c"], "action": ["create"] })
            ),
            permission(
                "rpc",
                json!({ "lxm": ["com.example.calendar.get"], "aud": "*" })
            ),
            permission(
                "rpc",
                json!({ "lxm": ["com.example.calendar.list"], "inheritAud": true })
            ),
        ]);
        let always = "repo:com.example.calendar.event \
            repo?collection=com.example.calendar.a&collection=com.example.calendar.b.c&action=create \
            rpc:com.example.calendar.get?aud=*";
        assert_eq!(granted(PLAIN, all.clone()), always);
        let to =
            format!("{always} rpc:com.example.calendar.list?aud=did:web:api.example.com%23service");
        assert_eq!(granted(TO, all), to);
        let parsed = Permissions::parse(&format!("atproto {to}")).unwrap();
        assert!(parsed.allows_rpc("com.example.calendar.list", SERVICE));
        assert!(!parsed.allows_rpc(
            "com.example.calendar.list",
            "did:web:other.example.com#service"
        ));
    }

    #[test]
    fn nothing_else() {
        for (resource, more) in [
            ("repo", json!({ "collection": ["com.example.other.event"] })),
            (
                "repo",
                json!({ "collection": ["com.example.calendar.event", "app.bsky.feed.post"] }),
            ),
            (
                "repo",
                json!({ "collection": ["com.example.calendarevil.event"] }),
            ),
            ("repo", json!({ "collection": ["com.example.calendar"] })),
            ("repo", json!({ "collection": ["*"] })),
            (
                "repo",
                json!({ "collection": ["com.example.calendar.event"], "unknown": "x" }),
            ),
            ("rpc", json!({ "lxm": ["*"], "aud": "*" })),
            (
                "rpc",
                json!({ "lxm": ["com.example.calendar.get"], "aud": SERVICE }),
            ),
            (
                "rpc",
                json!({ "lxm": ["com.example.calendar.get"], "aud": "*", "inheritAud": true }),
            ),
            (
                "rpc",
                json!({ "lxm": ["com.example.calendar.get"], "inheritAud": false }),
            ),
            ("rpc", json!({ "lxm": ["com.example.calendar.get"] })),
            (
                "rpc",
                json!({ "lxm": ["com.example.other.get"], "aud": "*" }),
            ),
            ("blob", json!({ "accept": ["image/*"] })),
            ("account", json!({ "attr": "email" })),
            ("identity", json!({ "attr": "handle" })),
        ] {
            let one = permission(resource, more.clone());
            assert_eq!(granted(TO, json!([one])), "", "{resource} {more}");
        }
    }

    #[test]
    fn a_set_that_is_missing_grants_nothing() {
        assert_eq!(
            expand("atproto include:com.example.a.b", &HashMap::new()),
            "atproto"
        );
    }

    #[test]
    fn texts_are_read_again() {
        for text in [
            "transition:email",
            "repo:*",
            "repo:com.example.a?action=create&action=delete",
            "rpc?lxm=com.example.a&lxm=com.example.b&aud=*",
            "rpc:*?aud=did:web:localhost%253A123%23x",
            "blob:image/svg+xml",
            "blob?accept=image/*&accept=video/mp4",
            "account:email",
            "account:repo?action=manage",
            "identity:*",
            "include:com.example.a.b",
            "include:com.example.a.b?aud=did:web:x.example%23svc",
        ] {
            let parsed = parse_one(text).expect(text);
            assert_eq!(parsed.to_string(), text);
        }
    }
}
