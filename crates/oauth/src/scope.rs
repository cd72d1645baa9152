//! Scopes: what a client may do with an account ([permissions](https://atproto.com/specs/permission)).

mod grammar;
mod include;
mod words;

pub use include::{Include, expand};
pub use words::{Words, words};

use ues_repo::syntax::Nsid;

use crate::error::{ErrorCode, OAuthError};
use grammar::Parts;

const MAX_BYTES: usize = 4096;
const MAX_SCOPES: usize = 128;
/// Permission sets of one request: each has to be fetched.
const MAX_INCLUDES: usize = 16;
/// The same of what was granted, with what permission sets stand for written out.
const MAX_GRANTED_BYTES: usize = 256 << 10;
const MAX_GRANTED: usize = 4096;

/// What is done with a record.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Action {
    /// A new one.
    Create,
    /// Another content for one.
    Update,
    /// One taken away.
    Delete,
}

impl Action {
    const ALL: [Self; 3] = [Self::Create, Self::Update, Self::Delete];

    /// The name in a scope.
    pub fn name(self) -> &'static str {
        match self {
            Self::Create => "create",
            Self::Update => "update",
            Self::Delete => "delete",
        }
    }
}

/// One scope.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Permission {
    /// `atproto`: to know whose account it is. Every request has it.
    Atproto,
    /// `transition:generic`: what an app password allows.
    Generic,
    /// `transition:chat.bsky`: direct messages, what a privileged app password allows besides.
    Chat,
    /// `transition:email`: to read the e-mail address.
    Email,
    /// `repo:…`: to write records.
    Repo {
        /// Names of collections, or `*`.
        collections: Vec<String>,
        /// What is done with them.
        actions: Vec<Action>,
    },
    /// `rpc:…`: to call methods of other services in the account's name.
    Rpc {
        /// Names of methods, or `*`.
        methods: Vec<String>,
        /// DID of the service with its fragment, or `*`.
        audience: String,
    },
    /// `blob:…`: to upload files.
    Blob {
        /// Patterns of media types, such as `image/*`.
        accept: Vec<String>,
    },
    /// `account:…`: an attribute of the account.
    Account {
        /// `email`, `repo` or `status`.
        attribute: String,
        /// Whether it may be changed, or only read.
        manage: bool,
    },
    /// `identity:…`: an attribute of the identity.
    Identity {
        /// `handle` or `*`.
        attribute: String,
    },
    /// `include:…`: what a permission set grants. It allows nothing until it is [expanded](expand).
    Include(Include),
}

/// All that a session may do.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Permissions(Vec<Permission>);

impl Permissions {
    /// Reads the text of a scope parameter; `atproto` must be in it.
    pub fn parse(scope: &str) -> Result<Self, OAuthError> {
        let all = Self::parse_within(scope, MAX_BYTES, MAX_SCOPES)?;
        if all.includes().count() > MAX_INCLUDES {
            let why = format!("the scope has more than {MAX_INCLUDES} permission sets");
            return Err(OAuthError::new(ErrorCode::InvalidScope, why));
        }
        Ok(all)
    }

    /// Reads what was granted: a scope that may be longer, since its permission sets are written out.
    pub fn granted(scope: &str) -> Result<Self, OAuthError> {
        Self::parse_within(scope, MAX_GRANTED_BYTES, MAX_GRANTED)
    }

    fn parse_within(scope: &str, bytes: usize, values: usize) -> Result<Self, OAuthError> {
        let wrong = |why: String| OAuthError::new(ErrorCode::InvalidScope, why);
        if scope.len() > bytes || scope.split(' ').count() > values {
            let why = format!("the scope is longer than {bytes} bytes or {values} values");
            return Err(wrong(why));
        }
        let mut all = Vec::new();
        for text in scope.split(' ') {
            let permission = parse_one(text).ok_or_else(|| {
                let text: String = text.chars().take(100).collect();
                wrong(format!("the scope {text:?} is not known"))
            })?;
            if !all.contains(&permission) {
                all.push(permission);
            }
        }
        if !all.contains(&Permission::Atproto) {
            return Err(wrong("the scope must have atproto".into()));
        }
        Ok(Self(all))
    }

    /// Each of them.
    pub fn iter(&self) -> impl Iterator<Item = &Permission> {
        self.0.iter()
    }

    /// The permission sets among them.
    pub fn includes(&self) -> impl Iterator<Item = &Include> {
        self.0.iter().filter_map(|p| match p {
            Permission::Include(include) => Some(include),
            _ => None,
        })
    }

    fn any(&self, allows: impl Fn(&Permission) -> bool) -> bool {
        self.0.iter().any(allows)
    }

    /// Whether it allows what an app password does.
    pub fn is_generic(&self) -> bool {
        self.any(|p| *p == Permission::Generic)
    }

    /// Whether it allows direct messages, as a privileged app password does.
    pub fn has_chat(&self) -> bool {
        self.any(|p| *p == Permission::Chat)
    }

    /// Whether records of a collection may be written so.
    pub fn allows_repo(&self, collection: &str, action: Action) -> bool {
        self.any(|p| match p {
            Permission::Generic => true,
            Permission::Repo {
                collections,
                actions,
            } => {
                actions.contains(&action) && collections.iter().any(|c| c == "*" || c == collection)
            }
            _ => false,
        })
    }

    /// Whether a file of a media type may be uploaded.
    pub fn allows_blob(&self, media_type: &str) -> bool {
        self.any(|p| match p {
            Permission::Generic => true,
            Permission::Blob { accept } => accept.iter().any(|a| accepts(a, media_type)),
            _ => false,
        })
    }

    /// Whether a method of a service may be called in the account's name.
    pub fn allows_rpc(&self, method: &str, audience: &str) -> bool {
        let chat = method.starts_with("chat.bsky.");
        self.any(|p| match p {
            Permission::Generic => !chat,
            Permission::Chat => chat,
            Permission::Rpc {
                methods,
                audience: allowed,
            } => {
                (allowed == "*" || allowed == audience)
                    && methods.iter().any(|m| m == "*" || m == method)
            }
            _ => false,
        })
    }

    /// Whether a method may be called on some service at least.
    pub fn names_method(&self, method: &str) -> bool {
        self.any(|p| matches!(p, Permission::Rpc { methods, .. } if methods.iter().any(|m| m == "*" || m == method)))
    }

    /// Whether an attribute of the account may be read, or changed.
    pub fn allows_account(&self, attribute: &str, manage: bool) -> bool {
        self.any(|p| match p {
            Permission::Email => attribute == "email" && !manage,
            Permission::Account {
                attribute: own,
                manage: may,
            } => own == attribute && (*may || !manage),
            _ => false,
        })
    }

    /// Whether an attribute of the identity may be changed.
    pub fn allows_identity(&self, attribute: &str) -> bool {
        self.any(|p| matches!(p, Permission::Identity { attribute: own } if own == "*" || own == attribute))
    }

    /// What it allows, in words for the account's owner; without its permission sets, which have words of their own.
    pub fn words(&self) -> Vec<Words> {
        words(&self.0)
    }
}

fn parse_one(text: &str) -> Option<Permission> {
    match text {
        "atproto" => return Some(Permission::Atproto),
        "transition:generic" => return Some(Permission::Generic),
        "transition:chat.bsky" => return Some(Permission::Chat),
        "transition:email" => return Some(Permission::Email),
        _ => {}
    }
    let parts = Parts::parse(text)?;
    match parts.resource {
        "repo" => {
            let collections = parts.values("collection", &["collection", "action"])?;
            let named = |c: &String| c == "*" || Nsid::parse(c).is_ok();
            let actions = match parts.query("action").as_slice() {
                [] => Action::ALL.to_vec(),
                names => names
                    .iter()
                    .map(|name| Action::ALL.into_iter().find(|a| a.name() == name))
                    .collect::<Option<_>>()?,
            };
            (!collections.is_empty() && collections.iter().all(named)).then_some(Permission::Repo {
                collections,
                actions,
            })
        }
        "rpc" => {
            let methods = parts.values("lxm", &["lxm", "aud"])?;
            let audience = parts.single("aud")??;
            let named = |m: &String| m == "*" || Nsid::parse(m).is_ok();
            let any = methods.iter().any(|m| m == "*");
            let service =
                audience == "*" || (audience.starts_with("did:") && audience.contains('#'));
            (!methods.is_empty()
                && methods.iter().all(named)
                && service
                && !(any && audience == "*"))
                .then_some(Permission::Rpc { methods, audience })
        }
        "blob" => {
            let accept = parts.values("accept", &["accept"])?;
            let pattern = |a: &String| match a.split_once('/') {
                Some(("*", "*")) => true,
                Some((kind, sub)) => is_token(kind) && (sub == "*" || is_token(sub)),
                None => false,
            };
            (!accept.is_empty() && accept.iter().all(pattern))
                .then_some(Permission::Blob { accept })
        }
        "account" => {
            let attribute = one(parts.values("attr", &["attr", "action"])?)?;
            let manage = match parts.single("action")?.as_deref() {
                None | Some("read") => false,
                Some("manage") => true,
                Some(_) => return None,
            };
            ["email", "repo", "status"]
                .contains(&attribute.as_str())
                .then_some(Permission::Account { attribute, manage })
        }
        "include" => {
            let set = one(parts.values("nsid", &["nsid", "aud"])?)?;
            let audience = parts.single("aud")?;
            let service = |a: &String| a.starts_with("did:") && a.contains('#');
            (Nsid::parse(&set).is_ok() && audience.as_ref().is_none_or(service))
                .then_some(Permission::Include(Include { set, audience }))
        }
        "identity" => {
            let attribute = one(parts.values("attr", &["attr"])?)?;
            ["handle", "*"]
                .contains(&attribute.as_str())
                .then_some(Permission::Identity { attribute })
        }
        _ => None,
    }
}

fn one(mut values: Vec<String>) -> Option<String> {
    let only = values.pop();
    only.filter(|_| values.is_empty())
}

fn is_token(text: &str) -> bool {
    let good = |b: u8| b.is_ascii_alphanumeric() || b"!#$&-^_.+".contains(&b);
    !text.is_empty() && text.bytes().all(good)
}

fn accepts(pattern: &str, media_type: &str) -> bool {
    if pattern == "*/*" || pattern == media_type {
        return true;
    }
    pattern
        .strip_suffix('*')
        .is_some_and(|start| media_type.starts_with(start))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn scope(text: &str) -> Permissions {
        Permissions::parse(&format!("atproto {text}")).unwrap()
    }

    #[test]
    fn known_scopes() {
        for good in [
            "transition:generic transition:chat.bsky transition:email",
            "repo:app.bsky.feed.post",
            "repo:app.bsky.feed.post?action=create&action=delete",
            "repo?collection=app.bsky.feed.post&collection=app.bsky.feed.like",
            "repo:*",
            "rpc:app.bsky.feed.getTimeline?aud=did:web:api.bsky.app%23bsky_appview",
            "rpc:app.bsky.feed.getTimeline?aud=*",
            "rpc:*?aud=did:web:api.bsky.app%23bsky_appview",
            "blob:*/*",
            "blob?accept=image/*&accept=video/mp4",
            "account:email",
            "account:repo?action=manage",
            "identity:handle",
            "identity:*",
            "include:com.example.set",
            "include:com.example.set?aud=did:web:api.bsky.app%23bsky_appview",
        ] {
            assert!(
                Permissions::parse(&format!("atproto {good}")).is_ok(),
                "{good}"
            );
        }
    }

    #[test]
    fn unknown_scopes() {
        for bad in [
            "",
            "transition:generic",
            "atproto ",
            "atproto openid",
            "atproto repo",
            "atproto repo:",
            "atproto repo:notansid",
            "atproto repo:app.bsky.feed.post?action=read",
            "atproto repo:app.bsky.feed.post?collection=app.bsky.feed.like",
            "atproto repo:app.bsky.feed.post?other=1",
            "atproto rpc:app.bsky.feed.getTimeline",
            "atproto rpc:*?aud=*",
            "atproto rpc:*?aud=did:web:a%23b&aud=did:web:c%23d",
            "atproto rpc:app.bsky.feed.getTimeline?aud=https://api.bsky.app",
            "atproto blob:image",
            "atproto blob:*/png",
            "atproto account:password",
            "atproto account:email?action=delete",
            "atproto identity:key",
            "atproto include:set",
            "atproto include:*",
            "atproto include:com.example.set?aud=*",
            "atproto include:com.example.set?aud=did:web:api.bsky.app",
            "atproto include:com.example.set?action=create",
        ] {
            assert!(Permissions::parse(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn what_is_allowed() {
        let posts = scope("repo:app.bsky.feed.post?action=create");
        assert!(posts.allows_repo("app.bsky.feed.post", Action::Create));
        assert!(!posts.allows_repo("app.bsky.feed.post", Action::Delete));
        assert!(!posts.allows_repo("app.bsky.feed.like", Action::Create));
        assert!(!posts.allows_blob("image/png"));

        let generic = scope("transition:generic");
        assert!(generic.allows_repo("app.bsky.feed.post", Action::Delete));
        assert!(generic.allows_rpc("app.bsky.feed.getTimeline", "did:web:a#b"));
        assert!(!generic.allows_rpc("chat.bsky.convo.listConvos", "did:web:a#b"));
        assert!(!generic.allows_account("email", false));
        assert!(!generic.allows_identity("handle"));

        let chat = scope("transition:chat.bsky");
        assert!(chat.allows_rpc("chat.bsky.convo.listConvos", "did:web:a#b"));
        assert!(!chat.allows_repo("app.bsky.feed.post", Action::Create));

        let images = scope("blob:image/*");
        assert!(images.allows_blob("image/png") && !images.allows_blob("video/mp4"));

        let rpc = scope("rpc:com.example.a?aud=did:web:a%23b");
        assert!(rpc.allows_rpc("com.example.a", "did:web:a#b"));
        assert!(!rpc.allows_rpc("com.example.a", "did:web:a#c"));
        assert!(!rpc.allows_rpc("com.example.b", "did:web:a#b"));

        let email = scope("account:email");
        assert!(email.allows_account("email", false) && !email.allows_account("email", true));
        assert!(scope("transition:email").allows_account("email", false));
        assert!(scope("identity:*").allows_identity("handle"));
    }

    proptest::proptest! {
        #[test]
        fn nothing_panics(text in ".{0,200}") {
            let _ = Permissions::parse(&text);
        }

        #[test]
        fn what_is_taken_allows_only_what_it_names(
            collection in "[a-z]{1,5}\\.[a-z]{1,5}\\.[a-z]{1,5}",
            other in "[a-z]{1,5}\\.[a-z]{1,5}\\.[a-z]{1,5}",
        ) {
            let posts = scope(&format!("repo:{collection}"));
            proptest::prop_assert!(posts.allows_repo(&collection, Action::Update));
            proptest::prop_assert_eq!(posts.allows_repo(&other, Action::Update), other == collection);
        }
    }
}
