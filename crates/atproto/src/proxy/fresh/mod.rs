//! Read after write: answers of the AppView, completed by what a user wrote here a moment ago.
//!
//! The AppView tells in `atproto-repo-rev` up to which revision it knows the asking account. Newer posts
//! and the newer profile are put into its answer; everything else stays as it came. `Atproto-Upstream-Lag`
//! says by how many milliseconds the AppView is behind.

mod feed;
mod local;
mod profile;
mod thread;
mod views;

use axum::body::Body;
use axum::response::Response;
use bytes::Bytes;
use http::{HeaderMap, HeaderName, HeaderValue, header};
use serde_json::Value;
use ues_repo::syntax::Tid;

use crate::xrpc::{Call, Reply, XrpcError};

use super::exchange::ProxyError;
use super::pass::query;
use local::Local;
use views::Viewer;

const REV: &str = "atproto-repo-rev";
const LAG: HeaderName = HeaderName::from_static("atproto-upstream-lag");

/// The answers that are completed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum View {
    /// `app.bsky.actor.getProfile`.
    Profile,
    /// `app.bsky.actor.getProfiles`.
    Profiles,
    /// `app.bsky.feed.getTimeline`.
    Timeline,
    /// `app.bsky.feed.getAuthorFeed`.
    AuthorFeed,
    /// `app.bsky.feed.getActorLikes`.
    ActorLikes,
    /// `app.bsky.feed.getPostThread`.
    Thread,
}

impl View {
    /// The method that gives it.
    pub fn nsid(self) -> &'static str {
        match self {
            Self::Profile => "app.bsky.actor.getProfile",
            Self::Profiles => "app.bsky.actor.getProfiles",
            Self::Timeline => "app.bsky.feed.getTimeline",
            Self::AuthorFeed => "app.bsky.feed.getAuthorFeed",
            Self::ActorLikes => "app.bsky.feed.getActorLikes",
            Self::Thread => "app.bsky.feed.getPostThread",
        }
    }
}

/// Asks the AppView and completes its answer.
pub async fn answer(call: Call, view: View) -> Result<Reply, XrpcError> {
    let incoming = match query(&call, view.nsid()).await {
        Ok(incoming) => incoming,
        Err(ProxyError::Upstream(e)) if view == View::Thread && e.error.name() == "NotFound" => {
            let rev = e.headers.get(REV).and_then(|v| v.to_str().ok());
            let rev = rev.and_then(|rev| Tid::parse(rev).ok());
            if let Some(rev) = rev
                && let Some(reply) = not_found(&call, &rev).await
            {
                return Ok(reply);
            }
            return ProxyError::Upstream(e).into_reply().map(Reply::Other);
        }
        Err(e) => return e.into_reply().map(Reply::Other),
    };
    let rev = incoming.header(REV).and_then(|rev| Tid::parse(rev).ok());
    let Some(rev) = rev.filter(|_| !incoming.is_not_json()) else {
        return Ok(Reply::Other(incoming.into_response()));
    };
    let local = match Local::since(&call, &rev) {
        Ok(local) => local,
        Err(cause) => {
            tracing::warn!(%cause, "an answer is not completed");
            Local::default()
        }
    };
    if local.is_empty() {
        return Ok(Reply::Other(incoming.into_response()));
    }
    let mut headers = incoming.passed_headers(true);
    headers.remove(header::CONTENT_ENCODING);
    headers.remove(header::CONTENT_LENGTH);
    let body = incoming.bytes().await?;
    match complete(&call, view, &body, &local).await {
        Some(value) => Ok(completed(&value, &local)),
        None => Ok(Reply::Other(response(headers, body.into()))),
    }
}

/// The completed answer; nothing if the AppView's is not what the lexicon says, or anything fails.
async fn complete(call: &Call, view: View, body: &Bytes, local: &Local) -> Option<Value> {
    let mut value: Value = serde_json::from_slice(body).ok()?;
    let lexicons = &call.ctx.lexicons;
    if let Err(cause) = lexicons.validate_output(view.nsid(), &value) {
        tracing::debug!(%cause, nsid = view.nsid(), "an answer is not completed");
        return None;
    }
    let viewer = Viewer::new(call)?;
    match view {
        View::Profile => profile::complete(&viewer, &mut value, local),
        View::Profiles => {
            for profile in value.get_mut("profiles")?.as_array_mut()? {
                profile::complete(&viewer, profile, local);
            }
        }
        View::Timeline => feed::insert(&viewer, value.get_mut("feed")?, local).await,
        View::AuthorFeed => feed::complete_own(&viewer, value.get_mut("feed")?, local).await,
        View::ActorLikes => feed::update_author(&viewer, value.get_mut("feed")?, local),
        View::Thread => thread::complete(&viewer, value.get_mut("thread")?, local).await,
    }
    Some(value)
}

/// The thread of a post that the AppView has not seen yet.
async fn not_found(call: &Call, rev: &Tid) -> Option<Reply> {
    let local = Local::since(call, rev).ok()?;
    let viewer = Viewer::new(call)?;
    let thread = thread::of_new_post(call, &viewer, &local).await?;
    Some(completed(&serde_json::json!({ "thread": thread }), &local))
}

fn completed(value: &Value, local: &Local) -> Reply {
    let mut headers = HeaderMap::new();
    let json = HeaderValue::from_static("application/json; charset=utf-8");
    headers.insert(header::CONTENT_TYPE, json);
    if let Some(lag) = local.lag_ms() {
        headers.insert(LAG, HeaderValue::from(lag));
    }
    Reply::Other(response(headers, value.to_string().into()))
}

fn response(headers: HeaderMap, body: Body) -> Response {
    let mut response = Response::new(body);
    *response.headers_mut() = headers;
    response
}
