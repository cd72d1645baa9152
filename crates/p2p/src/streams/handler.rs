//! The side of one connection.

use std::collections::VecDeque;
use std::convert::Infallible;
use std::io;
use std::task::{Context, Poll};

use libp2p::PeerId;
use libp2p::swarm::handler::{
    ConnectionEvent, DialUpgradeError, FullyNegotiatedInbound, FullyNegotiatedOutbound,
};
use libp2p::swarm::{
    ConnectionHandler, ConnectionHandlerEvent, StreamUpgradeError, SubstreamProtocol,
};

use super::behaviour::{OpenStream, Registry};
use super::upgrade::AnyOf;
use crate::error::OpenStreamError;

/// Streams being negotiated on one connection; who asks for more is told to try again.
const MAX_NEGOTIATING: usize = 128;

/// Opens and accepts the streams of one connection.
pub(crate) struct Handler {
    peer: PeerId,
    relayed: bool,
    registry: Registry,
    requests: VecDeque<OpenStream>,
    negotiating: usize,
}

impl Handler {
    pub(super) fn new(peer: PeerId, relayed: bool, registry: Registry) -> Self {
        Self {
            peer,
            relayed,
            registry,
            requests: VecDeque::new(),
            negotiating: 0,
        }
    }

    fn answer(&mut self, request: OpenStream, error: StreamUpgradeError<Infallible>) {
        let error = match error {
            StreamUpgradeError::Timeout => OpenStreamError::Timeout,
            StreamUpgradeError::NegotiationFailed => OpenStreamError::Unsupported {
                peer: self.peer,
                protocols: request.protocols.clone(),
            },
            StreamUpgradeError::Io(error) => error.into(),
            StreamUpgradeError::Apply(never) => match never {},
        };
        let _ = request.reply.send(Err(error));
    }
}

impl ConnectionHandler for Handler {
    type FromBehaviour = OpenStream;
    type ToBehaviour = Infallible;
    type InboundProtocol = AnyOf;
    type OutboundProtocol = AnyOf;
    type InboundOpenInfo = ();
    type OutboundOpenInfo = OpenStream;

    fn listen_protocol(&self) -> SubstreamProtocol<AnyOf> {
        SubstreamProtocol::new(AnyOf(self.registry.protocols()), ())
    }

    // Asked whenever something happens on the connection, pings among it.
    fn connection_keep_alive(&self) -> bool {
        !self.requests.is_empty() || self.registry.is_kept(&self.peer, self.relayed)
    }

    fn poll(
        &mut self,
        _: &mut Context<'_>,
    ) -> Poll<ConnectionHandlerEvent<AnyOf, OpenStream, Infallible>> {
        while let Some(request) = self.requests.pop_front() {
            if request.reply.is_closed() {
                continue;
            }
            self.negotiating += 1;
            let protocols = AnyOf(request.protocols.clone());
            return Poll::Ready(ConnectionHandlerEvent::OutboundSubstreamRequest {
                protocol: SubstreamProtocol::new(protocols, request),
            });
        }
        Poll::Pending
    }

    // The swarm polls the handler again after this.
    fn on_behaviour_event(&mut self, request: OpenStream) {
        if self.negotiating + self.requests.len() < MAX_NEGOTIATING {
            self.requests.push_back(request);
        } else {
            request.fail(self.peer, io::ErrorKind::WouldBlock);
        }
    }

    fn on_connection_event(&mut self, event: ConnectionEvent<'_, AnyOf, AnyOf, (), OpenStream>) {
        match event {
            ConnectionEvent::FullyNegotiatedInbound(FullyNegotiatedInbound {
                protocol: (stream, protocol),
                ..
            }) => self.registry.arrived(self.peer, &protocol, stream),
            ConnectionEvent::FullyNegotiatedOutbound(FullyNegotiatedOutbound {
                protocol,
                info,
            }) => {
                self.negotiating = self.negotiating.saturating_sub(1);
                let _ = info.reply.send(Ok(protocol));
            }
            ConnectionEvent::DialUpgradeError(DialUpgradeError { info, error }) => {
                self.negotiating = self.negotiating.saturating_sub(1);
                self.answer(info, error);
            }
            _ => {}
        }
    }
}
