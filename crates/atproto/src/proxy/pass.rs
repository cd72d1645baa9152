//! Passing calls on: whole requests that no method here takes, and queries of methods that do.

use axum::body::Body;
use axum::response::Response;
use bytes::Bytes;
use http::request::Parts;
use http::{HeaderMap, HeaderName, HeaderValue, Method as Verb, header};
use serde_json::Value;
use ues_repo::syntax::Did;

use crate::context::Context;
use crate::oauth::permit_rpc;
use crate::xrpc::{Auth, Call, Caller, Pieces, Presence, XrpcError, by_token, presence};

use super::exchange::{Incoming, Outgoing, ProxyError, exchange};
use super::rules::{is_privileged, is_protected, may_call_privileged};
use super::target::{Target, proxy_to, target};
use super::token::service_token;

/// Headers that go along with every request.
const ALONG: [&str; 3] = [
    "accept-language",
    "atproto-accept-labelers",
    "x-bsky-topics",
];
/// Headers that go along with a body.
const BODY: [HeaderName; 3] = [
    header::CONTENT_TYPE,
    header::CONTENT_ENCODING,
    header::CONTENT_LENGTH,
];
const PREFIX: &str = "x-atproto-";

/// Passes a whole request on.
pub async fn pass_on(
    ctx: &Context,
    parts: &Parts,
    nsid: &str,
    body: &mut Option<Body>,
) -> Result<Response, XrpcError> {
    if ![Verb::GET, Verb::HEAD, Verb::POST].contains(&parts.method) {
        return Err(XrpcError::invalid(
            "XRPC requests only supports GET and POST",
        ));
    }
    let bad_method = || XrpcError::named("InvalidToken", "Bad token method");
    if is_protected(nsid) {
        return Err(bad_method());
    }
    let target = target(ctx, &parts.headers, nsid).await?;
    let caller = by_token(ctx, Auth::Session, parts)?;
    let Caller::Session(session) = caller else {
        return Err(XrpcError::internal("a session without an account"));
    };
    if is_privileged(nsid) && !may_call_privileged(session.scope, nsid) {
        return Err(bad_method());
    }
    permit_rpc(&session, nsid, &proxy_to(ctx, &parts.headers, nsid)?)?;
    let mut headers = request_headers(&parts.headers);
    let token = service_token(ctx, &session.did, &target.did, Some(nsid), None)?;
    authorize(&mut headers, &token)?;
    let mut pieces = None;
    if parts.method == Verb::POST && presence(&parts.headers, body.as_ref()) == Presence::Present {
        for name in BODY {
            if let Some(value) = parts.headers.get(&name) {
                headers.insert(name, value.clone());
            }
        }
        let config = &ctx.config;
        pieces = Some(Pieces::new(
            &parts.headers,
            body.take().unwrap_or_default(),
            config.proxy.max_request_bytes,
            config.connections.body_idle_timeout(),
        )?);
    }
    let outgoing = Outgoing {
        method: parts.method.clone(),
        path: parts
            .uri
            .path_and_query()
            .map_or_else(String::new, ToString::to_string),
        headers,
        body: pieces,
    };
    match exchange(ctx, &target, outgoing).await {
        Ok(incoming) => Ok(incoming.into_response()),
        Err(e) => e.into_reply(),
    }
}

/// Passes the query of a method on as the calling account asked it.
pub async fn query(call: &Call, nsid: &str) -> Result<Incoming, ProxyError> {
    let target = target(&call.ctx, &call.headers, nsid).await?;
    let session = call.session()?;
    permit_rpc(session, nsid, &proxy_to(&call.ctx, &call.headers, nsid)?)?;
    let token = service_token(&call.ctx, &session.did, &target.did, Some(nsid), None)?;
    query_as(call, &target, Some(&token)).await
}

/// Passes a query on with a token, or without one.
pub async fn query_as(
    call: &Call,
    target: &Target,
    token: Option<&str>,
) -> Result<Incoming, ProxyError> {
    let mut headers = request_headers(&call.headers);
    if let Some(token) = token {
        authorize(&mut headers, token)?;
    }
    let outgoing = Outgoing {
        method: Verb::GET,
        path: call.path_and_query.clone(),
        headers,
        body: None,
    };
    exchange(&call.ctx, target, outgoing).await
}

/// Asks a service a question of the node's own, in the name of an account or of nobody; gives the
/// answer's JSON.
pub async fn ask_json(
    ctx: &Context,
    target: &Target,
    nsid: &str,
    params: &[(&str, &str)],
    account: Option<&Did>,
) -> Result<Value, ProxyError> {
    let mut headers = HeaderMap::new();
    if let Some(did) = account {
        let token = service_token(ctx, did, &target.did, Some(nsid), None)?;
        authorize(&mut headers, &token)?;
    }
    let body = ask(ctx, target, nsid, params, headers).await?;
    serde_json::from_slice(&body)
        .map_err(|_| ProxyError::Own(XrpcError::upstream("the service's answer is not JSON")))
}

/// Asks a service a question in the name of nobody; gives the answer's bytes.
pub async fn ask_bytes(
    ctx: &Context,
    target: &Target,
    nsid: &str,
    params: &[(&str, &str)],
) -> Result<Bytes, ProxyError> {
    ask(ctx, target, nsid, params, HeaderMap::new()).await
}

async fn ask(
    ctx: &Context,
    target: &Target,
    nsid: &str,
    params: &[(&str, &str)],
    headers: HeaderMap,
) -> Result<Bytes, ProxyError> {
    let params = form_urlencoded::Serializer::new(String::new())
        .extend_pairs(params)
        .finish();
    let outgoing = Outgoing {
        method: Verb::GET,
        path: format!("/xrpc/{nsid}?{params}"),
        headers,
        body: None,
    };
    Ok(exchange(ctx, target, outgoing).await?.bytes().await?)
}

/// Calls a procedure of a service in the name of an account; its answer is not looked at.
pub async fn post_json(
    ctx: &Context,
    target: &Target,
    nsid: &str,
    input: &Value,
    account: &Did,
) -> Result<(), ProxyError> {
    let mut headers = HeaderMap::new();
    let token = service_token(ctx, account, &target.did, Some(nsid), None)?;
    authorize(&mut headers, &token)?;
    let json = HeaderValue::from_static("application/json");
    headers.insert(header::CONTENT_TYPE, json);
    let idle = ctx.config.connections.body_idle_timeout();
    let body = Body::from(input.to_string());
    let outgoing = Outgoing {
        method: Verb::POST,
        path: format!("/xrpc/{nsid}"),
        body: Some(Pieces::new(&headers, body, u64::MAX, idle)?),
        headers,
    };
    exchange(ctx, target, outgoing).await?.bytes().await?;
    Ok(())
}

/// The headers of a client that a service gets.
fn request_headers(from: &HeaderMap) -> HeaderMap {
    let mut out = HeaderMap::new();
    for (name, value) in from {
        if ALONG.contains(&name.as_str()) || name.as_str().starts_with(PREFIX) {
            out.append(name, value.clone());
        }
    }
    // Only what this node can undo itself: it reads errors, and answers that it completes.
    let gzip = from
        .get(header::ACCEPT_ENCODING)
        .and_then(|v| v.to_str().ok())
        .is_some_and(accepts_gzip);
    let encoding = if gzip { "gzip" } else { "identity" };
    out.insert(header::ACCEPT_ENCODING, HeaderValue::from_static(encoding));
    out
}

/// Whether a client takes gzip (RFC 9110, section 12.5.3).
fn accepts_gzip(accepted: &str) -> bool {
    accepted.split(',').any(|item| {
        let (coding, weight) = item.split_once(';').unwrap_or((item, ""));
        let weight = weight.trim().strip_prefix("q=").map(str::parse::<f32>);
        ["gzip", "*"].contains(&coding.trim()) && weight.is_none_or(|w| w.is_ok_and(|w| w > 0.0))
    })
}

fn authorize(headers: &mut HeaderMap, token: &str) -> Result<(), XrpcError> {
    let mut value =
        HeaderValue::try_from(format!("Bearer {token}")).map_err(XrpcError::internal)?;
    value.set_sensitive(true);
    headers.insert(header::AUTHORIZATION, value);
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_services_need_goes_along() {
        let mut headers = HeaderMap::new();
        for (name, value) in [
            ("authorization", "Bearer secret"),
            ("cookie", "a=b"),
            ("x-forwarded-for", "1.2.3.4"),
            ("accept-encoding", "br, gzip;q=0.5"),
            ("accept-language", "de"),
            ("atproto-accept-labelers", "did:web:a"),
            ("atproto-proxy", "did:web:a#b"),
            ("x-atproto-bsky-topics", "a"),
        ] {
            headers.insert(name, HeaderValue::from_static(value));
        }
        let sent = request_headers(&headers);
        let mut names: Vec<&str> = sent.keys().map(HeaderName::as_str).collect();
        names.sort_unstable();
        let expected = [
            "accept-encoding",
            "accept-language",
            "atproto-accept-labelers",
            "x-atproto-bsky-topics",
        ];
        assert_eq!(names, expected);
        assert_eq!(sent["accept-encoding"], "gzip");
        assert!(!accepts_gzip("gzip;q=0, br"));
    }
}
