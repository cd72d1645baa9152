//! Which peer has which connections, and which protocols are accepted.

use std::collections::{BTreeMap, HashMap, HashSet, VecDeque};
use std::convert::Infallible;
use std::io;
use std::sync::Arc;
use std::task::{Context, Poll, Waker};

use libp2p::core::{Endpoint, transport::PortUse};
use libp2p::swarm::{
    ConnectionDenied, ConnectionId, FromSwarm, NetworkBehaviour, NotifyHandler, THandler,
    THandlerInEvent, THandlerOutEvent, ToSwarm,
};
use libp2p::{Multiaddr, PeerId, Stream, StreamProtocol};
use parking_lot::{Mutex, RwLock};
use tokio::sync::{mpsc, oneshot};

use super::IncomingStreams;
use super::handler::Handler;
use crate::addresses::is_relayed;
use crate::error::OpenStreamError;

/// A stream to be opened: the protocols, the best first, and who waits for it.
#[derive(Debug)]
pub(crate) struct OpenStream {
    pub(crate) protocols: Vec<StreamProtocol>,
    pub(crate) reply: oneshot::Sender<Result<(Stream, StreamProtocol), OpenStreamError>>,
}

impl OpenStream {
    pub(super) fn fail(self, peer: PeerId, kind: io::ErrorKind) {
        let error = io::Error::new(kind, format!("no connection with peer {peer}"));
        // Who asked may have stopped waiting.
        let _ = self.reply.send(Err(error.into()));
    }
}

type Accepted = HashMap<StreamProtocol, mpsc::Sender<(PeerId, Stream)>>;

/// What the handlers of all connections and the handle of the host share.
#[derive(Debug, Clone, Default)]
pub(crate) struct Registry {
    accepted: Arc<Mutex<Accepted>>,
    /// Peers whose connections stay though nothing happens on them.
    kept: Arc<RwLock<HashSet<PeerId>>>,
    /// Peers with a direct connection; those through relays beside it end once they are not used.
    direct: Arc<RwLock<HashSet<PeerId>>>,
}

impl Registry {
    /// Accepts a protocol; none if somebody does already.
    pub(crate) fn accept(&self, protocol: StreamProtocol, limit: usize) -> Option<IncomingStreams> {
        let mut accepted = self.accepted.lock();
        if accepted.get(&protocol).is_some_and(|s| !s.is_closed()) {
            return None;
        }
        let (sender, waiting) = mpsc::channel(limit.max(1));
        accepted.insert(protocol, sender);
        Some(IncomingStreams { waiting })
    }

    pub(super) fn protocols(&self) -> Vec<StreamProtocol> {
        let mut accepted = self.accepted.lock();
        accepted.retain(|_, sender| !sender.is_closed());
        accepted.keys().cloned().collect()
    }

    /// Gives a stream to who accepts its protocol; without room it is dropped, which resets it.
    pub(super) fn arrived(&self, peer: PeerId, protocol: &StreamProtocol, stream: Stream) {
        if let Some(sender) = self.accepted.lock().get(protocol)
            && sender.try_send((peer, stream)).is_err()
        {
            tracing::debug!(%peer, %protocol, "too many streams wait, one is reset");
        }
    }

    pub(crate) fn keep(&self, peer: PeerId) {
        self.kept.write().insert(peer);
    }

    pub(crate) fn release(&self, peer: &PeerId) {
        self.kept.write().remove(peer);
    }

    pub(super) fn is_kept(&self, peer: &PeerId, relayed: bool) -> bool {
        self.kept.read().contains(peer) && !(relayed && self.direct.read().contains(peer))
    }

    fn set_direct(&self, peer: PeerId, direct: bool) {
        let mut list = self.direct.write();
        if direct {
            list.insert(peer);
        } else {
            list.remove(&peer);
        }
    }
}

/// The part of the host that opens and accepts streams.
#[derive(Debug, Default)]
pub(crate) struct Behaviour {
    registry: Registry,
    /// For each connection whether it goes through a relay.
    connections: HashMap<PeerId, BTreeMap<ConnectionId, bool>>,
    requests: VecDeque<(PeerId, ConnectionId, OpenStream)>,
    waker: Option<Waker>,
}

impl Behaviour {
    pub(crate) fn registry(&self) -> Registry {
        self.registry.clone()
    }

    /// Opens a stream on a connection with the peer, on a direct one if there is.
    pub(crate) fn open(&mut self, peer: PeerId, request: OpenStream) {
        let connections = self.connections.get(&peer);
        let best = connections
            .into_iter()
            .flatten()
            .min_by_key(|(id, relayed)| (**relayed, **id));
        match best {
            Some((id, _)) => {
                self.requests.push_back((peer, *id, request));
                if let Some(waker) = self.waker.take() {
                    waker.wake();
                }
            }
            None => request.fail(peer, io::ErrorKind::NotConnected),
        }
    }
}

impl Behaviour {
    fn look_for_direct(&self, peer: PeerId) {
        let connections = self.connections.get(&peer);
        let direct = connections.is_some_and(|all| all.values().any(|relayed| !relayed));
        self.registry.set_direct(peer, direct);
    }
}

impl NetworkBehaviour for Behaviour {
    type ConnectionHandler = Handler;
    type ToSwarm = Infallible;

    fn handle_established_inbound_connection(
        &mut self,
        _: ConnectionId,
        peer: PeerId,
        local: &Multiaddr,
        _: &Multiaddr,
    ) -> Result<THandler<Self>, ConnectionDenied> {
        Ok(Handler::new(peer, is_relayed(local), self.registry()))
    }

    fn handle_established_outbound_connection(
        &mut self,
        _: ConnectionId,
        peer: PeerId,
        address: &Multiaddr,
        _: Endpoint,
        _: PortUse,
    ) -> Result<THandler<Self>, ConnectionDenied> {
        Ok(Handler::new(peer, is_relayed(address), self.registry()))
    }

    fn on_swarm_event(&mut self, event: FromSwarm<'_>) {
        match event {
            FromSwarm::ConnectionEstablished(opened) => {
                let relayed = opened.endpoint.is_relayed();
                self.connections
                    .entry(opened.peer_id)
                    .or_default()
                    .insert(opened.connection_id, relayed);
                self.look_for_direct(opened.peer_id);
            }
            FromSwarm::ConnectionClosed(closed) => {
                if let Some(connections) = self.connections.get_mut(&closed.peer_id) {
                    connections.remove(&closed.connection_id);
                    if connections.is_empty() {
                        self.connections.remove(&closed.peer_id);
                    }
                }
                self.look_for_direct(closed.peer_id);
            }
            _ => {}
        }
    }

    fn on_connection_handler_event(
        &mut self,
        _: PeerId,
        _: ConnectionId,
        event: THandlerOutEvent<Self>,
    ) {
        match event {}
    }

    fn poll(
        &mut self,
        cx: &mut Context<'_>,
    ) -> Poll<ToSwarm<Self::ToSwarm, THandlerInEvent<Self>>> {
        if let Some((peer_id, id, event)) = self.requests.pop_front() {
            return Poll::Ready(ToSwarm::NotifyHandler {
                peer_id,
                handler: NotifyHandler::One(id),
                event,
            });
        }
        self.waker = Some(cx.waker().clone());
        Poll::Pending
    }
}
