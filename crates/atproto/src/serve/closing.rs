//! Ends of connections that a client still sends on.

use std::io;
use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::time::Sleep;

/// How long, and how many bytes, of what still comes is taken in.
const TIME: Duration = Duration::from_secs(2);
const BYTES: usize = 16 << 20;

/// A connection that at its end takes in what the client still sends: closed over unread bytes, it would be reset, and
/// the client never see the last answer.
pub(super) struct Closing<S> {
    stream: S,
    is_shut: bool,
    taken: usize,
    alarm: Option<Pin<Box<Sleep>>>,
}

impl<S> Closing<S> {
    pub fn new(stream: S) -> Self {
        Self {
            stream,
            is_shut: false,
            taken: 0,
            alarm: None,
        }
    }
}

impl<S: AsyncRead + Unpin> Closing<S> {
    fn poll_take_in(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        let mut space = [0; 4096];
        while self.taken < BYTES {
            let mut bytes = ReadBuf::new(&mut space);
            match Pin::new(&mut self.stream).poll_read(cx, &mut bytes) {
                Poll::Ready(Ok(())) if !bytes.filled().is_empty() => {
                    self.taken += bytes.filled().len();
                }
                Poll::Ready(_) => return Poll::Ready(()),
                // Nobody who sends nothing is waited for.
                Poll::Pending if self.taken == 0 => return Poll::Ready(()),
                Poll::Pending => {
                    let alarm = || Box::pin(tokio::time::sleep(TIME));
                    return self.alarm.get_or_insert_with(alarm).as_mut().poll(cx);
                }
            }
        }
        Poll::Ready(())
    }
}

impl<S: AsyncRead + Unpin> AsyncRead for Closing<S> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bytes: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_read(cx, bytes)
    }
}

impl<S: AsyncRead + AsyncWrite + Unpin> AsyncWrite for Closing<S> {
    fn poll_write(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.stream).poll_write(cx, bytes)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        pieces: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.stream).poll_write_vectored(cx, pieces)
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        if !self.is_shut {
            match Pin::new(&mut self.stream).poll_shutdown(cx) {
                Poll::Ready(Ok(())) => self.is_shut = true,
                other => return other,
            }
        }
        self.poll_take_in(cx).map(Ok)
    }
}
