//! Views of the asking account's own records, as the AppView will show them.

use serde_json::{Map, Value, json};
use ues_repo::repo::write::RecordPath;
use ues_repo::syntax::{AtUri, Did};

use crate::context::Context;
use crate::proxy::pass::ask_json;
use crate::proxy::target::Target;
use crate::xrpc::Call;

use super::local::{LocalRecord, PROFILE, json_of};

/// Makes views for one account.
pub struct Viewer<'a> {
    ctx: &'a Context,
    /// The account.
    pub did: Did,
    handle: String,
    profile: Option<Value>,
}

impl<'a> Viewer<'a> {
    /// A viewer for the calling account.
    pub fn new(call: &'a Call) -> Option<Self> {
        let ctx = &call.ctx;
        let did = call.caller.did()?.clone();
        let account = ctx.accounts.by_did(&did).ok()??;
        let path = RecordPath::parse(PROFILE).ok()?;
        let profile = ctx.repos.get_record(&did, &path).ok()?;
        Some(Self {
            ctx,
            handle: account.handle.to_string(),
            profile: profile.as_ref().and_then(json_of),
            did,
        })
    }

    /// The AppView, if the operator has set one.
    pub fn appview(&self) -> Option<Target> {
        let appview = self.ctx.config.appview.as_ref()?;
        Target::configured(&appview.service).ok()
    }

    /// Where a picture is shown from; `kind` is the AppView's name for its size.
    pub fn image(&self, kind: &str, blob: Option<&Value>) -> Option<Value> {
        let cid = blob?.pointer("/ref/$link")?.as_str()?;
        let appview = self.ctx.config.appview.as_ref();
        let url = match appview.and_then(|a| a.cdn_url_pattern.as_deref()) {
            Some(pattern) => pattern
                .replacen("%s", kind, 1)
                .replacen("%s", self.did.as_str(), 1)
                .replacen("%s", cid, 1),
            None => format!(
                "{}/xrpc/com.atproto.sync.getBlob?did={}&cid={cid}",
                self.ctx.config.endpoint(),
                self.did
            ),
        };
        Some(url.into())
    }

    /// The view of a new post: nobody has liked or answered it yet.
    pub async fn post(&self, post: &LocalRecord) -> Option<Value> {
        let mut view = json!({
            "uri": post.uri,
            "cid": post.cid,
            "likeCount": 0,
            "replyCount": 0,
            "repostCount": 0,
            "quoteCount": 0,
            "author": self.author(),
            "record": post.value,
            "indexedAt": post.indexed_at,
        });
        if let Some(embed) = post.value.get("embed")
            && let Some(embed) = self.embed(embed).await
        {
            view["embed"] = embed;
        }
        Some(view)
    }

    fn author(&self) -> Value {
        let mut view = Map::new();
        view.insert("did".to_owned(), self.did.as_str().into());
        view.insert("handle".to_owned(), self.handle.as_str().into());
        if let Some(profile) = &self.profile {
            let name = profile.get("displayName").cloned();
            view.extend(name.map(|name| ("displayName".to_owned(), name)));
            let avatar = self.image("avatar", profile.get("avatar"));
            view.extend(avatar.map(|avatar| ("avatar".to_owned(), avatar)));
        }
        Value::Object(view)
    }

    async fn embed(&self, embed: &Value) -> Option<Value> {
        match kind(embed)? {
            "app.bsky.embed.record" => Some(self.quote(embed).await),
            "app.bsky.embed.recordWithMedia" => {
                let media = self.media(embed.get("media")?)?;
                Some(json!({
                    "$type": "app.bsky.embed.recordWithMedia#view",
                    "record": self.quote(embed.get("record")?).await,
                    "media": media,
                }))
            }
            _ => self.media(embed),
        }
    }

    fn media(&self, embed: &Value) -> Option<Value> {
        match kind(embed)? {
            "app.bsky.embed.images" => {
                let images = embed.get("images")?.as_array()?;
                let images: Vec<Value> = images.iter().map(|i| self.one_image(i)).collect();
                Some(json!({ "$type": "app.bsky.embed.images#view", "images": images }))
            }
            "app.bsky.embed.external" => {
                let external = embed.get("external")?;
                let mut view = Map::new();
                for field in ["uri", "title", "description"] {
                    let value = external.get(field).cloned();
                    view.extend(value.map(|value| (field.to_owned(), value)));
                }
                let thumb = self.image("feed_thumbnail", external.get("thumb"));
                view.extend(thumb.map(|thumb| ("thumb".to_owned(), thumb)));
                Some(json!({ "$type": "app.bsky.embed.external#view", "external": view }))
            }
            _ => None,
        }
    }

    fn one_image(&self, image: &Value) -> Value {
        let blob = image.get("image");
        let mut view = Map::new();
        let alt = image.get("alt").cloned().unwrap_or_default();
        view.insert("alt".to_owned(), alt);
        for (field, kind) in [("thumb", "feed_thumbnail"), ("fullsize", "feed_fullsize")] {
            let url = self.image(kind, blob);
            view.extend(url.map(|url| (field.to_owned(), url)));
        }
        let ratio = image.get("aspectRatio").cloned();
        view.extend(ratio.map(|ratio| ("aspectRatio".to_owned(), ratio)));
        Value::Object(view)
    }

    /// What a post quotes, as the AppView shows it.
    async fn quote(&self, embed: &Value) -> Value {
        let uri = embed.pointer("/record/uri").and_then(Value::as_str);
        let record = match uri {
            Some(uri) => self.quoted(uri).await,
            None => None,
        };
        let record = record.unwrap_or_else(|| {
            json!({
                "$type": "app.bsky.embed.record#viewNotFound",
                "uri": uri.unwrap_or_default(),
                "notFound": true,
            })
        });
        json!({ "$type": "app.bsky.embed.record#view", "record": record })
    }

    async fn quoted(&self, uri: &str) -> Option<Value> {
        let appview = self.appview()?;
        let parsed = AtUri::parse(uri).ok()?;
        let (nsid, param) = match parsed.collection_str()? {
            "app.bsky.feed.post" => ("app.bsky.feed.getPosts", "uris"),
            "app.bsky.feed.generator" => ("app.bsky.feed.getFeedGenerator", "feed"),
            "app.bsky.graph.list" => ("app.bsky.graph.getList", "list"),
            _ => return None,
        };
        let answer = ask_json(self.ctx, &appview, nsid, &[(param, uri)], Some(&self.did)).await;
        let answer = answer.ok()?;
        match param {
            "uris" => quoted_post(answer.pointer("/posts/0")?),
            "feed" => typed("app.bsky.feed.defs#generatorView", answer.get("view")?),
            _ => typed("app.bsky.graph.defs#listView", answer.get("list")?),
        }
    }
}

fn quoted_post(post: &Value) -> Option<Value> {
    let mut view = Map::new();
    view.insert(
        "$type".to_owned(),
        "app.bsky.embed.record#viewRecord".into(),
    );
    for (field, from) in [
        ("uri", "uri"),
        ("cid", "cid"),
        ("author", "author"),
        ("value", "record"),
        ("labels", "labels"),
        ("indexedAt", "indexedAt"),
    ] {
        let value = post.get(from).cloned();
        view.extend(value.map(|value| (field.to_owned(), value)));
    }
    if let Some(embed) = post.get("embed") {
        view.insert("embeds".to_owned(), json!([embed]));
    }
    Some(Value::Object(view))
}

fn typed(name: &str, view: &Value) -> Option<Value> {
    let mut view = view.as_object()?.clone();
    view.insert("$type".to_owned(), name.into());
    Some(Value::Object(view))
}

/// The `$type` of an embed.
fn kind(embed: &Value) -> Option<&str> {
    embed.get("$type")?.as_str()
}
