//! The Kubo behind, and what is passed on to it.

use async_trait::async_trait;
use axum::body::Body;
use axum::extract::{OriginalUri, Request, State};
use axum::response::Response;
use bytes::Bytes;
use futures::StreamExt;
use futures::stream::{self, BoxStream};
use http::header::{
    ACCEPT_ENCODING, AUTHORIZATION, CONNECTION, CONTENT_LENGTH, HOST, PROXY_AUTHENTICATE,
    PROXY_AUTHORIZATION, TE, TRAILER, TRANSFER_ENCODING, UPGRADE,
};
use http::{HeaderMap, HeaderName, Method, StatusCode, Uri};
use http_body::Frame;
use http_body_util::combinators::UnsyncBoxBody;
use http_body_util::{BodyExt, StreamBody};
use ues_data::Cid;

use super::gate::Operator;
use super::{Failure, Proxy};
use crate::cluster::lines::Trailers;

/// Where Kubo says that a call failed of which it had answered a part.
const STREAM_ERROR: HeaderName = HeaderName::from_static("x-stream-error");
/// Headers that are about one connection, not about what goes over it.
const HOP_BY_HOP: [HeaderName; 7] = [
    CONNECTION,
    PROXY_AUTHENTICATE,
    PROXY_AUTHORIZATION,
    TE,
    TRANSFER_ENCODING,
    UPGRADE,
    HeaderName::from_static("keep-alive"),
];

/// Why the Kubo behind did not do what it was asked.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum UpstreamError {
    /// What Kubo says.
    #[error("{0}")]
    Said(String),
    /// It did not answer; a sentence.
    #[error("{0}")]
    Unreachable(String),
}

/// A call that is passed on.
pub struct Question {
    /// How.
    pub method: Method,
    /// Path and query, such as `/api/v0/id?x=y`.
    pub target: String,
    /// Headers that are about the content, without those of the connection and without credentials.
    pub headers: HeaderMap,
    /// The body; none when there is none.
    pub body: Option<BoxStream<'static, Result<Bytes, std::io::Error>>>,
}

/// What is answered to it.
pub type Answer = http::Response<UnsyncBoxBody<Bytes, std::io::Error>>;

/// A Kubo. Who has a connection to one implements it.
#[async_trait]
pub trait Upstream: Send + Sync + 'static {
    /// The CID that a path (`/ipfs/…`, `/ipns/…`, `/ipld/…`) leads to.
    ///
    /// # Errors
    /// [`UpstreamError`].
    async fn resolve(&self, path: &str) -> Result<Cid, UpstreamError>;

    /// Passes a call on. The answer comes as it is, whatever its status, while the body is still being sent if need be.
    ///
    /// # Errors
    /// [`UpstreamError::Unreachable`].
    async fn forward(&self, question: Question) -> Result<Answer, UpstreamError>;
}

impl Question {
    /// The call of a client.
    pub(super) fn of(request: Request) -> Self {
        let target = original_uri(&request).path_and_query();
        let target = target.map_or_else(String::new, ToString::to_string);
        let (parts, body) = request.into_parts();
        let mut headers = parts.headers;
        let has_body =
            headers.contains_key(CONTENT_LENGTH) || headers.contains_key(TRANSFER_ENCODING);
        remove_hops(&mut headers);
        // Who the client is to us is nothing to Kubo, and its name is another one.
        for name in [AUTHORIZATION, HOST, ACCEPT_ENCODING] {
            headers.remove(name);
        }
        let pieces = body.into_data_stream();
        let pieces = pieces.map(|piece| piece.map_err(std::io::Error::other));
        Self {
            method: parts.method,
            target,
            headers,
            body: has_body.then(|| pieces.boxed()),
        }
    }
}

/// The address as the client sent it, which a nested route has shortened.
pub(super) fn original_uri(request: &Request) -> &Uri {
    let original = request.extensions().get::<OriginalUri>();
    original.map_or(request.uri(), |original| &original.0)
}

/// Removes headers of the connection, and those that the connection names as such.
fn remove_hops(headers: &mut HeaderMap) {
    let named: Vec<HeaderName> = headers
        .get_all(CONNECTION)
        .iter()
        .filter_map(|value| value.to_str().ok())
        .flat_map(|names| names.split(','))
        .filter_map(|name| name.trim().parse().ok())
        .collect();
    for name in HOP_BY_HOP.iter().chain(&named) {
        headers.remove(name);
    }
}

impl Proxy {
    pub(super) async fn forward(&self, question: Question) -> Result<Answer, Failure> {
        let Some(upstream) = &self.upstream else {
            let path = question.target.split('?').next().unwrap_or_default();
            return Err(Failure::no_kubo(path));
        };
        let mut answer = upstream.forward(question).await?;
        remove_hops(answer.headers_mut());
        Ok(answer)
    }
}

/// Everything that is none of the service's business.
pub(super) async fn pass_on(
    State(proxy): State<Proxy>,
    _: Operator,
    trailers: Trailers,
    request: Request,
) -> Result<Response, Failure> {
    let answer = proxy.forward(Question::of(request)).await?;
    Ok(streamed(answer, trailers))
}

/// An answer on its way to a client. A failure in its trailer cuts off what goes to a client that takes no trailers: a
/// part never looks like the whole.
pub(super) fn streamed(answer: Answer, trailers: Trailers) -> Response {
    let (mut parts, body) = answer.into_parts();
    if parts.status == StatusCode::SWITCHING_PROTOCOLS {
        parts.status = StatusCode::BAD_GATEWAY;
    }
    if !trailers.taken() {
        parts.headers.remove(TRAILER);
    }
    let frames = stream::unfold(Some(body), move |body| async move {
        let mut body = body?;
        let frame = body.frame().await?;
        let frame = frame.and_then(|frame| match told(&frame) {
            Some(why) if !trailers.taken() => Err(std::io::Error::other(why)),
            _ => Ok(frame),
        });
        let rest = frame.is_ok().then_some(body);
        Some((frame, rest))
    });
    Response::from_parts(parts, Body::new(StreamBody::new(frames)))
}

/// The failure that a trailer tells.
pub(super) fn told(frame: &Frame<Bytes>) -> Option<String> {
    let words = frame.trailers_ref()?.get(STREAM_ERROR)?;
    let words = String::from_utf8_lossy(words.as_bytes()).trim().to_owned();
    (!words.is_empty()).then_some(words)
}
