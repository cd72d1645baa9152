//! From an HTTP request to a subscription.

use axum::body::Body;
use axum::response::{IntoResponse, Response};
use http::header::{
    CONNECTION, SEC_WEBSOCKET_ACCEPT, SEC_WEBSOCKET_KEY, SEC_WEBSOCKET_VERSION, UPGRADE,
};
use http::{HeaderMap, HeaderValue, Request, StatusCode, Version};
use hyper::upgrade::Upgraded;
use hyper_util::rt::TokioIo;
use tokio_tungstenite::tungstenite::handshake::derive_accept_key;
use tokio_tungstenite::tungstenite::protocol::frame::coding::CloseCode;

use crate::xrpc::XrpcError;

use super::hub::Hub;
use super::subscriber;

/// What the subscriber asks for; errors are told inside the stream, as the protocol wants it.
pub type Wanted = Result<Option<u64>, XrpcError>;

/// Answers the WebSocket handshake and serves the subscription in a task of its own.
pub fn upgrade(hub: &Hub, request: Request<Body>, wanted: Wanted) -> Response {
    let hub = hub.clone();
    // From here on nothing is missed: what comes later is after this.
    let newest = hub.shared().store.log().last_durable();
    accept(request, wanted, move |stream, cursor| async move {
        subscriber::serve(&hub, stream, cursor, newest).await;
    })
}

/// Answers the WebSocket handshake of any subscription, and has it served in a task of its own.
pub fn accept<F>(
    mut request: Request<Body>,
    wanted: Wanted,
    serve: impl FnOnce(TokioIo<Upgraded>, Option<u64>) -> F + Send + 'static,
) -> Response
where
    F: Future<Output = ()> + Send + 'static,
{
    let Some(accept) = accept_key(&request) else {
        return XrpcError::invalid("this method is a subscription: a WebSocket is expected")
            .into_response();
    };
    let upgrade = hyper::upgrade::on(&mut request);
    tokio::spawn(async move {
        let stream = match upgrade.await {
            Ok(upgraded) => TokioIo::new(upgraded),
            Err(cause) => {
                tracing::debug!(%cause, "a subscriber's connection was not upgraded");
                return;
            }
        };
        match wanted {
            Ok(cursor) => serve(stream, cursor).await,
            Err(e) => {
                let (_, mut to) = tokio::io::split(stream);
                let error = Some((e.name(), e.message()));
                subscriber::farewell(&mut to, error, CloseCode::Policy).await;
            }
        }
    });
    let mut response = Response::new(Body::empty());
    *response.status_mut() = StatusCode::SWITCHING_PROTOCOLS;
    let headers = response.headers_mut();
    headers.insert(CONNECTION, HeaderValue::from_static("upgrade"));
    headers.insert(UPGRADE, HeaderValue::from_static("websocket"));
    headers.insert(SEC_WEBSOCKET_ACCEPT, accept);
    response
}

/// The key that accepts a proper handshake (RFC 6455, 4.2.1).
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

fn has_token(headers: &HeaderMap, name: http::HeaderName, token: &str) -> bool {
    headers
        .get_all(name)
        .iter()
        .filter_map(|v| v.to_str().ok())
        .flat_map(|v| v.split(','))
        .any(|v| v.trim().eq_ignore_ascii_case(token))
}
