//! One request to another service and its answer, both streamed and bounded.

use std::io;
use std::time::Duration;

use axum::body::Body;
use axum::response::{IntoResponse, Response};
use bytes::Bytes;
use futures::stream::try_unfold;
use http::{HeaderMap, HeaderName, Method as Verb, StatusCode, header};
use serde_json::Value;
use tokio::time::{Instant, sleep_until, timeout};

use crate::context::Context;
use crate::xrpc::{Pieces, XrpcError};

use super::client::unreachable;
use super::decode::decode;
use super::target::Target;
use super::upload::Upload;

/// Headers about the content of an answer that clients get.
const CONTENT: [HeaderName; 4] = [
    header::CONTENT_LENGTH,
    header::CONTENT_ENCODING,
    header::CONTENT_TYPE,
    header::CONTENT_LANGUAGE,
];
/// Other headers of an answer that clients get.
const PASSED: [&str; 3] = [
    "atproto-repo-rev",
    "atproto-content-labelers",
    "retry-after",
];
/// How often a client that pauses in its body is looked at again.
const LOOK_AGAIN: Duration = Duration::from_millis(500);
/// Longest error message that is passed on, in characters.
const MAX_MESSAGE: usize = 4096;

/// A request to another service.
pub struct Outgoing {
    /// GET, HEAD or POST.
    pub method: Verb,
    /// Path and query, as they are sent.
    pub path: String,
    /// All headers but those of the connection.
    pub headers: HeaderMap,
    /// The body.
    pub body: Option<Pieces>,
}

/// An answer that went well; its body is still to be read.
pub struct Incoming {
    /// Status, below 400.
    pub status: StatusCode,
    /// All headers.
    pub headers: HeaderMap,
    response: reqwest::Response,
    idle: Duration,
    limit: u64,
}

/// Why there is no answer to pass on.
#[derive(Debug)]
pub enum ProxyError {
    /// The service answered with an error.
    Upstream(UpstreamError),
    /// It was not reached, or the client's own body failed.
    Own(XrpcError),
}

/// An error that a service answered.
#[derive(Debug)]
pub struct UpstreamError {
    /// What the client is told.
    pub error: XrpcError,
    /// The headers that go with it.
    pub headers: HeaderMap,
}

impl From<XrpcError> for ProxyError {
    fn from(error: XrpcError) -> Self {
        Self::Own(error)
    }
}

impl ProxyError {
    /// The answer to the client.
    pub fn into_reply(self) -> Result<Response, XrpcError> {
        match self {
            Self::Own(error) => Err(error),
            Self::Upstream(UpstreamError { error, headers }) => {
                let mut response = error.into_response();
                response.headers_mut().extend(headers);
                Ok(response)
            }
        }
    }

    /// The error alone.
    pub fn into_error(self) -> XrpcError {
        match self {
            Self::Own(error) | Self::Upstream(UpstreamError { error, .. }) => error,
        }
    }
}

/// Sends a request and waits for the head of its answer.
pub async fn exchange(
    ctx: &Context,
    target: &Target,
    outgoing: Outgoing,
) -> Result<Incoming, ProxyError> {
    let config = &ctx.proxy.config;
    let client = ctx.proxy.client(&target.url, target.reach)?;
    let origin = target.url.origin().ascii_serialization();
    let url = format!("{origin}{}", outgoing.path);
    let mut request = client.request(outgoing.method, &url);
    request = request.headers(outgoing.headers);
    let upload = Upload::default();
    if let Some(pieces) = outgoing.body {
        request = request.body(upload.body(pieces));
    }
    let mut sending = std::pin::pin!(request.send());
    let patience = config.headers_timeout();
    let answer = loop {
        let until = (upload.last_piece() + patience).max(Instant::now() + LOOK_AGAIN);
        tokio::select! {
            answer = &mut sending => break answer.map_err(|e| e.to_string()),
            () = sleep_until(until) => {
                // A client that still sends is waited for by the limits of its own.
                if upload.last_piece() + patience <= Instant::now() && !upload.is_under_way() {
                    break Err("no answer in time".to_owned());
                }
            }
        }
    };
    let response = match answer {
        Ok(response) => response,
        Err(cause) => {
            if let Some(error) = upload.failure() {
                return Err(ProxyError::Own(error));
            }
            tracing::warn!(service = %target.did, %cause, "a service was not reached");
            return Err(ProxyError::Own(unreachable()));
        }
    };
    let incoming = Incoming {
        status: response.status(),
        headers: response.headers().clone(),
        response,
        idle: config.body_timeout(),
        limit: config.max_response_bytes,
    };
    if incoming.status.as_u16() < 400 {
        return Ok(incoming);
    }
    Err(ProxyError::Upstream(incoming.into_upstream_error().await))
}

impl Incoming {
    /// Whether the body is said to be something else than JSON.
    pub fn is_not_json(&self) -> bool {
        self.headers
            .get(header::CONTENT_TYPE)
            .is_some_and(|v| !v.to_str().is_ok_and(is_json))
    }

    /// A header's text.
    pub fn header(&self, name: &str) -> Option<&str> {
        self.headers.get(name)?.to_str().ok()
    }

    /// The headers that a client gets.
    pub fn passed_headers(&self, with_content: bool) -> HeaderMap {
        let mut out = HeaderMap::new();
        if with_content {
            for name in CONTENT {
                if let Some(value) = self.headers.get(&name) {
                    out.insert(name, value.clone());
                }
            }
        }
        for name in PASSED {
            if let Some(value) = self.headers.get(name) {
                out.insert(HeaderName::from_static(name), value.clone());
            }
        }
        out
    }

    /// The answer for the client; its body is passed on as it comes.
    pub fn into_response(self) -> Response {
        let headers = self.passed_headers(true);
        let status = self.status;
        let reading = (self.response, self.idle, self.limit);
        let pieces = try_unfold(reading, |(mut response, idle, left)| async move {
            let Some(piece) = next_piece(&mut response, idle).await? else {
                return Ok(None);
            };
            let left = left
                .checked_sub(piece.len() as u64)
                .ok_or_else(|| io::Error::other("the answer of a service is too long"))?;
            Ok::<_, io::Error>(Some((piece, (response, idle, left))))
        });
        let mut response = Response::new(Body::from_stream(pieces));
        *response.status_mut() = status;
        *response.headers_mut() = headers;
        response
    }

    /// The whole body, decoded.
    pub async fn bytes(mut self) -> Result<Bytes, XrpcError> {
        let mut body = Vec::new();
        let broken = |e: io::Error| {
            tracing::debug!(cause = %e, "the answer of a service broke off");
            unreachable()
        };
        while let Some(piece) = next_piece(&mut self.response, self.idle)
            .await
            .map_err(broken)?
        {
            if body.len() as u64 + piece.len() as u64 > self.limit {
                return Err(XrpcError::upstream("upstream response too large"));
            }
            body.extend_from_slice(&piece);
        }
        let encoding = self.headers.get(header::CONTENT_ENCODING);
        let encoding = encoding.and_then(|v| v.to_str().ok()).unwrap_or_default();
        decode(body, encoding, self.limit)
            .map(Bytes::from)
            .map_err(|e| XrpcError::upstream(e.to_string()))
    }

    async fn into_upstream_error(self) -> UpstreamError {
        let headers = self.passed_headers(false);
        let status = self.status;
        let body = if self.is_not_json() {
            Value::Null
        } else {
            let bytes = self.bytes().await.unwrap_or_default();
            serde_json::from_slice(&bytes).unwrap_or_default()
        };
        UpstreamError {
            error: upstream_error(status, &body),
            headers,
        }
    }
}

/// Whether a media type is JSON, or a kind of it.
pub fn is_json(media_type: &str) -> bool {
    let kind = media_type.split(';').next().unwrap_or_default().trim();
    let kind = kind.to_ascii_lowercase();
    kind == "application/json" || (kind.starts_with("application/") && kind.ends_with("+json"))
}

/// What a client is told of a service's error: the same, but a service that fails is not us.
fn upstream_error(status: StatusCode, body: &Value) -> XrpcError {
    let status = match status {
        StatusCode::INTERNAL_SERVER_ERROR => StatusCode::BAD_GATEWAY,
        other => other,
    };
    let (name, message) = usual(status);
    let text = |field: &str, most: usize| {
        let text = body.get(field)?.as_str().filter(|t| !t.is_empty())?;
        Some(text.chars().take(most).collect::<String>())
    };
    XrpcError::new(
        status,
        text("error", 256).map_or(name.into(), std::borrow::Cow::Owned),
        text("message", MAX_MESSAGE).map_or(message.into(), std::borrow::Cow::Owned),
    )
}

/// Name and message of a status that says nothing more.
fn usual(status: StatusCode) -> (&'static str, &'static str) {
    match status.as_u16() {
        401 => ("AuthenticationRequired", "Authentication Required"),
        403 => ("Forbidden", "Forbidden"),
        404 => ("XRPCNotSupported", "XRPC Not Supported"),
        406 => ("NotAcceptable", "Not Acceptable"),
        413 => ("PayloadTooLarge", "Payload Too Large"),
        415 => ("UnsupportedMediaType", "Unsupported Media Type"),
        429 => ("RateLimitExceeded", "Rate Limit Exceeded"),
        501 => ("MethodNotImplemented", "Method Not Implemented"),
        502 => ("UpstreamFailure", "Upstream Failure"),
        503 => ("NotEnoughResources", "Not Enough Resources"),
        504 => ("UpstreamTimeout", "Upstream Timeout"),
        505.. => ("UpstreamFailure", "Upstream Failure"),
        _ => ("InvalidRequest", "Invalid Request"),
    }
}

async fn next_piece(
    response: &mut reqwest::Response,
    idle: Duration,
) -> Result<Option<Bytes>, io::Error> {
    match timeout(idle, response.chunk()).await {
        Ok(piece) => piece.map_err(io::Error::other),
        Err(_) => Err(io::Error::other("a service stopped in its answer")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn errors_keep_their_names() {
        let error = upstream_error(
            StatusCode::BAD_REQUEST,
            &json!({"error": "NotFound", "message": "Post not found"}),
        );
        assert_eq!(error.name(), "NotFound");
        assert_eq!(error.message(), "Post not found");
        let error = upstream_error(StatusCode::INTERNAL_SERVER_ERROR, &Value::Null);
        assert_eq!(error.status(), StatusCode::BAD_GATEWAY);
        assert_eq!(error.name(), "UpstreamFailure");
    }

    #[test]
    fn kinds_of_json() {
        assert!(is_json("application/json; charset=utf-8"));
        assert!(is_json("Application/LD+json"));
        assert!(!is_json("text/html"));
    }
}
