//! `app.bsky`: methods that the AppView answers and that need more than being passed on.

use serde_json::Value;
use ues_repo::syntax::{AtUri, Did};

use crate::proxy::fresh::{self, View};
use crate::proxy::{
    ProxyError, Target, ask_json, post_json, query_as, service_of, service_token, target,
};
use crate::xrpc::{Auth, Call, Method, Reply, XrpcError};

const GET_FEED: &str = "app.bsky.feed.getFeed";
const GET_FEED_SKELETON: &str = "app.bsky.feed.getFeedSkeleton";
const GET_RECORD: &str = "com.atproto.repo.getRecord";
const REGISTER_PUSH: &str = "app.bsky.notification.registerPush";
const UNREGISTER_PUSH: &str = "app.bsky.notification.unregisterPush";

/// The methods of this file, for a node that has an AppView.
pub fn methods() -> Vec<Method> {
    let completed = [
        View::Profile,
        View::Profiles,
        View::Timeline,
        View::AuthorFeed,
        View::ActorLikes,
        View::Thread,
    ];
    let completed = completed.map(|view| {
        Method::new(view.nsid(), Auth::Session, move |call| {
            fresh::answer(call, view)
        })
    });
    let others = [
        Method::new(GET_FEED, Auth::Session, get_feed),
        Method::new(REGISTER_PUSH, Auth::Session, |call| {
            push(call, REGISTER_PUSH)
        }),
        Method::new(UNREGISTER_PUSH, Auth::Session, |call| {
            push(call, UNREGISTER_PUSH)
        }),
    ];
    completed.into_iter().chain(others).collect()
}

/// A feed is made by its generator: the token that goes along is for that one.
async fn get_feed(call: Call) -> Result<Reply, XrpcError> {
    let unknown = || XrpcError::named("UnknownFeed", "could not resolve feed did");
    let appview = own_appview(&call)?;
    let feed = AtUri::parse(call.params.required("feed")?);
    let feed = feed.map_err(|e| XrpcError::invalid(e.to_string()))?;
    let params = [
        ("repo", feed.authority_str()),
        ("collection", feed.collection_str().unwrap_or_default()),
        ("rkey", feed.rkey_str().unwrap_or_default()),
    ];
    let record = ask_json(&call.ctx, &appview, GET_RECORD, &params, None).await;
    let record = record.map_err(ProxyError::into_error)?;
    let generator = record.pointer("/value/did").and_then(Value::as_str);
    let generator = generator.ok_or_else(unknown)?;
    let token = service_token(
        &call.ctx,
        call.did()?,
        generator,
        Some(GET_FEED_SKELETON),
        None,
    )?;
    let target = target(&call.ctx, &call.headers, GET_FEED).await?;
    match query_as(&call, &target, Some(&token)).await {
        Ok(incoming) => Ok(Reply::Other(incoming.into_response())),
        Err(e) => e.into_reply().map(Reply::Other),
    }
}

/// Tells the notification service that the input names about a device.
async fn push(mut call: Call, nsid: &'static str) -> Result<Reply, XrpcError> {
    let input = call.input.take();
    let did = input.get("serviceDid").and_then(Value::as_str);
    let did =
        did.ok_or_else(|| XrpcError::invalid("Input must have the property \"serviceDid\""))?;
    let appview = own_appview(&call)?;
    let target = if did == appview.did {
        appview
    } else {
        let did = Did::parse(did).map_err(|e| XrpcError::invalid(e.to_string()))?;
        service_of(&call.ctx, &did, "bsky_notif")
            .await
            .map_err(|_| {
                XrpcError::invalid(format!(
                    "invalid notification service details in did document: {did}"
                ))
            })?
    };
    post_json(&call.ctx, &target, nsid, &input, call.did()?)
        .await
        .map_err(ProxyError::into_error)?;
    Ok(Reply::Empty)
}

fn own_appview(call: &Call) -> Result<Target, XrpcError> {
    let appview = call.ctx.config.appview.as_ref();
    let appview = appview.ok_or_else(|| XrpcError::invalid("this node has no appview.url"))?;
    Target::configured(&appview.service)
}
