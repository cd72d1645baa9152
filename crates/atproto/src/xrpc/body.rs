//! Request bodies: presence, type, size, patience.

use std::time::{Duration, Instant};

use axum::body::Body;
use bytes::{Bytes, BytesMut};
use http::{HeaderMap, StatusCode, header};
use http_body_util::BodyExt;
use parking_lot::Mutex;

use crate::serve::is_too_slow;

use super::error::XrpcError;

/// Whether a request has a body.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Presence {
    /// It has, or says that one comes.
    Present,
    /// It says that it is empty.
    Empty,
    /// It says nothing.
    Missing,
}

/// Looks at the headers, and at the body where HTTP/2 has no header for it.
pub fn presence(headers: &HeaderMap, body: Option<&Body>) -> Presence {
    if headers.contains_key(header::TRANSFER_ENCODING) {
        return Presence::Present;
    }
    match headers.get(header::CONTENT_LENGTH) {
        Some(length) if length == "0" => Presence::Empty,
        Some(_) => Presence::Present,
        None if body.is_none_or(hyper::body::Body::is_end_stream) => Presence::Missing,
        None => Presence::Present,
    }
}

/// The media type of a request, in lower case and without parameters.
pub fn media_type(headers: &HeaderMap) -> Result<String, XrpcError> {
    headers
        .get(header::CONTENT_TYPE)
        .and_then(|v| v.to_str().ok())
        .map(|v| v.split(';').next().unwrap_or(v).trim().to_ascii_lowercase())
        .filter(|v| v.contains('/') && v.len() <= 255)
        .ok_or_else(|| {
            XrpcError::invalid("Request encoding (Content-Type) required but not provided")
        })
}

/// Refuses encodings of the transfer that are not undone here.
pub fn check_content_encoding(headers: &HeaderMap) -> Result<(), XrpcError> {
    match headers.get(header::CONTENT_ENCODING) {
        None => Ok(()),
        Some(v) if v == "identity" || v.is_empty() => Ok(()),
        Some(_) => Err(XrpcError::new(
            StatusCode::UNSUPPORTED_MEDIA_TYPE,
            "UnsupportedMediaType",
            "unsupported content-encoding",
        )),
    }
}

/// Bytes and time for which the rest of a refused body is still taken in: a client that is busy
/// sending reads the answer only when it is done.
const DRAIN_BYTES: u64 = 64 << 20;
const DRAIN_TIME: Duration = Duration::from_secs(10);

/// Takes in what is left of a body in the background.
pub fn drain(mut body: Body) {
    if hyper::body::Body::is_end_stream(&body) {
        return;
    }
    let Ok(runtime) = tokio::runtime::Handle::try_current() else {
        return;
    };
    runtime.spawn(async move {
        let mut left = DRAIN_BYTES;
        let all = async {
            while let Some(Ok(frame)) = body.frame().await {
                let size = frame.data_ref().map_or(0, |data| data.len() as u64);
                left = match left.checked_sub(size) {
                    Some(left) => left,
                    None => return,
                };
            }
        };
        let _ = tokio::time::timeout(DRAIN_TIME, all).await;
    });
}

fn late() -> XrpcError {
    XrpcError::new(
        StatusCode::REQUEST_TIMEOUT,
        "RequestTimeout",
        "the request body did not arrive in time",
    )
}

/// Reads a body piece by piece: at most `limit` bytes, and never waiting longer than `idle`.
pub struct Pieces {
    /// Never locked: it only makes a body, which is `Send`, `Sync` as well.
    body: Mutex<Body>,
    left: u64,
    idle: Duration,
    /// When all of it has to be there.
    end: Option<Instant>,
}

impl Pieces {
    /// Starts reading; a length that is announced and too large is refused at once.
    pub fn new(
        headers: &HeaderMap,
        body: Body,
        limit: u64,
        idle: Duration,
    ) -> Result<Self, XrpcError> {
        if let Some(length) = headers.get(header::CONTENT_LENGTH) {
            let length = length.to_str().ok().and_then(|v| v.parse::<u64>().ok());
            let length = length.ok_or_else(|| XrpcError::invalid("invalid content-length"))?;
            if length > limit {
                drain(body);
                return Err(XrpcError::too_large());
            }
        }
        Ok(Self {
            body: Mutex::new(body),
            left: limit,
            idle,
            end: None,
        })
    }

    /// Gives all of it so much time.
    #[must_use]
    pub fn within(mut self, time: Duration) -> Self {
        self.end = Instant::now().checked_add(time);
        self
    }

    /// The next piece; `None` at the end.
    ///
    /// Whoever does not read to the end leaves the rest to be drained.
    pub async fn next(&mut self) -> Result<Option<Bytes>, XrpcError> {
        loop {
            let left = self.end.map(|end| end.duration_since(Instant::now()));
            let patience = left.map_or(self.idle, |left| left.min(self.idle));
            let frame = match tokio::time::timeout(patience, self.body.get_mut().frame()).await {
                Ok(Some(Ok(frame))) => frame,
                Ok(Some(Err(e))) if is_too_slow(&e) => return Err(late()),
                Ok(Some(Err(e))) => {
                    return Err(XrpcError::invalid(format!("request body broke off: {e}")));
                }
                Ok(None) => return Ok(None),
                Err(_) => return Err(late()),
            };
            let Ok(data) = frame.into_data() else {
                continue;
            };
            self.left = self
                .left
                .checked_sub(data.len() as u64)
                .ok_or_else(XrpcError::too_large)?;
            if !data.is_empty() {
                return Ok(Some(data));
            }
        }
    }

    /// All of it.
    pub async fn all(mut self) -> Result<Bytes, XrpcError> {
        let Some(first) = self.next().await? else {
            return Ok(Bytes::new());
        };
        let Some(second) = self.next().await? else {
            return Ok(first);
        };
        let mut out = BytesMut::from(&first[..]);
        out.extend_from_slice(&second);
        while let Some(piece) = self.next().await? {
            out.extend_from_slice(&piece);
        }
        Ok(out.freeze())
    }
}

impl Drop for Pieces {
    fn drop(&mut self) {
        drain(std::mem::take(self.body.get_mut()));
    }
}
