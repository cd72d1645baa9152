//! Feeds with the asking account's newest posts.

use serde_json::{Value, json};

use super::local::Local;
use super::profile;
use super::views::Viewer;

const REPOST: &str = "app.bsky.feed.defs#reasonRepost";

/// Puts new posts where they belong by time; those that are older than the feed's end are left for the
/// next page.
pub async fn insert(viewer: &Viewer<'_>, feed: &mut Value, local: &Local) {
    let Some(feed) = feed.as_array_mut() else {
        return;
    };
    let time = |item: &Value| {
        let at = item.pointer("/post/indexedAt").and_then(Value::as_str);
        at.unwrap_or_default().to_owned()
    };
    let last = feed.last().map(time).unwrap_or_default();
    for post in local.posts.iter().rev().filter(|p| p.indexed_at > last) {
        let Some(view) = viewer.post(post).await else {
            continue;
        };
        let place = feed.iter().position(|item| time(item) < post.indexed_at);
        let place = place.unwrap_or(feed.len());
        feed.insert(place, json!({ "post": view }));
    }
}

/// Completes the feed of an author if that is the asking account.
pub async fn complete_own(viewer: &Viewer<'_>, feed: &mut Value, local: &Local) {
    if !is_own(viewer, feed) {
        return;
    }
    update_author(viewer, feed, local);
    insert(viewer, feed, local).await;
}

/// Updates the asking account's profile wherever it is the author.
pub fn update_author(viewer: &Viewer<'_>, feed: &mut Value, local: &Local) {
    for item in feed.as_array_mut().into_iter().flatten() {
        if let Some(author) = item.pointer_mut("/post/author") {
            profile::complete_basic(viewer, author, local);
        }
    }
}

/// Whose feed it is shows its first item: a post of theirs, or one that they reposted.
fn is_own(viewer: &Viewer<'_>, feed: &Value) -> bool {
    let Some(first) = feed.get(0) else {
        return false;
    };
    let by = match first.get("reason") {
        None => first.pointer("/post/author/did"),
        Some(reason) if reason.get("$type").and_then(Value::as_str) == Some(REPOST) => {
            reason.pointer("/by/did")
        }
        Some(_) => None,
    };
    by.and_then(Value::as_str) == Some(viewer.did.as_str())
}
