//! Answers of any length: lines of JSON, written as fast as they are taken.

use std::time::{Duration, Instant};

use axum::body::Body;
use axum::response::{IntoResponse, Response};
use bytes::Bytes;
use futures::stream::BoxStream;
use futures::{Stream, StreamExt};
use http::header::{CONTENT_TYPE, TE};
use http::{HeaderMap, HeaderName, HeaderValue, StatusCode, Version};
use http_body::Frame;
use http_body_util::StreamBody;
use tokio::sync::mpsc;

use super::Failure;
use crate::placement::PinRecord;
use crate::store::StateError;

/// Bytes that are gathered before they are sent.
const PIECE: usize = 64 << 10;
/// Records that are looked at between two glances at the clock.
const GLANCE: usize = 1024;
/// How long a line may wait for others.
const PATIENCE: Duration = Duration::from_millis(50);
/// The name of the trailer that tells of a failure in the middle of an answer.
const STREAM_ERROR: HeaderName = HeaderName::from_static("x-stream-error");
const TRAILER: HeaderName = HeaderName::from_static("trailer");
const JSON: HeaderValue = HeaderValue::from_static("application/json");

/// A piece of an answer, or why it ends.
pub(crate) type Piece = Result<Bytes, Failure>;

/// Whether a client takes trailers; otherwise they are left out on the way to it.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Trailers(bool);

impl Trailers {
    pub(crate) fn of(version: Version, headers: &HeaderMap) -> Self {
        let asked = headers.get(TE).is_some_and(|te| te == "trailers");
        Self(asked || version == Version::HTTP_2)
    }

    /// Whether it does.
    pub(crate) fn taken(self) -> bool {
        self.0
    }
}

impl<S: Send + Sync> axum::extract::FromRequestParts<S> for Trailers {
    type Rejection = std::convert::Infallible;

    async fn from_request_parts(
        parts: &mut http::request::Parts,
        _: &S,
    ) -> Result<Self, Self::Rejection> {
        Ok(Self::of(parts.version, &parts.headers))
    }
}

/// Records in any order.
pub(crate) type Records = BoxStream<'static, Result<PinRecord, StateError>>;

/// Writes a line for each record, a task for each stream of them, and a few pieces ahead of the client at most.
pub(crate) fn write(
    streams: Vec<Records>,
    line: impl FnMut(&mut Vec<u8>, &PinRecord) + Clone + Send + 'static,
) -> mpsc::Receiver<Piece> {
    let (send, receive) = mpsc::channel(2);
    for records in streams {
        tokio::spawn(write_some(records, line.clone(), send.clone()));
    }
    receive
}

async fn write_some(
    mut records: Records,
    mut line: impl FnMut(&mut Vec<u8>, &PinRecord),
    send: mpsc::Sender<Piece>,
) {
    let mut out = Vec::with_capacity(PIECE + PIECE / 8);
    let mut sent = Instant::now();
    let mut looked = 0;
    while let Some(record) = records.next().await {
        match record {
            Ok(record) => line(&mut out, &record),
            Err(error) => {
                let _ = send.send(Ok(std::mem::take(&mut out).into())).await;
                let _ = send.send(Err(error.into())).await;
                return;
            }
        }
        looked += 1;
        let late = looked % GLANCE == 0 && sent.elapsed() > PATIENCE;
        if late {
            // A filter that hits nothing must not hold up others, nor go on for nobody.
            tokio::task::yield_now().await;
            sent = Instant::now();
            if send.is_closed() {
                return;
            }
        }
        if out.len() >= PIECE || (late && !out.is_empty()) {
            let room = Vec::with_capacity(PIECE + PIECE / 8);
            let piece = std::mem::replace(&mut out, room);
            if send.send(Ok(piece.into())).await.is_err() {
                return;
            }
            sent = Instant::now();
        }
    }
    if !out.is_empty() {
        let _ = send.send(Ok(out.into())).await;
    }
}

/// The answer: 204 when there is nothing at all, a plain failure when it fails before the first line. What fails
/// later is told in the trailer `X-Stream-Error`, and to clients without trailers by an answer that is cut off: a
/// part never looks like the whole.
pub(crate) async fn answer(trailers: Trailers, mut pieces: mpsc::Receiver<Piece>) -> Response {
    let first = loop {
        match pieces.recv().await {
            Some(Ok(piece)) if piece.is_empty() => {}
            Some(Ok(piece)) => break piece,
            Some(Err(failure)) => return failure.into_response(),
            None => {
                return (StatusCode::NO_CONTENT, [(CONTENT_TYPE, JSON)]).into_response();
            }
        }
    };
    let headers = [(CONTENT_TYPE, JSON), (TRAILER, STREAM_ERROR.into())];
    (headers, body(trailers, first, pieces)).into_response()
}

/// A body of pieces, with the trailer at its end.
pub(crate) fn body(trailers: Trailers, first: Bytes, pieces: mpsc::Receiver<Piece>) -> Body {
    let rest = futures::stream::unfold(pieces, |mut pieces| async {
        pieces.recv().await.map(|piece| (piece, pieces))
    });
    let first = futures::stream::iter((!first.is_empty()).then_some(Ok(first)));
    Body::new(StreamBody::new(frames(trailers, first.chain(rest))))
}

fn frames(
    trailers: Trailers,
    pieces: impl Stream<Item = Piece> + Send,
) -> impl Stream<Item = Result<Frame<Bytes>, std::io::Error>> + Send {
    let end = futures::stream::once(async { Ok(Bytes::new()) });
    pieces
        .map(|piece| piece.map(Some))
        .chain(end.map(|end: Piece| end.map(|_| None)))
        .scan(false, move |over, piece| {
            let frame = match piece {
                _ if *over => None,
                Ok(Some(piece)) => Some(Ok(Frame::data(piece))),
                Ok(None) => Some(Ok(trailer(""))),
                Err(failure) => {
                    *over = true;
                    tracing::warn!(error = %failure.message, "an answer fails in the middle");
                    Some(if trailers.0 {
                        Ok(trailer(&failure.message))
                    } else {
                        Err(std::io::Error::other(failure.message))
                    })
                }
            };
            futures::future::ready(frame)
        })
}

fn trailer(message: &str) -> Frame<Bytes> {
    let plain = message.replace(|c: char| c.is_control() || !c.is_ascii(), " ");
    let value = HeaderValue::from_str(&plain).unwrap_or(HeaderValue::from_static("failed"));
    Frame::trailers(HeaderMap::from_iter([(STREAM_ERROR, value)]))
}

#[cfg(test)]
mod tests {
    use futures::executor::block_on;
    use http_body_util::BodyExt;

    use super::*;

    /// The status, what came, the trailer, and whether it was cut off.
    fn read(
        trailers: bool,
        pieces: Vec<Piece>,
    ) -> (StatusCode, Vec<u8>, Option<HeaderValue>, bool) {
        let (send, receive) = mpsc::channel(pieces.len().max(1));
        for piece in pieces {
            send.try_send(piece).unwrap();
        }
        drop(send);
        block_on(async {
            let response = answer(Trailers(trailers), receive).await;
            let status = response.status();
            let (mut body, mut data, mut trailer) = (response.into_body(), Vec::new(), None);
            while let Some(frame) = body.frame().await {
                match frame.map(Frame::into_data) {
                    Ok(Ok(piece)) => data.extend_from_slice(&piece),
                    Ok(Err(frame)) => {
                        let trailers = frame.into_trailers().unwrap();
                        trailer = trailers.get(&STREAM_ERROR).cloned();
                    }
                    Err(_) => return (status, data, trailer, true),
                }
            }
            (status, data, trailer, false)
        })
    }

    fn piece(text: &'static str) -> Piece {
        Ok(Bytes::from_static(text.as_bytes()))
    }

    #[test]
    fn a_part_never_looks_like_the_whole() {
        let failing = || {
            vec![
                piece("a\n"),
                Err(Failure::internal("it\nbroke")),
                piece("b\n"),
            ]
        };
        let (status, data, trailer, cut) = read(true, failing());
        assert_eq!(
            (status, &data[..], cut),
            (StatusCode::OK, &b"a\n"[..], false)
        );
        assert_eq!(trailer.unwrap(), "it broke");
        let (_, data, trailer, cut) = read(false, failing());
        assert_eq!((&data[..], trailer, cut), (&b"a\n"[..], None, true));
    }

    #[test]
    fn what_fails_at_once_has_its_status() {
        let (status, data, _, cut) = read(true, vec![piece(""), Err(Failure::internal("no"))]);
        assert_eq!(status, StatusCode::INTERNAL_SERVER_ERROR);
        assert_eq!(data, br#"{"code":500,"message":"no"}"#);
        assert!(!cut);
        assert_eq!(read(true, Vec::new()).0, StatusCode::NO_CONTENT);
        let (_, data, trailer, _) = read(false, vec![piece("a\n"), piece("b\n")]);
        assert_eq!((&data[..], trailer.unwrap().len()), (&b"a\nb\n"[..], 0));
    }
}
