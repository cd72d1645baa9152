//! Lets a WebSocket transport dial addresses with a path.

use std::pin::Pin;
use std::task::{Context, Poll};

use libp2p::Multiaddr;
use libp2p::core::transport::{DialOpts, ListenerId, Transport, TransportError, TransportEvent};

use super::address::with_path_inside;

/// A WebSocket transport that knows `/ws/http-path/PATH`; libp2p's own knows `/x-parity-ws/PATH` only, which others do not.
pub(crate) struct Paths<T>(pub T);

impl<T: Transport + Unpin> Transport for Paths<T> {
    type Output = T::Output;
    type Error = T::Error;
    type ListenerUpgrade = T::ListenerUpgrade;
    type Dial = T::Dial;

    fn listen_on(
        &mut self,
        id: ListenerId,
        address: Multiaddr,
    ) -> Result<(), TransportError<Self::Error>> {
        self.0.listen_on(id, address)
    }

    fn remove_listener(&mut self, id: ListenerId) -> bool {
        self.0.remove_listener(id)
    }

    fn dial(
        &mut self,
        address: Multiaddr,
        options: DialOpts,
    ) -> Result<Self::Dial, TransportError<Self::Error>> {
        let Some(inside) = with_path_inside(&address) else {
            return self.0.dial(address, options);
        };
        self.0.dial(inside, options).map_err(|error| match error {
            // Other transports are asked for the address as it was given.
            TransportError::MultiaddrNotSupported(_) => {
                TransportError::MultiaddrNotSupported(address)
            }
            other => other,
        })
    }

    fn poll(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<TransportEvent<Self::ListenerUpgrade, Self::Error>> {
        Pin::new(&mut self.0).poll(cx)
    }
}
