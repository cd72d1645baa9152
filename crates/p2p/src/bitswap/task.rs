//! The task that moves messages between the machines and the streams.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::{Duration, Instant};

use bytes::Bytes;
use libp2p::{PeerId, Stream};
use tokio::sync::{Semaphore, broadcast, mpsc, oneshot};
use tokio::task::JoinSet;
use ues_data::Cid;

use super::client::{Arrival, Client, FetchError, SessionId};
use super::message::{Message, Presence, Want};
use super::serve::{Served, serve};
use super::server::{Balance, Server};
use super::wire::{Mailbox, Outlet, Put, ReadError, Room, SendError, read_message, send_all};
use super::{BitswapLimits, BitswapStats, BlockSource};
use crate::network::{Network, NetworkEvent};
use crate::streams::IncomingStreams;

/// What the handles ask of the task.
#[derive(Debug)]
pub(super) enum Command {
    Get {
        session: SessionId,
        cid: Cid,
        peers: Vec<PeerId>,
        reply: oneshot::Sender<Result<Bytes, FetchError>>,
    },
    AddPeer(SessionId, PeerId),
    Added(Vec<Cid>),
    Stats(oneshot::Sender<BitswapStats>),
    Balance(PeerId, oneshot::Sender<Balance>),
}

/// Messages that were read and wait for the task.
const WAITING_MESSAGES: usize = 8;
/// How often it is looked whether callers still wait.
const SWEEP: Duration = Duration::from_secs(1);
/// How often it is looked whether those who are remembered are connected.
const FORGET_ABSENT: Duration = Duration::from_secs(60);

type Waiter = oneshot::Sender<Result<Bytes, FetchError>>;

#[derive(Debug)]
enum Heard {
    Message(PeerId, Message),
    /// A stream to us ended.
    Ended(PeerId, Option<ReadError>),
}

/// The streams of a peer to us.
#[derive(Debug)]
struct Readers {
    open: usize,
    room: Arc<Semaphore>,
}

#[derive(Debug)]
pub(super) struct Task {
    network: Network,
    source: SharedSource,
    limits: BitswapLimits,
    commands: mpsc::Receiver<Command>,
    client: Client,
    server: Server,
    waiters: HashMap<(SessionId, Cid), Vec<Waiter>>,
    mailboxes: HashMap<PeerId, Arc<Mailbox>>,
    writing: JoinSet<(PeerId, Result<(), SendError>)>,
    /// Streams for answers that are not in use, and since when.
    outlets: HashMap<PeerId, (Outlet, Instant)>,
    serving: JoinSet<Served>,
    readers: HashMap<PeerId, Readers>,
    room: Arc<Semaphore>,
    stats: BitswapStats,
}

struct SharedSource(Arc<dyn BlockSource>);

impl std::fmt::Debug for SharedSource {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("BlockSource")
    }
}

impl Task {
    pub(super) fn new(
        network: Network,
        source: Arc<dyn BlockSource>,
        limits: BitswapLimits,
        commands: mpsc::Receiver<Command>,
    ) -> Self {
        let [all, _] = limits.reading_bytes;
        Self {
            network,
            source: SharedSource(source),
            limits,
            commands,
            client: Client::new(limits.client),
            server: Server::new(limits.wants_per_peer),
            waiters: HashMap::new(),
            mailboxes: HashMap::new(),
            writing: JoinSet::new(),
            outlets: HashMap::new(),
            serving: JoinSet::new(),
            readers: HashMap::new(),
            room: Room::semaphore(all),
            stats: BitswapStats::default(),
        }
    }

    pub(super) async fn run(mut self, [mut streams, mut old_streams]: [IncomingStreams; 2]) {
        let (sender, mut heard) = mpsc::channel(WAITING_MESSAGES);
        let mut reading = JoinSet::new();
        let mut events = self.network.events();
        let mut sweep = tokio::time::interval(SWEEP);
        sweep.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
        let mut absent = tokio::time::interval(FORGET_ABSENT);
        absent.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
        let stopped = self.network.stopped();
        loop {
            self.flush();
            let tick = self.client.next_tick();
            let tick = tick.map_or_else(|| Instant::now() + SWEEP, Instant::from);
            tokio::select! {
                () = stopped.cancelled() => break,
                command = self.commands.recv() => match command {
                    Some(command) => self.on_command(command),
                    None => break,
                },
                Some((peer, stream)) = streams.next() => {
                    self.read(peer, stream, &sender, &mut reading);
                }
                Some((peer, stream)) = old_streams.next() => {
                    self.read(peer, stream, &sender, &mut reading);
                }
                Some(heard) = heard.recv() => self.on_heard(heard),
                Some(_) = reading.join_next() => {}
                Some(Ok(served)) = self.serving.join_next() => self.on_served(served),
                Some(Ok((peer, sent))) = self.writing.join_next() => self.on_written(peer, sent),
                event = events.recv() => self.on_event(event).await,
                () = tokio::time::sleep_until(tick.into()) => self.client.tick(Instant::now()),
                _ = sweep.tick() => self.sweep(),
                _ = absent.tick() => self.forget_absent().await,
            }
        }
    }

    fn on_command(&mut self, command: Command) {
        let now = Instant::now();
        match command {
            Command::Get {
                session,
                cid,
                peers,
                reply,
            } => {
                self.waiters.entry((session, cid)).or_default().push(reply);
                self.client.want(session, cid, &peers, now);
            }
            Command::AddPeer(session, peer) => self.client.add_peer(session, peer, now),
            Command::Added(cids) => {
                for cid in cids {
                    self.server.block_added(&cid);
                }
            }
            // Who asked may have stopped waiting.
            Command::Stats(reply) => {
                let _ = reply.send(BitswapStats {
                    wanted: self.client.wanted() as u64,
                    ..self.stats
                });
            }
            Command::Balance(peer, reply) => {
                let _ = reply.send(self.server.balance(&peer));
            }
        }
    }

    /// Reads a stream in a task of its own.
    fn read(
        &mut self,
        peer: PeerId,
        mut stream: Stream,
        sender: &mpsc::Sender<Heard>,
        reading: &mut JoinSet<()>,
    ) {
        let limits = self.limits;
        let [_, of_peer] = limits.reading_bytes;
        let readers = self.readers.entry(peer).or_insert_with(|| Readers {
            open: 0,
            room: Room::semaphore(of_peer),
        });
        if readers.open >= limits.streams_per_peer {
            tracing::debug!(%peer, "too many Bitswap streams, one is reset");
            return;
        }
        readers.open += 1;
        let room = Room([Arc::clone(&self.room), Arc::clone(&readers.room)]);
        let sender = sender.clone();
        reading.spawn(async move {
            let ended = loop {
                match read_message(&mut stream, &room, &limits).await {
                    Ok(Some(message)) => {
                        if sender.send(Heard::Message(peer, message)).await.is_err() {
                            return;
                        }
                    }
                    Ok(None) => break None,
                    Err(error) => break Some(error),
                }
            };
            let _ = sender.send(Heard::Ended(peer, ended)).await;
        });
    }

    fn on_heard(&mut self, heard: Heard) {
        match heard {
            Heard::Message(peer, message) => self.on_message(peer, message),
            Heard::Ended(peer, error) => {
                if let Some(error) = error {
                    tracing::debug!(%peer, %error, "a Bitswap stream ended");
                    if matches!(error, ReadError::Message(_)) {
                        self.stats.bad_messages += 1;
                    }
                }
                if let Some(readers) = self.readers.get_mut(&peer) {
                    readers.open -= 1;
                    if readers.open == 0 {
                        self.readers.remove(&peer);
                    }
                }
            }
        }
    }

    fn on_message(&mut self, peer: PeerId, message: Message) {
        let now = Instant::now();
        for (cid, data) in message.blocks {
            let bytes = data.len() as u64;
            match self.client.block(peer, cid, data, now) {
                Arrival::Wanted => {
                    self.stats.blocks_received += 1;
                    self.stats.bytes_received += bytes;
                    self.server.received(peer, bytes);
                }
                Arrival::Late => self.stats.late += 1,
                Arrival::Unwanted => self.stats.unwanted += 1,
            }
        }
        for presence in &message.presences {
            self.client.presence(peer, presence, now);
        }
        if message.wants.is_empty() && !message.full {
            return;
        }
        let refused = self.server.wantlist(peer, message.wants, message.full);
        self.stats.refused_wants += refused.len() as u64;
        let presences: Vec<Presence> = refused
            .iter()
            .filter(|want| want.send_dont_have)
            .map(|want| Presence {
                cid: want.cid,
                have: false,
            })
            .collect();
        if !presences.is_empty() {
            // Without room for even this, the peer learns it from our silence.
            self.say(peer, &[], &presences);
        }
    }

    /// Carries out what the machines decided.
    fn flush(&mut self) {
        for (peer, wants) in self.client.take_outgoing() {
            self.say_wants(peer, &wants);
        }
        for done in self.client.take_done() {
            for session in done.sessions {
                let waiters = self.waiters.remove(&(session, done.cid));
                for waiter in waiters.unwrap_or_default() {
                    let _ = waiter.send(done.result.clone());
                }
            }
        }
        while self.serving.len() < self.limits.serving
            && let Some(work) = self.server.next_work()
        {
            let outlet = self.outlets.remove(&work.peer);
            let outlet = outlet.map(|(outlet, _)| outlet).unwrap_or_default();
            let source = Arc::clone(&self.source.0);
            let (network, limits) = (self.network.clone(), self.limits);
            self.serving
                .spawn(serve(network, source, limits, work, outlet));
        }
    }

    fn say_wants(&mut self, peer: PeerId, wants: &[Want]) {
        if !self.say(peer, wants, &[]) {
            tracing::debug!(%peer, "it does not read what we want");
            self.client.gone(&peer, Instant::now());
        }
    }

    /// Puts something into the mailbox of a peer; false if it is full.
    fn say(&mut self, peer: PeerId, wants: &[Want], presences: &[Presence]) -> bool {
        if let Some(mailbox) = self.mailboxes.get(&peer) {
            match mailbox.put(wants, presences) {
                Put::Done => return true,
                Put::Full => return false,
                Put::Closed => {}
            }
        }
        let mailbox = Arc::<Mailbox>::default();
        let put = mailbox.put(wants, presences);
        self.mailboxes.insert(peer, Arc::clone(&mailbox));
        let sending = send_all(self.network.clone(), peer, mailbox, self.limits);
        self.writing.spawn(async move { (peer, sending.await) });
        put == Put::Done
    }

    fn on_written(&mut self, peer: PeerId, sent: Result<(), SendError>) {
        if self.mailboxes.get(&peer).is_some_and(|m| m.is_closed()) {
            self.mailboxes.remove(&peer);
        }
        if let Err(error) = sent {
            tracing::debug!(%peer, %error, "a message was not sent");
            self.client.gone(&peer, Instant::now());
        }
    }

    fn on_served(&mut self, served: Served) {
        self.stats.blocks_sent += served.blocks;
        self.stats.bytes_sent += served.bytes;
        match served.outlet {
            Some(outlet) => {
                if self.server.knows(&served.peer) {
                    self.outlets.insert(served.peer, (outlet, Instant::now()));
                }
                self.server
                    .work_done(served.peer, served.wants, served.bytes, served.outcome);
            }
            None => self.server.gone(&served.peer),
        }
    }

    async fn on_event(&mut self, event: Result<NetworkEvent, broadcast::error::RecvError>) {
        match event {
            Ok(NetworkEvent::PeerDisconnected(peer)) => self.disconnected(&peer),
            Ok(_) | Err(broadcast::error::RecvError::Closed) => {}
            Err(broadcast::error::RecvError::Lagged(_)) => self.forget_absent().await,
        }
    }

    /// Forgets the peers that are not connected, should something have come from them after they went.
    async fn forget_absent(&mut self) {
        let Some(state) = self.network.state().await else {
            return;
        };
        let here = |peer: &PeerId| state.peers.iter().any(|p| p.peer == *peer);
        for peer in self.server.peers() {
            if !here(&peer) {
                self.disconnected(&peer);
            }
        }
    }

    fn disconnected(&mut self, peer: &PeerId) {
        self.server.gone(peer);
        self.outlets.remove(peer);
        self.client.gone(peer, Instant::now());
    }

    /// Takes back what nobody waits for any more, and closes streams that were not used for a while: an open stream
    /// keeps its connection.
    fn sweep(&mut self) {
        let now = Instant::now();
        let idle = self.limits.idle;
        self.outlets
            .retain(|_, (_, since)| now.duration_since(*since) < idle);
        let Self {
            waiters, client, ..
        } = self;
        waiters.retain(|(session, cid), waiting| {
            waiting.retain(|waiter| !waiter.is_closed());
            if waiting.is_empty() {
                client.cancel(*session, *cid, now);
            }
            !waiting.is_empty()
        });
    }
}
