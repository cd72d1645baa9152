//! What every connection is wrapped in: its bytes are counted, its streams end with it, and it ends soon once it is closed.
//!
//! Yamux wakes nobody who reads from a stream when this side closes the connection, and waits for the other to take what is left
//! to be sent, which who is gone never does.

use std::future::Future;
use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use futures::{AsyncRead, AsyncWrite};
use libp2p::core::muxing::{StreamMuxer, StreamMuxerBox, StreamMuxerEvent, SubstreamBox};
use tokio::time::Sleep;
use tokio_util::sync::{CancellationToken, WaitForCancellationFutureOwned};

use crate::traffic::Counters;

/// How long a connection that is closed may take to send what is left.
const CLOSE_WITHIN: Duration = Duration::from_secs(2);

/// Wraps a connection; `counters` are those of its peer.
pub(crate) fn watched(inner: StreamMuxerBox, counters: Arc<Counters>) -> StreamMuxerBox {
    StreamMuxerBox::new(WatchedMuxer {
        inner,
        counters,
        over: CancellationToken::new(),
        closing: None,
    })
}

struct WatchedMuxer {
    inner: StreamMuxerBox,
    counters: Arc<Counters>,
    over: CancellationToken,
    closing: Option<Pin<Box<Sleep>>>,
}

impl Drop for WatchedMuxer {
    fn drop(&mut self) {
        self.over.cancel();
    }
}

impl WatchedMuxer {
    fn stream(&self, inner: SubstreamBox) -> WatchedStream {
        WatchedStream {
            inner,
            counters: Arc::clone(&self.counters),
            over: self.over.clone(),
            reading: None,
            writing: None,
        }
    }
}

impl StreamMuxer for WatchedMuxer {
    type Substream = WatchedStream;
    type Error = io::Error;

    fn poll_inbound(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<io::Result<Self::Substream>> {
        let stream = ready!(Pin::new(&mut self.inner).poll_inbound(cx))?;
        Poll::Ready(Ok(self.stream(stream)))
    }

    fn poll_outbound(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<io::Result<Self::Substream>> {
        let stream = ready!(Pin::new(&mut self.inner).poll_outbound(cx))?;
        Poll::Ready(Ok(self.stream(stream)))
    }

    fn poll_close(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.over.cancel();
        if let Poll::Ready(closed) = Pin::new(&mut self.inner).poll_close(cx) {
            return Poll::Ready(closed);
        }
        let late = self
            .closing
            .get_or_insert_with(|| Box::pin(tokio::time::sleep(CLOSE_WITHIN)));
        late.as_mut().poll(cx).map(Ok)
    }

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<StreamMuxerEvent>> {
        Pin::new(&mut self.inner).poll(cx)
    }
}

/// Waits for the end of the connection. Reading and writing have one each: two tasks may do them.
type Ended = Option<Pin<Box<WaitForCancellationFutureOwned>>>;

struct WatchedStream {
    inner: SubstreamBox,
    counters: Arc<Counters>,
    over: CancellationToken,
    reading: Ended,
    writing: Ended,
}

/// What came of a call to the inner stream, or that the connection is over if nothing did.
fn unless_over<T>(
    outcome: Poll<io::Result<T>>,
    over: &CancellationToken,
    ended: &mut Ended,
    cx: &mut Context<'_>,
) -> Poll<io::Result<T>> {
    if outcome.is_ready() {
        return outcome;
    }
    let ended = ended.get_or_insert_with(|| Box::pin(over.clone().cancelled_owned()));
    ready!(ended.as_mut().poll(cx));
    Poll::Ready(Err(io::ErrorKind::ConnectionAborted.into()))
}

impl AsyncRead for WatchedStream {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buffer: &mut [u8],
    ) -> Poll<io::Result<usize>> {
        let this = &mut *self;
        let read = Pin::new(&mut this.inner).poll_read(cx, buffer);
        let bytes = ready!(unless_over(read, &this.over, &mut this.reading, cx))?;
        this.counters.add_read(bytes);
        Poll::Ready(Ok(bytes))
    }
}

impl AsyncWrite for WatchedStream {
    fn poll_write(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buffer: &[u8],
    ) -> Poll<io::Result<usize>> {
        let this = &mut *self;
        let written = Pin::new(&mut this.inner).poll_write(cx, buffer);
        let bytes = ready!(unless_over(written, &this.over, &mut this.writing, cx))?;
        this.counters.add_written(bytes);
        Poll::Ready(Ok(bytes))
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buffers: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let this = &mut *self;
        let written = Pin::new(&mut this.inner).poll_write_vectored(cx, buffers);
        let bytes = ready!(unless_over(written, &this.over, &mut this.writing, cx))?;
        this.counters.add_written(bytes);
        Poll::Ready(Ok(bytes))
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let this = &mut *self;
        let flushed = Pin::new(&mut this.inner).poll_flush(cx);
        unless_over(flushed, &this.over, &mut this.writing, cx)
    }

    fn poll_close(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let this = &mut *self;
        let closed = Pin::new(&mut this.inner).poll_close(cx);
        unless_over(closed, &this.over, &mut this.writing, cx)
    }
}
