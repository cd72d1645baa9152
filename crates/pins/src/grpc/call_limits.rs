//! Bounds of every call: how many at a time, and how long.

use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use axum::body::{Body, Bytes};
use axum::extract::{Request, State};
use axum::middleware::Next;
use axum::response::Response;
use http::HeaderMap;
use http_body::{Body as HttpBody, Frame, SizeHint};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::time::{Instant, Sleep};
use tonic::Status;

/// The caller's deadline: a number of at most eight digits and a unit.
const TIMEOUT: &str = "grpc-timeout";
/// Calls whose one answer comes after a stream that may take long.
const UPLOADS: &[&str] = &["/ues.pins.v1.PinService/ImportCar"];

/// Bounds of calls.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct CallLimits {
    /// Calls at one time, streams included.
    pub calls: usize,
    /// Longest time until an answer begins, whatever the caller's deadline.
    pub answer: Duration,
}

impl Default for CallLimits {
    fn default() -> Self {
        Self {
            calls: 1024,
            answer: Duration::from_secs(60),
        }
    }
}

/// Calls under way.
#[derive(Clone)]
pub(super) struct Calls {
    limits: CallLimits,
    room: Arc<Semaphore>,
}

impl Calls {
    pub(super) fn new(limits: CallLimits) -> Self {
        let room = Arc::new(Semaphore::new(limits.calls));
        Self { limits, room }
    }
}

/// Carries out a call within its bounds.
pub(super) async fn limit(State(calls): State<Calls>, request: Request, next: Next) -> Response {
    let Ok(place) = Arc::clone(&calls.room).try_acquire_owned() else {
        let why = format!("more than {} calls at a time", calls.limits.calls);
        return Status::resource_exhausted(why).into_http();
    };
    let now = Instant::now();
    let asked = match request.headers().get(TIMEOUT) {
        None => None,
        Some(value) => match value.to_str().ok().and_then(read_timeout) {
            Some(time) => Some(time),
            None => {
                let why = "grpc-timeout: up to 8 digits and a unit expected, such as 5S";
                return Status::invalid_argument(why).into_http();
            }
        },
    };
    let deadline = asked.and_then(|time| now.checked_add(time));
    let own = now + calls.limits.answer;
    let begin = match deadline {
        _ if UPLOADS.contains(&request.uri().path()) => deadline,
        Some(deadline) => Some(deadline.min(own)),
        None => Some(own),
    };
    let answer = next.run(request);
    let response = match begin {
        None => answer.await,
        Some(begin) => match tokio::time::timeout_at(begin, answer).await {
            Ok(response) => response,
            Err(_) => return too_late().into_http(),
        },
    };
    response.map(|inner| {
        Body::new(Bounded {
            inner: Some(inner),
            deadline: deadline.map(|deadline| Box::pin(tokio::time::sleep_until(deadline))),
            _place: place,
        })
    })
}

fn too_late() -> Status {
    Status::deadline_exceeded("the deadline of the call is over")
}

/// The time of a `grpc-timeout`.
fn read_timeout(text: &str) -> Option<Duration> {
    let (digits, unit) = text.split_at_checked(text.len().checked_sub(1)?)?;
    if digits.is_empty() || digits.len() > 8 || !digits.bytes().all(|b| b.is_ascii_digit()) {
        return None;
    }
    let number: u64 = digits.parse().ok()?;
    Some(match unit {
        "H" => Duration::from_secs(number * 3600),
        "M" => Duration::from_secs(number * 60),
        "S" => Duration::from_secs(number),
        "m" => Duration::from_millis(number),
        "u" => Duration::from_micros(number),
        "n" => Duration::from_nanos(number),
        _ => return None,
    })
}

/// An answer that keeps its place among the calls until it ends, and ends at the caller's deadline.
struct Bounded {
    /// `None` once it has ended.
    inner: Option<Body>,
    deadline: Option<Pin<Box<Sleep>>>,
    _place: OwnedSemaphorePermit,
}

impl HttpBody for Bounded {
    type Data = Bytes;
    type Error = axum::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, axum::Error>>> {
        let this = &mut *self;
        let Some(inner) = &mut this.inner else {
            return Poll::Ready(None);
        };
        if let Some(deadline) = &mut this.deadline
            && deadline.as_mut().poll(cx).is_ready()
        {
            this.inner = None;
            let mut trailers = HeaderMap::new();
            return Poll::Ready(match too_late().add_header(&mut trailers) {
                Ok(()) => Some(Ok(Frame::trailers(trailers))),
                Err(_) => None,
            });
        }
        let frame = ready!(Pin::new(inner).poll_frame(cx));
        Poll::Ready(frame)
    }

    fn is_end_stream(&self) -> bool {
        self.inner.as_ref().is_none_or(HttpBody::is_end_stream)
    }

    fn size_hint(&self) -> SizeHint {
        match &self.inner {
            // A stream may be cut short.
            Some(inner) if self.deadline.is_none() => inner.size_hint(),
            _ => SizeHint::default(),
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn timeouts_are_read() {
        for (text, time) in [
            ("1H", Some(3600.0)),
            ("2M", Some(120.0)),
            ("99999999S", Some(99_999_999.0)),
            ("5m", Some(0.005)),
            ("5u", Some(0.000_005)),
            ("5n", Some(0.000_000_005)),
            ("100000000S", None),
            ("S", None),
            ("", None),
            ("-1S", None),
            ("1s", None),
            ("1é", None),
        ] {
            let read = read_timeout(text).map(|time| time.as_secs_f64());
            assert_eq!(read, time, "{text:?}");
        }
    }

    proptest! {
        #[test]
        fn no_text_breaks_the_reader(text in "\\PC{0,12}") {
            let _ = read_timeout(&text);
        }
    }
}
