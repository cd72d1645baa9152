//! Scopes in words.

use super::{Action, Permission};

/// One thing that a client asks for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Words {
    /// What, in a few words.
    pub what: String,
    /// More of it: names of collections, methods, services.
    pub detail: String,
    /// Whether to look twice.
    pub grave: bool,
}

/// Permissions in words.
pub fn words(permissions: &[Permission]) -> Vec<Words> {
    permissions.iter().filter_map(describe).collect()
}

fn describe(permission: &Permission) -> Option<Words> {
    let words = |what: &str, detail: String, grave: bool| Words {
        what: what.to_owned(),
        detail,
        grave,
    };
    Some(match permission {
        Permission::Include(_) => return None,
        Permission::Atproto => words("Know who you are", "Your handle and DID, which are public.".into(), false),
        Permission::Generic => words(
            "Use your account as you do",
            "Write, change and delete everything you publish; see your timelines and settings. Not: direct messages, e-mail \
             address, password, handle, or deleting the account."
                .into(),
            true,
        ),
        Permission::Chat => words("Read and send your direct messages", String::new(), true),
        Permission::Email => words("See your e-mail address", String::new(), false),
        Permission::Repo {
            collections,
            actions,
        } => {
            let verbs: Vec<&str> = actions
                .iter()
                .map(|action| match action {
                    Action::Create => "create",
                    Action::Update => "change",
                    Action::Delete => "delete",
                })
                .collect();
            let all = collections.iter().any(|c| c == "*");
            let what = match all {
                true => format!("{} records of every kind", listed(&verbs)),
                false => format!("{} records", listed(&verbs)),
            };
            let detail = if all { String::new() } else { collections.join(", ") };
            words(&capital(&what), detail, all)
        }
        Permission::Rpc { methods, audience } => {
            let to = match audience.as_str() {
                "*" => "any service".to_owned(),
                one => one.split('#').next().unwrap_or(one).to_owned(),
            };
            let all = methods.iter().any(|m| m == "*");
            let detail = if all { "Every method.".to_owned() } else { methods.join(", ") };
            words(&format!("Speak to {to} in your name"), detail, all)
        }
        Permission::Blob { accept } => {
            let detail = match accept.iter().any(|a| a == "*/*") {
                true => "Of every kind.".to_owned(),
                false => accept.join(", "),
            };
            words("Upload files", detail, false)
        }
        Permission::Account { attribute, manage } => {
            let what = match (attribute.as_str(), manage) {
                ("email", false) => "See your e-mail address",
                ("email", true) => "See and confirm your e-mail address",
                ("repo", false) => "Take a copy of all your data",
                ("repo", true) => "Replace all your data",
                (_, false) => "See whether your account is active",
                (_, true) => "Switch your account off",
            };
            words(what, String::new(), *manage)
        }
        Permission::Identity { attribute } => match attribute.as_str() {
            "handle" => words("Change your handle", String::new(), true),
            _ => words("Change your identity", "Handle, keys and where your account lives.".into(), true),
        },
    })
}

fn listed(verbs: &[&str]) -> String {
    match verbs {
        [] => String::new(),
        [one] => (*one).to_owned(),
        [all @ .., last] => format!("{} and {last}", all.join(", ")),
    }
}

fn capital(text: &str) -> String {
    let mut chars = text.chars();
    let first = chars.next().map(|c| c.to_ascii_uppercase());
    first.into_iter().chain(chars).collect()
}

#[cfg(test)]
mod tests {
    use crate::scope::Permissions;

    #[test]
    fn in_words() {
        let scope = "atproto repo:app.bsky.feed.post?action=create&action=delete rpc:a.b.c?aud=did:web:x.example%23s";
        let words = Permissions::parse(scope).unwrap().words();
        let what: Vec<&str> = words.iter().map(|w| w.what.as_str()).collect();
        assert_eq!(
            what,
            [
                "Know who you are",
                "Create and delete records",
                "Speak to did:web:x.example in your name"
            ]
        );
        assert_eq!(words[1].detail, "app.bsky.feed.post");
    }
}
