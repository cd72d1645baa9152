//! The handle of a host.

use std::collections::BTreeSet;
use std::sync::Arc;

use bytes::Bytes;
use libp2p::gossipsub::IdentTopic;
use libp2p::identity::Keypair;
use libp2p::kad::RecordKey;
use libp2p::swarm::Swarm;
use libp2p::{Multiaddr, PeerId, Stream, StreamProtocol};
use tokio::sync::{broadcast, mpsc, oneshot, watch};
use tokio::time::timeout;
use tokio_util::sync::CancellationToken;
use ues_data::Cid;
use zeroize::Zeroizing;

use crate::addresses;
use crate::behaviour::Behaviour;
use crate::config::{Limits, NetworkConfig, peer_of};
use crate::driver::{Channels, Command, Driver};
use crate::error::{ConnectError, NetworkError, OpenStreamError, QueryError, TopicError};
use crate::gossip::Subscription;
use crate::http::Entrance;
use crate::known_peers::KnownPeer;
use crate::state::{NatStatus, NetworkState};
use crate::streams::{IncomingStreams, OpenStream, Registry};
use crate::traffic::Traffic;
use crate::transport;

/// Something happened to a peer.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum NetworkEvent {
    /// The first connection with a peer stands.
    PeerConnected(PeerId),
    /// A connected peer said what it is and speaks.
    PeerIdentified(PeerId),
    /// The last connection with a peer is gone.
    PeerDisconnected(PeerId),
    /// Hole punching led from a relayed connection to a direct one. The side whose dial came through is told.
    HolePunched(PeerId),
    /// A direct connection stands with a peer that was connected through a relay only. New streams take it.
    PeerDirect(PeerId),
    /// A peer was found in the local network. It is not dialed unless it is a known peer.
    PeerDiscovered(KnownPeer),
}

/// Commands that wait for the host.
const WAITING_COMMANDS: usize = 256;
/// Events that a slow listener may lag behind before it loses some.
const WAITING_EVENTS: usize = 1024;
/// The longest name of a topic in bytes.
pub const MAX_TOPIC_BYTES: usize = 256;

/// A running host. Cloning it gives another handle of the same host, which stops when the last
/// is gone. A running [`Bitswap`](crate::Bitswap) holds one.
#[derive(Clone)]
pub struct Network {
    peer: PeerId,
    limits: Arc<Limits>,
    commands: mpsc::Sender<Command>,
    events: broadcast::Sender<NetworkEvent>,
    nearby: watch::Receiver<BTreeSet<PeerId>>,
    published: Arc<watch::Sender<NetworkState>>,
    streams: Registry,
    entrance: Option<Entrance>,
    stopped: CancellationToken,
}

impl std::fmt::Debug for Network {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Network")
            .field("peer", &self.peer)
            .finish_non_exhaustive()
    }
}

impl Network {
    /// Starts a host whose identity is the given Ed25519 secret key, and waits until it listens everywhere it should.
    ///
    /// # Errors
    /// The settings are wrong, or an address cannot be listened on.
    pub async fn start(
        config: NetworkConfig,
        mut secret: Zeroizing<[u8; 32]>,
    ) -> Result<Self, NetworkError> {
        config.check()?;
        let keypair = Keypair::ed25519_from_bytes(secret.as_mut_slice())
            .map_err(|e| NetworkError::Secret(e.to_string()))?;
        let peer = keypair.public().to_peer_id();
        let traffic = Traffic::default();
        let key = config
            .private_network
            .as_ref()
            .map(crate::config::PrivateNetworkKey::bytes);
        let http = config.http.as_ref();
        let (entrance, arrivals) = http.map(|_| Entrance::new(&config.limits)).unzip();
        let options = transport::Options {
            private_network: key,
            arrivals,
            tls_roots: &config.tls_roots,
            longest_setup: config.limits.answer,
        };
        let (connections, relay_client) = transport::build(&keypair, options, traffic.clone())?;
        let behaviour = Behaviour::new(&config, &keypair, relay_client)?;
        let streams = behaviour.streams.registry();
        let swarm_config = libp2p::swarm::Config::with_tokio_executor()
            .with_idle_connection_timeout(config.limits.idle);
        let swarm = Swarm::new(connections, behaviour, peer, swarm_config);

        let (sender, commands) = mpsc::channel(WAITING_COMMANDS);
        let (events, _) = broadcast::channel(WAITING_EVENTS);
        let (started, start) = oneshot::channel();
        let (published, _) = watch::channel(nothing_yet(peer));
        let (found, nearby) = watch::channel(BTreeSet::new());
        let network = Self {
            peer,
            limits: Arc::new(config.limits.clone()),
            commands: sender,
            events,
            nearby,
            published: Arc::new(published),
            streams,
            entrance,
            stopped: CancellationToken::new(),
        };
        let channels = Channels {
            commands,
            events: network.events.clone(),
            nearby: found,
            published: Arc::clone(&network.published),
            started,
            stopped: network.stopped.clone(),
        };
        let driver = Driver::new(swarm, config, traffic, channels)?;
        tokio::spawn(driver.run());
        start.await.map_err(|_| NetworkError::Stopped)??;
        Ok(network)
    }

    /// Ends all connections and the host, and waits for it.
    pub async fn shutdown(&self) {
        let _ = self.commands.send(Command::Shutdown).await;
        self.stopped.cancelled().await;
    }

    /// Who we are.
    #[must_use]
    pub fn peer_id(&self) -> PeerId {
        self.peer
    }

    /// Where we listen, each with `/p2p/ID` at its end; none once the host has stopped.
    pub async fn listen_addresses(&self) -> Vec<Multiaddr> {
        let state = self.state().await;
        let listening = state.into_iter().flat_map(|state| state.listening);
        listening
            .filter_map(|address| address.with_p2p(self.peer).ok())
            .collect()
    }

    /// At most `limit` addresses for somebody who wants to reach this host from anywhere: from outside, in the local network
    /// and through relays, in this order.
    pub async fn addresses_to_tell(&self, limit: usize) -> Vec<Multiaddr> {
        match self.state().await {
            Some(state) => addresses::to_tell(&state.external, &state.listening, limit),
            None => Vec::new(),
        }
    }

    /// Where a web server lets connections in; none unless [`NetworkConfig::http`] is set.
    #[must_use]
    pub fn entrance(&self) -> Option<Entrance> {
        self.entrance.clone()
    }

    /// Connects to the peer at an address and tells who it is; if the address names a peer, it must be that one.
    ///
    /// # Errors
    /// The peer was not reached.
    pub async fn connect(&self, address: Multiaddr) -> Result<PeerId, ConnectError> {
        self.dial(peer_of(&address), vec![address]).await
    }

    /// Connects to a peer at any of these addresses or of those that discovery knows. Does nothing if it is connected.
    ///
    /// # Errors
    /// The peer was not reached.
    pub async fn connect_peer(
        &self,
        peer: PeerId,
        addresses: Vec<Multiaddr>,
    ) -> Result<(), ConnectError> {
        self.dial(Some(peer), addresses).await.map(|_| ())
    }

    async fn dial(
        &self,
        peer: Option<PeerId>,
        addresses: Vec<Multiaddr>,
    ) -> Result<PeerId, ConnectError> {
        let asked = self.ask(|reply| Command::Connect {
            peer,
            addresses,
            reply,
        });
        // The transport gives up after the same time; this is for what else might take long.
        let answer = timeout(2 * self.limits.answer, asked)
            .await
            .map_err(|_| ConnectError::Timeout)?;
        answer.ok_or(ConnectError::Stopped)?
    }

    /// Ends the connections with a peer; false if there was none.
    pub async fn disconnect(&self, peer: PeerId) -> bool {
        let done = self.ask(|reply| Command::Disconnect(peer, reply)).await;
        done.unwrap_or_default()
    }

    /// Opens a stream to a peer. One that is not connected is dialed first, if discovery knows its addresses.
    ///
    /// # Errors
    /// The peer is not there, does not speak the protocol, or takes longer than [`Limits::answer`].
    pub async fn open_stream(
        &self,
        peer: PeerId,
        protocol: StreamProtocol,
    ) -> Result<Stream, OpenStreamError> {
        let (stream, _) = self.open_stream_any(peer, vec![protocol]).await?;
        Ok(stream)
    }

    /// Opens a stream for the first of these protocols that the peer speaks, and tells which it is.
    ///
    /// # Errors
    /// As [`Network::open_stream`].
    pub async fn open_stream_any(
        &self,
        peer: PeerId,
        protocols: Vec<StreamProtocol>,
    ) -> Result<(Stream, StreamProtocol), OpenStreamError> {
        self.connect_peer(peer, Vec::new()).await?;
        let opened = self.ask(|reply| {
            let request = OpenStream { protocols, reply };
            Command::OpenStream(peer, request)
        });
        match timeout(self.limits.answer, opened).await {
            Ok(Some(opened)) => opened,
            Ok(None) => Err(std::io::Error::from(std::io::ErrorKind::ConnectionReset).into()),
            Err(_) => Err(OpenStreamError::Timeout),
        }
    }

    /// Accepts the streams of a protocol. At most [`Limits::waiting_streams`] wait; who comes then is reset.
    ///
    /// # Errors
    /// The protocol is accepted already.
    pub fn accept_streams(
        &self,
        protocol: StreamProtocol,
    ) -> Result<IncomingStreams, OpenStreamError> {
        self.streams
            .accept(protocol.clone(), self.limits.waiting_streams)
            .ok_or(OpenStreamError::AlreadyAccepted(protocol))
    }

    /// Adds a peer to those that are dialed again when lost, or addresses to such a peer.
    pub async fn add_known_peer(&self, peer: KnownPeer) {
        self.ask(|reply| Command::AddKnown(peer, reply)).await;
    }

    /// Takes a peer from those; false if it was none. Its connections stay as long as they are used.
    pub async fn remove_known_peer(&self, peer: PeerId) -> bool {
        let done = self.ask(|reply| Command::RemoveKnown(peer, reply)).await;
        done.unwrap_or_default()
    }

    /// The known peers and their addresses as of now, for the caller to keep.
    pub async fn known_peers(&self) -> Vec<KnownPeer> {
        self.ask(Command::ListKnown).await.unwrap_or_default()
    }

    /// Others reach us under this address too. A relay and a provider need at least one that is right.
    pub async fn add_external_address(&self, address: Multiaddr) {
        self.ask(|reply| Command::AddExternal(address, reply)).await;
    }

    /// Ends all connections with a peer and refuses new ones, or stops refusing.
    pub async fn block(&self, peer: PeerId, blocked: bool) {
        let _ = self.commands.send(Command::Block(peer, blocked)).await;
    }

    /// Lets a peer connect, or not any longer. Means nothing unless [`NetworkConfig::allow_only`] is set.
    pub async fn allow(&self, peer: PeerId, allowed: bool) {
        let _ = self.commands.send(Command::Allow(peer, allowed)).await;
    }

    /// Sends a message, signed by us, to all who listen to a topic.
    ///
    /// # Errors
    /// The message is too long, or nobody is there to hear it.
    pub async fn publish(&self, topic: &str, data: impl Into<Bytes>) -> Result<(), TopicError> {
        check_topic(topic)?;
        let data = data.into();
        let topic = topic.to_owned();
        let sent = self.ask(|reply| Command::Publish(topic, data, reply)).await;
        sent.ok_or(TopicError::Stopped)?
    }

    /// Listens to a topic. Every message must be judged before it travels on.
    ///
    /// # Errors
    /// There is a subscriber already.
    pub async fn subscribe(&self, topic: &str) -> Result<Subscription, TopicError> {
        check_topic(topic)?;
        let name = topic.to_owned();
        let done = self.ask(|reply| Command::Subscribe(name, reply)).await;
        let messages = done.ok_or(TopicError::Stopped)??;
        Ok(Subscription {
            topic: IdentTopic::new(topic).hash(),
            messages,
            commands: self.commands.downgrade(),
        })
    }

    /// Tells the hash table that we have a block. Others find us by it if the host knows an external address of ours,
    /// a relay's among them.
    ///
    /// # Errors
    /// Kademlia is off, or nobody took the record.
    pub async fn provide(&self, cid: &Cid) -> Result<(), QueryError> {
        let key = record_key(cid);
        let done = self.ask(|reply| Command::Provide(key, reply)).await;
        done.ok_or(QueryError::Stopped)?
    }

    /// No longer tells the hash table that we have a block; what others remember of it runs out.
    pub async fn stop_providing(&self, cid: &Cid) {
        let command = Command::StopProviding(record_key(cid));
        let _ = self.commands.send(command).await;
    }

    /// Asks the hash table who has a block; at most 32 peers, maybe ourselves among them.
    ///
    /// # Errors
    /// Kademlia is off, or nobody answered.
    pub async fn find_providers(&self, cid: &Cid) -> Result<Vec<PeerId>, QueryError> {
        let key = record_key(cid);
        let found = self.ask(|reply| Command::FindProviders(key, reply)).await;
        found.ok_or(QueryError::Stopped)?
    }

    /// What the host is doing now; none once it has stopped.
    pub async fn state(&self) -> Option<NetworkState> {
        self.ask(Command::State).await
    }

    /// The state as it changes, a tenth of a second late at most; byte counts once a second.
    #[must_use]
    pub fn watch(&self) -> watch::Receiver<NetworkState> {
        self.published.subscribe()
    }

    /// What happens to peers from now on.
    #[must_use]
    pub fn events(&self) -> broadcast::Receiver<NetworkEvent> {
        self.events.subscribe()
    }

    /// Who was found in the local network since the host started, at most 256.
    #[must_use]
    pub fn nearby(&self) -> watch::Receiver<BTreeSet<PeerId>> {
        self.nearby.clone()
    }

    /// The limits of the host.
    #[must_use]
    pub fn limits(&self) -> &Limits {
        &self.limits
    }

    pub(crate) fn stopped(&self) -> CancellationToken {
        self.stopped.clone()
    }

    async fn ask<T>(&self, command: impl FnOnce(oneshot::Sender<T>) -> Command) -> Option<T> {
        let (reply, answer) = oneshot::channel();
        self.commands.send(command(reply)).await.ok()?;
        answer.await.ok()
    }
}

/// Provider records are about the hash, whatever the codec.
fn record_key(cid: &Cid) -> RecordKey {
    RecordKey::new(&cid.hash().to_bytes())
}

fn check_topic(topic: &str) -> Result<(), TopicError> {
    if topic.len() > MAX_TOPIC_BYTES {
        let found = topic.len();
        return Err(TopicError::TooLong {
            limit: MAX_TOPIC_BYTES,
            found,
        });
    }
    Ok(())
}

fn nothing_yet(peer: PeerId) -> NetworkState {
    NetworkState {
        peer,
        listening: Vec::new(),
        external: Vec::new(),
        nat: NatStatus::Unknown,
        reservations: Vec::new(),
        reserved_for: 0,
        gossip_dropped: 0,
        peers: Vec::new(),
    }
}
