//! Counts the bytes of every peer's streams.

use std::collections::HashMap;
use std::io;
use std::pin::Pin;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Weak};
use std::task::{Context, Poll, ready};

use futures::{AsyncRead, AsyncWrite};
use libp2p::PeerId;
use libp2p::core::muxing::{StreamMuxer, StreamMuxerBox, StreamMuxerEvent, SubstreamBox};
use parking_lot::Mutex;

/// Bytes with one peer.
#[derive(Debug, Default)]
pub(crate) struct Counters {
    read: AtomicU64,
    written: AtomicU64,
}

impl Counters {
    pub(crate) fn read(&self) -> u64 {
        self.read.load(Ordering::Relaxed)
    }

    pub(crate) fn written(&self) -> u64 {
        self.written.load(Ordering::Relaxed)
    }

    /// Both ways together.
    pub(crate) fn moved(&self) -> u64 {
        self.read().wrapping_add(self.written())
    }
}

/// The counters of all peers that have a connection.
#[derive(Debug, Clone, Default)]
pub(crate) struct Traffic {
    peers: Arc<Mutex<Table>>,
}

#[derive(Debug, Default)]
struct Table {
    counters: HashMap<PeerId, Weak<Counters>>,
    prune_at: usize,
}

impl Traffic {
    /// The counters of a peer; they live as long as somebody holds them.
    pub(crate) fn of(&self, peer: PeerId) -> Arc<Counters> {
        let mut table = self.peers.lock();
        if let Some(counters) = table.counters.get(&peer).and_then(Weak::upgrade) {
            return counters;
        }
        if table.counters.len() >= table.prune_at {
            table.counters.retain(|_, c| c.strong_count() > 0);
            table.prune_at = 2 * table.counters.len() + 16;
        }
        let counters = Arc::new(Counters::default());
        table.counters.insert(peer, Arc::downgrade(&counters));
        counters
    }

    /// Wraps a connection with the peer so that its bytes are counted.
    pub(crate) fn count(&self, peer: PeerId, connection: StreamMuxerBox) -> StreamMuxerBox {
        StreamMuxerBox::new(CountingMuxer {
            inner: connection,
            counters: self.of(peer),
        })
    }
}

struct CountingMuxer {
    inner: StreamMuxerBox,
    counters: Arc<Counters>,
}

impl CountingMuxer {
    fn stream(&self, inner: SubstreamBox) -> CountingStream {
        CountingStream {
            inner,
            counters: Arc::clone(&self.counters),
        }
    }
}

impl StreamMuxer for CountingMuxer {
    type Substream = CountingStream;
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
        Pin::new(&mut self.inner).poll_close(cx)
    }

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<StreamMuxerEvent>> {
        Pin::new(&mut self.inner).poll(cx)
    }
}

struct CountingStream {
    inner: SubstreamBox,
    counters: Arc<Counters>,
}

fn add(counter: &AtomicU64, bytes: usize) -> usize {
    counter.fetch_add(bytes as u64, Ordering::Relaxed);
    bytes
}

impl AsyncRead for CountingStream {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buffer: &mut [u8],
    ) -> Poll<io::Result<usize>> {
        let bytes = ready!(Pin::new(&mut self.inner).poll_read(cx, buffer))?;
        Poll::Ready(Ok(add(&self.counters.read, bytes)))
    }
}

impl AsyncWrite for CountingStream {
    fn poll_write(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buffer: &[u8],
    ) -> Poll<io::Result<usize>> {
        let bytes = ready!(Pin::new(&mut self.inner).poll_write(cx, buffer))?;
        Poll::Ready(Ok(add(&self.counters.written, bytes)))
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buffers: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let bytes = ready!(Pin::new(&mut self.inner).poll_write_vectored(cx, buffers))?;
        Poll::Ready(Ok(add(&self.counters.written, bytes)))
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.inner).poll_flush(cx)
    }

    fn poll_close(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.inner).poll_close(cx)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn counters_go_with_their_last_user() {
        let traffic = Traffic::default();
        let peer = PeerId::random();
        let counters = traffic.of(peer);
        add(&counters.read, 5);
        assert_eq!(traffic.of(peer).read(), 5);
        drop(counters);
        assert_eq!(traffic.of(peer).read(), 0);
        for _ in 0..1000 {
            traffic.of(PeerId::random());
        }
        assert!(traffic.peers.lock().counters.len() < 40);
    }
}
