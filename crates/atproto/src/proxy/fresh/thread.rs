//! Threads with the asking account's newest replies.

use serde_json::{Value, json};
use ues_repo::syntax::{AtIdentifier, AtUri};

use crate::proxy::pass::ask_json;
use crate::xrpc::Call;

use super::View;
use super::local::{Local, LocalRecord};
use super::views::Viewer;

const THREAD_POST: &str = "app.bsky.feed.defs#threadViewPost";
/// Deepest nesting of replies that is looked at; the AppView gives less.
const MAX_DEPTH: usize = 200;

/// Puts new replies into a thread.
pub async fn complete(viewer: &Viewer<'_>, thread: &mut Value, local: &Local) {
    if !is_thread_post(thread) {
        return;
    }
    let uri = text(thread, "/post/uri").map(str::to_owned);
    let root = text(thread, "/post/record/reply/root/uri").map(str::to_owned);
    for post in &local.posts {
        let Some(of) = text(&post.value, "/reply/root/uri") else {
            continue;
        };
        if (Some(of) == uri.as_deref() || Some(of) == root.as_deref())
            && let Some(view) = thread_post(viewer, post).await
        {
            insert(thread, post, &view, 0);
        }
    }
}

/// The thread of a post that only this node knows: the one the call asks for.
pub async fn of_new_post(call: &Call, viewer: &Viewer<'_>, local: &Local) -> Option<Value> {
    let uri = AtUri::parse(call.params.text("uri")?).ok()?;
    let author = match uri.authority()? {
        AtIdentifier::Did(did) => did,
        AtIdentifier::Handle(handle) => {
            let account = call.ctx.accounts.by_handle(&handle.normalize()).ok()??;
            account.did.clone()
        }
    };
    if author != viewer.did {
        return None;
    }
    let (collection, rkey) = (uri.collection_str()?, uri.rkey_str()?);
    let uri = format!("at://{author}/{collection}/{rkey}");
    let post = local.posts.iter().find(|post| post.uri == uri)?;
    let mut thread = thread_post(viewer, post).await?;
    complete(viewer, &mut thread, local).await;
    let parent = text(&thread, "/post/record/reply/parent/uri").map(str::to_owned);
    if let Some(parent) = parent
        && let Some(above) = parents(call, viewer, &parent).await
    {
        thread["parent"] = above;
    }
    Some(thread)
}

/// What stands above a post, as far as the AppView knows it.
async fn parents(call: &Call, viewer: &Viewer<'_>, parent: &str) -> Option<Value> {
    let height = call
        .params
        .integer("parentHeight")
        .unwrap_or(80)
        .to_string();
    let params = [("uri", parent), ("parentHeight", &height), ("depth", "0")];
    let appview = viewer.appview()?;
    let nsid = View::Thread.nsid();
    let found = ask_json(&call.ctx, &appview, nsid, &params, Some(&viewer.did)).await;
    found.ok()?.get_mut("thread").map(Value::take)
}

async fn thread_post(viewer: &Viewer<'_>, post: &LocalRecord) -> Option<Value> {
    let view = viewer.post(post).await?;
    Some(json!({ "$type": THREAD_POST, "post": view }))
}

/// Puts a reply under the post that it answers, before the replies that are there.
fn insert(thread: &mut Value, post: &LocalRecord, view: &Value, depth: usize) {
    if depth > MAX_DEPTH || !is_thread_post(thread) {
        return;
    }
    let parent = text(&post.value, "/reply/parent/uri");
    if parent.is_some() && parent == text(thread, "/post/uri") {
        match thread.get_mut("replies").and_then(Value::as_array_mut) {
            Some(replies) => replies.insert(0, view.clone()),
            None => thread["replies"] = json!([view]),
        }
        return;
    }
    let replies = thread.get_mut("replies").and_then(Value::as_array_mut);
    for reply in replies.into_iter().flatten() {
        insert(reply, post, view, depth + 1);
    }
}

fn is_thread_post(view: &Value) -> bool {
    text(view, "/$type") == Some(THREAD_POST)
}

fn text<'a>(value: &'a Value, pointer: &str) -> Option<&'a str> {
    value.pointer(pointer)?.as_str()
}
