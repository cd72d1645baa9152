//! From an HTTP request to a subscription.

use axum::body::Body;
use axum::response::{IntoResponse, Response};
use http::Request;
use hyper::upgrade::Upgraded;
use hyper_util::rt::TokioIo;
use tokio_tungstenite::tungstenite::protocol::frame::coding::CloseCode;

use crate::websocket;
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
    request: Request<Body>,
    wanted: Wanted,
    serve: impl FnOnce(TokioIo<Upgraded>, Option<u64>) -> F + Send + 'static,
) -> Response
where
    F: Future<Output = ()> + Send + 'static,
{
    let accepted = websocket::accept(request, move |stream| async move {
        match wanted {
            Ok(cursor) => serve(stream, cursor).await,
            Err(e) => {
                let (_, mut to) = tokio::io::split(stream);
                let error = Some((e.name(), e.message()));
                subscriber::farewell(&mut to, error, CloseCode::Policy).await;
            }
        }
    });
    accepted.unwrap_or_else(|| {
        XrpcError::invalid("this method is a subscription: a WebSocket is expected").into_response()
    })
}
