//! Streams for protocols of our own: opened by name, accepted up to a bound.

mod behaviour;
mod handler;
mod upgrade;

use std::pin::Pin;
use std::task::{Context, Poll};

use libp2p::{PeerId, Stream};
use tokio::sync::mpsc;

pub(crate) use behaviour::{Behaviour, OpenStream, Registry};

/// The streams that peers open for one protocol. Dropping it ends the protocol.
#[derive(Debug)]
pub struct IncomingStreams {
    waiting: mpsc::Receiver<(PeerId, Stream)>,
}

impl IncomingStreams {
    /// The next stream and who opened it; none once the host has stopped.
    pub async fn next(&mut self) -> Option<(PeerId, Stream)> {
        self.waiting.recv().await
    }
}

impl futures::Stream for IncomingStreams {
    type Item = (PeerId, Stream);

    fn poll_next(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        self.waiting.poll_recv(cx)
    }
}
