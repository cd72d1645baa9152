//! The task that runs the swarm: commands in, events out.

mod events;
mod queries;
mod table;

use std::collections::{BTreeSet, HashMap};
use std::sync::Arc;
use std::time::{Duration, Instant};

use bytes::Bytes;
use futures::StreamExt;
use libp2p::core::transport::ListenerId;
use libp2p::gossipsub::{IdentTopic, PublishError, TopicHash};
use libp2p::multiaddr::Protocol;
use libp2p::swarm::dial_opts::{DialOpts, PeerCondition};
use libp2p::swarm::{ConnectionId, DialError, Swarm};
use libp2p::{Multiaddr, PeerId, kad};
use tokio::sync::{broadcast, mpsc, oneshot, watch};
use tokio_util::sync::CancellationToken;

use crate::addresses::is_loopback;
use crate::backoff::Backoff;
use crate::behaviour::{Behaviour, topic_scores};
use crate::config::{Limits, NetworkConfig, peer_of};
use crate::error::{ConnectError, NetworkError, QueryError, TopicError};
use crate::gossip::{GivenVerdict, GossipMessage};
use crate::known_peers::{KnownPeer, KnownPeers};
use crate::network::NetworkEvent;
use crate::state::{NatStatus, NetworkState};
use crate::streams::{OpenStream, Registry};
use crate::traffic::Traffic;
use queries::Queries;
use table::Table;

type Reply<T, E> = oneshot::Sender<Result<T, E>>;

/// What the handle asks of the task.
#[derive(Debug)]
pub(crate) enum Command {
    Connect {
        peer: Option<PeerId>,
        addresses: Vec<Multiaddr>,
        reply: Reply<PeerId, ConnectError>,
    },
    OpenStream(PeerId, OpenStream),
    Disconnect(PeerId, oneshot::Sender<bool>),
    AddKnown(KnownPeer, oneshot::Sender<()>),
    RemoveKnown(PeerId, oneshot::Sender<bool>),
    ListKnown(oneshot::Sender<Vec<KnownPeer>>),
    AddExternal(Multiaddr, oneshot::Sender<()>),
    Block(PeerId, bool),
    Allow(PeerId, bool),
    Publish(String, Bytes, Reply<(), TopicError>),
    Subscribe(String, Reply<mpsc::Receiver<GossipMessage>, TopicError>),
    Unsubscribe(TopicHash),
    Provide(kad::RecordKey, Reply<(), QueryError>),
    StopProviding(kad::RecordKey),
    FindProviders(kad::RecordKey, Reply<Vec<PeerId>, QueryError>),
    State(oneshot::Sender<NetworkState>),
    Shutdown,
}

/// How long changes are gathered before they are shown.
const PUBLISH_AFTER: Duration = Duration::from_millis(100);
/// How often byte counts and round trips are shown to who watches.
const REFRESH: Duration = Duration::from_secs(1);
/// Devices of the local network that are remembered; that of a hall full of people has more.
const MAX_NEARBY: usize = 256;
/// How long a host that stops says goodbye to its peers.
const GOODBYE: Duration = Duration::from_secs(1);

pub(crate) struct Driver {
    swarm: Swarm<Behaviour>,
    commands: mpsc::Receiver<Command>,
    verdicts: mpsc::UnboundedReceiver<GivenVerdict>,
    verdict_sender: mpsc::UnboundedSender<GivenVerdict>,
    limits: Limits,
    table: Table,
    streams: Registry,
    known: KnownPeers,
    /// Relays by the same rules as known peers: connected means that the reservation stands.
    relays: KnownPeers,
    relay_listeners: HashMap<ListenerId, PeerId>,
    /// Listeners of the settings that have no address yet, and who waits for them.
    starting: HashMap<ListenerId, Multiaddr>,
    /// Where the web server of this host is found on this machine, and from nowhere else.
    http_here: Option<Multiaddr>,
    started: Option<Reply<(), NetworkError>>,
    dials: HashMap<ConnectionId, Reply<PeerId, ConnectError>>,
    queries: Queries,
    topics: HashMap<TopicHash, mpsc::Sender<GossipMessage>>,
    nat: NatStatus,
    gossip_dropped: u64,
    events: broadcast::Sender<NetworkEvent>,
    nearby: watch::Sender<BTreeSet<PeerId>>,
    published: Arc<watch::Sender<NetworkState>>,
    publish_at: Option<Instant>,
    stopped: CancellationToken,
}

/// The ends of the channels that the task holds.
pub(crate) struct Channels {
    pub(crate) commands: mpsc::Receiver<Command>,
    pub(crate) events: broadcast::Sender<NetworkEvent>,
    pub(crate) nearby: watch::Sender<BTreeSet<PeerId>>,
    pub(crate) published: Arc<watch::Sender<NetworkState>>,
    pub(crate) started: Reply<(), NetworkError>,
    pub(crate) stopped: CancellationToken,
}

impl Driver {
    pub(crate) fn new(
        mut swarm: Swarm<Behaviour>,
        config: NetworkConfig,
        traffic: Traffic,
        channels: Channels,
    ) -> Result<Self, NetworkError> {
        let now = Instant::now();
        let mut starting = HashMap::new();
        for address in &config.listen {
            let id = swarm
                .listen_on(address.clone())
                .map_err(|e| NetworkError::Listen {
                    address: address.clone(),
                    reason: e.to_string(),
                })?;
            starting.insert(id, address.clone());
        }
        for address in config.external {
            swarm.add_external_address(address);
        }
        let http = config.http.and_then(|http| http.address);
        let (http_here, http_outside) = match http {
            Some(address) if is_loopback(&address) => (Some(address), None),
            outside => (None, outside),
        };
        if let Some(address) = http_outside {
            swarm.add_external_address(address);
        }
        let streams = swarm.behaviour().streams.registry();
        let mut relays = KnownPeers::new(Backoff::default());
        for address in config.relays {
            if let Some(peer) = peer_of(&address) {
                let addresses = vec![address];
                relays.insert(KnownPeer { peer, addresses }, false, now);
            }
        }
        let (verdict_sender, verdicts) = mpsc::unbounded_channel();
        let mut driver = Self {
            swarm,
            commands: channels.commands,
            verdicts,
            verdict_sender,
            table: Table::new(traffic, config.limits.gossip_rate),
            limits: config.limits,
            streams,
            known: KnownPeers::new(Backoff::default()),
            relays,
            relay_listeners: HashMap::new(),
            starting,
            http_here,
            started: Some(channels.started),
            dials: HashMap::new(),
            queries: Queries::default(),
            topics: HashMap::new(),
            nat: NatStatus::default(),
            gossip_dropped: 0,
            events: channels.events,
            nearby: channels.nearby,
            published: channels.published,
            publish_at: Some(now),
            stopped: channels.stopped,
        };
        for peer in config.peers {
            driver.add_known(peer);
        }
        driver.report_start();
        Ok(driver)
    }

    pub(crate) async fn run(mut self) {
        let _stopped = self.stopped.clone().drop_guard();
        let mut refresh = tokio::time::interval(REFRESH);
        refresh.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
        loop {
            let now = Instant::now();
            self.dial_due(now);
            self.publish_due(now);
            let wake = self.next_wake(now);
            tokio::select! {
                event = self.swarm.select_next_some() => self.on_swarm_event(event),
                command = self.commands.recv() => match command {
                    None | Some(Command::Shutdown) => break,
                    Some(command) => self.on_command(command),
                },
                Some(given) = self.verdicts.recv() => self.on_verdict(&given),
                () = tokio::time::sleep(wake) => {}
                _ = refresh.tick() => {
                    if self.published.receiver_count() > 0 {
                        self.changed();
                    }
                }
            }
        }
        self.say_goodbye().await;
    }

    async fn say_goodbye(&mut self) {
        let peers: Vec<PeerId> = self.swarm.connected_peers().copied().collect();
        for peer in peers {
            let _ = self.swarm.disconnect_peer_id(peer);
        }
        let gone = async {
            while self.swarm.connected_peers().next().is_some() {
                self.swarm.select_next_some().await;
            }
        };
        let _ = tokio::time::timeout(GOODBYE, gone).await;
    }

    fn next_wake(&self, now: Instant) -> Duration {
        let publish = self.publish_at.map(|at| at.saturating_duration_since(now));
        [self.known.next_due(now), self.relays.next_due(now), publish]
            .into_iter()
            .flatten()
            .min()
            .unwrap_or(REFRESH * 60)
    }

    /// The state is worth showing again.
    fn changed(&mut self) {
        self.publish_at
            .get_or_insert_with(|| Instant::now() + PUBLISH_AFTER);
    }

    fn publish_due(&mut self, now: Instant) {
        if self.publish_at.is_some_and(|at| at <= now) {
            self.publish_at = None;
            let state = self.state();
            self.published.send_replace(state);
        }
    }

    fn state(&self) -> NetworkState {
        let mut reservations: Vec<PeerId> = self
            .relay_listeners
            .values()
            .filter(|relay| self.relays.is_connected(relay))
            .copied()
            .collect();
        reservations.sort();
        NetworkState {
            peer: *self.swarm.local_peer_id(),
            listening: self
                .swarm
                .listeners()
                .chain(&self.http_here)
                .cloned()
                .collect(),
            external: self.swarm.external_addresses().cloned().collect(),
            nat: self.nat,
            reservations,
            reserved_for: self.table.reserved_for(),
            gossip_dropped: self.gossip_dropped,
            peers: self.table.states(|peer| self.known.contains(peer)),
        }
    }

    fn dial_due(&mut self, now: Instant) {
        for due in self.known.due(now) {
            let options = DialOpts::peer_id(due.peer)
                .condition(PeerCondition::DisconnectedAndNotDialing)
                .addresses(due.addresses)
                .extend_addresses_through_behaviour()
                .build();
            if let Err(error) = self.swarm.dial(options) {
                tracing::debug!(peer = %due.peer, %error, "a known peer cannot be dialed");
                if self.swarm.is_connected(&due.peer) {
                    self.known.connected(&due.peer);
                } else {
                    self.known.dial_failed(&due.peer, now, random());
                }
            }
        }
        for due in self.relays.due(now) {
            let Some(address) = due.addresses.into_iter().next() else {
                continue;
            };
            match self.swarm.listen_on(address.with(Protocol::P2pCircuit)) {
                Ok(id) => {
                    self.relay_listeners.insert(id, due.peer);
                }
                Err(error) => {
                    tracing::debug!(relay = %due.peer, %error, "no reservation");
                    self.relays.dial_failed(&due.peer, now, random());
                }
            }
        }
    }

    fn add_known(&mut self, peer: KnownPeer) {
        self.streams.keep(peer.peer);
        let connected = self.swarm.is_connected(&peer.peer);
        self.known.insert(peer, connected, Instant::now());
    }

    fn on_command(&mut self, command: Command) {
        // Who asked may have stopped waiting; then nobody hears the answer, and that is all.
        match command {
            Command::Connect {
                peer,
                addresses,
                reply,
            } => self.connect(peer, addresses, reply),
            Command::OpenStream(peer, request) => {
                self.swarm.behaviour_mut().streams.open(peer, request);
                return;
            }
            Command::Disconnect(peer, reply) => {
                let _ = reply.send(self.swarm.disconnect_peer_id(peer).is_ok());
            }
            Command::AddKnown(peer, reply) => {
                self.add_known(peer);
                let _ = reply.send(());
            }
            Command::RemoveKnown(peer, reply) => {
                self.streams.release(&peer);
                let _ = reply.send(self.known.remove(&peer));
            }
            Command::ListKnown(reply) => {
                let _ = reply.send(self.known.list());
            }
            Command::AddExternal(address, reply) => {
                self.swarm.add_external_address(address);
                let _ = reply.send(());
            }
            Command::Block(peer, on) => {
                let list = &mut self.swarm.behaviour_mut().blocked;
                if on {
                    list.block_peer(peer);
                } else {
                    list.unblock_peer(peer);
                }
            }
            Command::Allow(peer, on) => {
                if let Some(list) = self.swarm.behaviour_mut().allowed.as_mut() {
                    if on {
                        list.allow_peer(peer);
                    } else {
                        list.disallow_peer(peer);
                    }
                }
            }
            Command::Publish(topic, data, reply) => {
                let _ = reply.send(self.publish(&topic, &data));
            }
            Command::Subscribe(topic, reply) => {
                let _ = reply.send(self.subscribe(topic));
            }
            Command::Unsubscribe(topic) => self.unsubscribe(&topic),
            Command::Provide(key, reply) => {
                let table = self.swarm.behaviour_mut().kademlia.as_mut();
                self.queries.provide(table, key, reply);
            }
            Command::StopProviding(key) => {
                if let Some(table) = self.swarm.behaviour_mut().kademlia.as_mut() {
                    table.stop_providing(&key);
                }
            }
            Command::FindProviders(key, reply) => {
                let table = self.swarm.behaviour_mut().kademlia.as_mut();
                self.queries.find(table, key, reply);
            }
            Command::State(reply) => {
                let _ = reply.send(self.state());
            }
            Command::Shutdown => {}
        }
        self.changed();
    }

    fn connect(
        &mut self,
        peer: Option<PeerId>,
        addresses: Vec<Multiaddr>,
        reply: Reply<PeerId, ConnectError>,
    ) {
        if let Some(peer) = peer.filter(|peer| self.swarm.is_connected(peer)) {
            let _ = reply.send(Ok(peer));
            return;
        }
        let options = match (peer, addresses.first()) {
            (Some(peer), _) => DialOpts::peer_id(peer)
                .condition(PeerCondition::Disconnected)
                .addresses(addresses)
                .extend_addresses_through_behaviour()
                .build(),
            (None, Some(address)) => DialOpts::unknown_peer_id().address(address.clone()).build(),
            (None, None) => {
                let _ = reply.send(Err(ConnectError::Unreachable("no address".into())));
                return;
            }
        };
        let id = options.connection_id();
        match self.swarm.dial(options) {
            Ok(()) => {
                self.dials.insert(id, reply);
            }
            Err(error) => {
                let _ = reply.send(Err(connect_error(peer, &error)));
            }
        }
    }

    fn publish(&mut self, topic: &str, data: &Bytes) -> Result<(), TopicError> {
        let limit = self.limits.gossip_bytes;
        if data.len() > limit {
            let found = data.len();
            return Err(TopicError::TooLong { limit, found });
        }
        let topic = IdentTopic::new(topic);
        let gossip = &mut self.swarm.behaviour_mut().gossip;
        match gossip.publish(topic.hash(), data.to_vec()) {
            Ok(_) => Ok(()),
            Err(PublishError::NoPeersSubscribedToTopic) => Err(TopicError::NoPeers),
            Err(error) => Err(TopicError::Refused(error.to_string())),
        }
    }

    fn subscribe(&mut self, name: String) -> Result<mpsc::Receiver<GossipMessage>, TopicError> {
        let topic = IdentTopic::new(name.clone());
        let hash = topic.hash();
        if self.topics.get(&hash).is_some_and(|s| !s.is_closed()) {
            return Err(TopicError::AlreadySubscribed(name));
        }
        let gossip = &mut self.swarm.behaviour_mut().gossip;
        gossip
            .set_topic_params(topic.clone(), topic_scores())
            .map_err(|e| TopicError::Refused(e.into()))?;
        gossip
            .subscribe(&topic)
            .map_err(|e| TopicError::Refused(e.to_string()))?;
        let (sender, messages) = mpsc::channel(self.limits.gossip_waiting.max(1));
        self.topics.insert(hash, sender);
        Ok(messages)
    }

    /// The subscriber is gone, unless another came in the meantime.
    fn unsubscribe(&mut self, topic: &TopicHash) {
        if self.topics.get(topic).is_some_and(mpsc::Sender::is_closed) {
            self.topics.remove(topic);
            // the hash of these topics is their name
            let topic = IdentTopic::new(topic.as_str());
            self.swarm.behaviour_mut().gossip.unsubscribe(&topic);
        }
    }

    fn on_verdict(&mut self, given: &GivenVerdict) {
        let gossip = &mut self.swarm.behaviour_mut().gossip;
        gossip.report_message_validation_result(&given.id, &given.from, given.verdict.into());
    }
}

fn connect_error(peer: Option<PeerId>, error: &DialError) -> ConnectError {
    match (error, peer) {
        (DialError::NoAddresses, Some(peer)) => ConnectError::NoAddress(peer),
        (DialError::WrongPeerId { obtained, .. }, Some(expected)) => ConnectError::WrongPeer {
            expected,
            found: *obtained,
        },
        (DialError::Denied { cause }, _) => ConnectError::Refused(cause.to_string()),
        (other, _) => ConnectError::Unreachable(other.to_string()),
    }
}

/// Chance for backoffs, where its quality does not matter.
fn random() -> u64 {
    getrandom::u64().unwrap_or_default()
}
