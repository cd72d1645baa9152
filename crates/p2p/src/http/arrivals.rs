//! The host's side: connections that were let in, as a transport.

use std::io;
use std::net::SocketAddr;
use std::pin::Pin;
use std::task::{Context, Poll};

use futures::FutureExt;
use futures::future::{BoxFuture, Pending};
use libp2p::Multiaddr;
use libp2p::core::transport::{DialOpts, ListenerId, Transport, TransportError, TransportEvent};
use libp2p::multiaddr::Protocol;
use rw_stream_sink::RwStreamSink;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::sync::mpsc;

use super::address::address;
use super::entrance::Taken;
use super::frames::Frames;

/// Any upgraded connection.
pub(super) trait Upgraded: AsyncRead + AsyncWrite + Send + Unpin {}

impl<T: AsyncRead + AsyncWrite + Send + Unpin> Upgraded for T {}

/// A connection that was let in.
pub(super) struct Arrival {
    pub stream: Box<dyn Upgraded>,
    pub from: SocketAddr,
    pub taken: Taken,
}

/// A transport that listens where the web server does, and dials nothing.
pub(crate) struct Arrivals {
    listener: ListenerId,
    waiting: mpsc::Receiver<Arrival>,
}

impl Arrivals {
    pub(super) fn new(waiting: mpsc::Receiver<Arrival>) -> Self {
        Self {
            listener: ListenerId::next(),
            waiting,
        }
    }
}

impl Transport for Arrivals {
    type Output = RwStreamSink<Frames>;
    type Error = io::Error;
    type ListenerUpgrade = BoxFuture<'static, io::Result<Self::Output>>;
    type Dial = Pending<io::Result<Self::Output>>;

    fn listen_on(
        &mut self,
        _: ListenerId,
        address: Multiaddr,
    ) -> Result<(), TransportError<Self::Error>> {
        Err(TransportError::MultiaddrNotSupported(address))
    }

    fn remove_listener(&mut self, _: ListenerId) -> bool {
        false
    }

    fn dial(
        &mut self,
        address: Multiaddr,
        _: DialOpts,
    ) -> Result<Self::Dial, TransportError<Self::Error>> {
        Err(TransportError::MultiaddrNotSupported(address))
    }

    fn poll(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<TransportEvent<Self::ListenerUpgrade, Self::Error>> {
        let Poll::Ready(Some(arrival)) = self.waiting.poll_recv(cx) else {
            return Poll::Pending;
        };
        let from = arrival.from;
        let upgrade = async move { Ok(RwStreamSink::new(Frames::new(arrival).await)) };
        Poll::Ready(TransportEvent::Incoming {
            listener_id: self.listener,
            upgrade: upgrade.boxed(),
            local_addr: Multiaddr::from(Protocol::Ws("/".into())),
            send_back_addr: address(&from.ip().to_string(), from.port(), false),
        })
    }
}
