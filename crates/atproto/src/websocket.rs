//! The handshake of a WebSocket (RFC 6455, 4.2), for whoever serves what comes after it.

use std::sync::Arc;

use axum::body::Body;
use axum::response::Response;
use http::header::{
    CONNECTION, SEC_WEBSOCKET_ACCEPT, SEC_WEBSOCKET_KEY, SEC_WEBSOCKET_VERSION, UPGRADE,
};
use http::{HeaderMap, HeaderName, HeaderValue, Request, StatusCode, Version};
use hyper::upgrade::Upgraded;
use hyper_util::rt::TokioIo;
use tokio_tungstenite::tungstenite::handshake::derive_accept_key;

use crate::serve::Exchange;

/// The answer to a request for a WebSocket, whose stream goes to `serve` in a task of its own; none if it asks for no
/// WebSocket. No extension is agreed on, so frames are as they are sent.
pub fn accept<F>(
    mut request: Request<Body>,
    serve: impl FnOnce(TokioIo<Upgraded>) -> F + Send + 'static,
) -> Option<Response>
where
    F: Future<Output = ()> + Send + 'static,
{
    let accept = accept_key(&request)?;
    let upgrade = hyper::upgrade::on(&mut request);
    let exchange = request.extensions().get::<Arc<Exchange>>().cloned();
    tokio::spawn(async move {
        // The connection keeps its place for as long as it is one.
        let _exchange = exchange;
        match upgrade.await {
            Ok(upgraded) => serve(TokioIo::new(upgraded)).await,
            Err(cause) => tracing::debug!(%cause, "a connection was not upgraded"),
        }
    });
    let mut response = Response::new(Body::empty());
    *response.status_mut() = StatusCode::SWITCHING_PROTOCOLS;
    let headers = response.headers_mut();
    headers.insert(CONNECTION, HeaderValue::from_static("upgrade"));
    headers.insert(UPGRADE, HeaderValue::from_static("websocket"));
    headers.insert(SEC_WEBSOCKET_ACCEPT, accept);
    Some(response)
}

/// The key that accepts a proper handshake.
fn accept_key(request: &Request<Body>) -> Option<HeaderValue> {
    let headers = request.headers();
    let proper = request.version() == Version::HTTP_11
        && has_token(headers, CONNECTION, "upgrade")
        && has_token(headers, UPGRADE, "websocket")
        && headers
            .get(SEC_WEBSOCKET_VERSION)
            .is_some_and(|v| v == "13");
    let key = headers.get(SEC_WEBSOCKET_KEY).filter(|_| proper)?;
    HeaderValue::try_from(derive_accept_key(key.as_bytes())).ok()
}

fn has_token(headers: &HeaderMap, name: HeaderName, token: &str) -> bool {
    headers
        .get_all(name)
        .iter()
        .filter_map(|v| v.to_str().ok())
        .flat_map(|v| v.split(','))
        .any(|v| v.trim().eq_ignore_ascii_case(token))
}
