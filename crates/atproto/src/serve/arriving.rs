//! Bodies of requests as they come in, and of answers as they go out.

use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::{Duration, Instant};

use axum::body::Body;
use axum::response::Response;
use bytes::Bytes;
use hyper::body::{Body as HttpBody, Frame, Incoming, SizeHint};
use tokio::time::Sleep;

use super::room::Exchange;

type BoxError = Box<dyn std::error::Error + Send + Sync>;

/// That a body comes too slowly.
#[derive(Debug, thiserror::Error)]
#[error("the request body did not arrive in time")]
pub(crate) struct TooSlow;

/// How fast the body of a request has to come, whatever reads it.
#[derive(Clone, Copy, Debug)]
pub(super) struct Pace {
    /// Longest time without a byte.
    pub idle: Duration,
    /// Time over which the rate is looked at.
    pub span: Duration,
    /// Bytes that have to come in each span.
    pub bytes: u64,
}

/// What has come within a span. Only time in which the client was waited for counts.
#[derive(Debug, Default)]
struct Come {
    waited: Duration,
    bytes: u64,
}

impl Come {
    /// Counts a piece; false when too little came.
    fn keeps_up(&mut self, pace: &Pace, waited: Duration, bytes: u64) -> bool {
        self.waited += waited;
        self.bytes += bytes;
        if self.waited < pace.span {
            return true;
        }
        let enough = self.bytes >= pace.bytes;
        *self = Self::default();
        enough
    }
}

/// The body of a request, which tells when all of it has come.
pub(super) struct Arriving {
    body: Incoming,
    exchange: Arc<Exchange>,
    pace: Pace,
    come: Come,
    waiting: Option<Instant>,
    alarm: Option<Pin<Box<Sleep>>>,
    is_given_up: bool,
}

impl Arriving {
    /// The body of a request. One that is there already costs nothing.
    pub fn body(body: Incoming, exchange: &Arc<Exchange>, pace: Pace) -> Body {
        if body.is_end_stream() {
            exchange.complete();
            return Body::new(body);
        }
        Body::new(Self {
            body,
            exchange: Arc::clone(exchange),
            pace,
            come: Come::default(),
            waiting: None,
            alarm: None,
            is_given_up: false,
        })
    }

    /// Nothing has come: since when, and for how long still.
    fn wait(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        if self.waiting.is_none() {
            self.waiting = Some(Instant::now());
            self.alarm = Some(Box::pin(tokio::time::sleep(self.pace.idle)));
        }
        match &mut self.alarm {
            Some(alarm) => alarm.as_mut().poll(cx),
            None => Poll::Pending,
        }
    }

    fn give_up(&mut self) -> Poll<Option<Result<Frame<Bytes>, BoxError>>> {
        self.is_given_up = true;
        Poll::Ready(Some(Err(Box::new(TooSlow))))
    }
}

impl HttpBody for Arriving {
    type Data = Bytes;
    type Error = BoxError;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, BoxError>>> {
        if self.is_given_up {
            return Poll::Ready(None);
        }
        let Poll::Ready(frame) = Pin::new(&mut self.body).poll_frame(cx) else {
            return match self.wait(cx) {
                Poll::Ready(()) => self.give_up(),
                Poll::Pending => Poll::Pending,
            };
        };
        let waited = self.waiting.take().map(|since| since.elapsed());
        self.alarm = None;
        let data = match &frame {
            Some(Ok(frame)) => frame.data_ref().map_or(0, Bytes::len),
            _ => 0,
        };
        if matches!(frame, None | Some(Ok(_))) && self.body.is_end_stream() {
            self.exchange.complete();
        } else {
            let (pace, waited) = (self.pace, waited.unwrap_or_default());
            if !self.come.keeps_up(&pace, waited, data as u64) {
                return self.give_up();
            }
        }
        Poll::Ready(frame.map(|frame| frame.map_err(Into::into)))
    }

    fn is_end_stream(&self) -> bool {
        self.is_given_up || self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}

/// The body of an answer, which keeps the exchange until it has gone out.
struct Leaving {
    body: Body,
    _exchange: Arc<Exchange>,
}

/// Keeps the exchange until the answer has gone out.
pub(super) fn leaving(response: Response, exchange: Arc<Exchange>) -> Response {
    response.map(|body| {
        Body::new(Leaving {
            body,
            _exchange: exchange,
        })
    })
}

impl HttpBody for Leaving {
    type Data = Bytes;
    type Error = axum::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, axum::Error>>> {
        Pin::new(&mut self.body).poll_frame(cx)
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}

/// Whether a body broke off because it came too slowly.
pub(crate) fn is_too_slow(error: &axum::Error) -> bool {
    std::error::Error::source(error).is_some_and(|cause| cause.is::<TooSlow>())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_trickle_is_told_from_a_slow_line() {
        let pace = Pace {
            idle: Duration::from_secs(30),
            span: Duration::from_secs(30),
            bytes: 30_000,
        };
        let mut come = Come::default();
        let second = Duration::from_secs(1);
        assert!((0..600).all(|_| come.keeps_up(&pace, second, 1_001)));
        let mut come = Come::default();
        // What came fast in the beginning does not count for ever, and time of one's own not at all.
        assert!(come.keeps_up(&pace, Duration::from_secs(31), 1 << 30));
        assert!((0..600).all(|_| come.keeps_up(&pace, Duration::ZERO, 1)));
        let kept = (0..10).filter(|_| come.keeps_up(&pace, Duration::from_secs(14), 1));
        assert_eq!(kept.count(), 7);
    }
}
