//! Opens and accepts the sessions of all repositories.

use std::collections::HashMap;
use std::collections::hash_map::Entry;
use std::sync::Arc;
use std::time::Duration;

use libp2p::{PeerId, Stream};
use parking_lot::Mutex;
use tokio::sync::{Notify, watch};
use tokio::time::timeout;
use ues_repo::crypto::VerifyingKey;
use ues_repo::syntax::Did;
use ues_sync::protocol::{MAX_FRAME_BYTES, Session};
use ues_sync::store::Replicas;

use super::PROTOCOL;
use super::session::{AbortOnDrop, Ended, Ends};
use super::status::{Board, OpenSession, PeerStatus};
use crate::error::OpenStreamError;
use crate::network::{Network, NetworkEvent};
use crate::{framing, identity};

/// How long a peer that opened a session may take to say which one.
const HELLO_WITHIN: Duration = Duration::from_secs(10);
/// After how long a session that ended is opened again, while the peer stays connected.
const AGAIN_AFTER: Duration = Duration::from_secs(2);

/// How often it is looked whether a session is missing.
const LOOK_EVERY: Duration = Duration::from_secs(10);

/// Why a repository did not come over.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum JoinError {
    /// The peer cannot be reached.
    #[error(transparent)]
    Open(#[from] OpenStreamError),
    /// The session ended before all was here.
    #[error("{0}")]
    Ended(String),
}

/// The sync of a node. Cheap to clone; it ends with the last clone.
#[derive(Clone)]
pub struct SyncService(Arc<Inner>);

struct Inner {
    work: Work,
    _tasks: Vec<AbortOnDrop>,
}

/// What tells each session that it should move.
type OpenSessions = HashMap<(Did, PeerId), Arc<Notify>>;

#[derive(Clone)]
struct Work {
    network: Network,
    replicas: Replicas,
    board: Board,
    /// Sessions that are open, so that none is opened twice, and how to have them open again on a better connection.
    open: Arc<Mutex<OpenSessions>>,
}

impl SyncService {
    /// Starts it: sessions are accepted, and opened with each device that is connected.
    ///
    /// # Errors
    /// When somebody accepts the protocol already.
    pub fn start(network: Network, replicas: Replicas) -> Result<Self, OpenStreamError> {
        let mut incoming = network.accept_streams(PROTOCOL)?;
        let work = Work {
            network,
            replicas,
            board: Board::default(),
            open: Arc::default(),
        };
        let accepting = work.clone();
        let accept = tokio::spawn(async move {
            while let Some((peer, stream)) = incoming.next().await {
                let work = accepting.clone();
                tokio::spawn(async move { work.accept(peer, stream).await });
            }
        });
        let connecting = work.clone();
        let connect = tokio::spawn(async move { connecting.connect().await });
        Ok(Self(Arc::new(Inner {
            work,
            _tasks: vec![AbortOnDrop(accept), AbortOnDrop(connect)],
        })))
    }

    /// How each session stands.
    pub fn status(&self) -> Vec<PeerStatus> {
        self.0.work.board.list()
    }

    /// Hears of each change of the status.
    pub fn watch(&self) -> watch::Receiver<u64> {
        self.0.work.board.watch()
    }

    /// Fetches a repository that this device was granted, and has made an empty one for. `root` is the repository's key.
    ///
    /// # Errors
    /// [`JoinError`]; it can be tried again.
    pub async fn fetch(
        &self,
        did: &Did,
        peer: PeerId,
        root: &VerifyingKey,
    ) -> Result<(), JoinError> {
        let work = &self.0.work;
        let stream = work.network.open_stream(peer, PROTOCOL).await?;
        let ends = work.ends(did.clone(), peer, Some(root.clone()));
        let session = work.board.begin(did, peer);
        let outcome = ends.run(Session::open(), stream, None, true).await;
        Work::ended(session, did, peer, &outcome);
        work.try_open(peer);
        outcome.map_err(|ended| JoinError::Ended(ended.to_string()))
    }
}

impl Work {
    fn ends(&self, did: Did, peer: PeerId, root: Option<VerifyingKey>) -> Ends {
        Ends {
            replicas: self.replicas.clone(),
            board: self.board.clone(),
            did,
            peer,
            root,
        }
    }

    /// Sees to it that sessions are open with all that are connected.
    async fn connect(self) {
        let mut events = self.network.events();
        let mut repos = self.replicas.watch_list();
        // Who was connected before anybody listened has no event any more; and what went wrong once is tried again.
        let mut again = tokio::time::interval(LOOK_EVERY);
        loop {
            tokio::select! {
                _ = again.tick() => self.try_all().await,
                event = events.recv() => match event {
                    Ok(NetworkEvent::PeerConnected(peer) | NetworkEvent::PeerIdentified(peer)) => {
                        self.try_open(peer);
                    }
                    Ok(NetworkEvent::PeerDirect(peer)) => self.move_sessions(peer),
                    Ok(_) => {}
                    Err(tokio::sync::broadcast::error::RecvError::Lagged(_)) => self.try_all().await,
                    Err(tokio::sync::broadcast::error::RecvError::Closed) => return,
                },
                changed = repos.changed() => match changed {
                    Ok(()) => self.try_all().await,
                    Err(_) => return,
                },
            }
        }
    }

    async fn try_all(&self) {
        let Some(state) = self.network.state().await else {
            return;
        };
        for peer in state.peers {
            if let Ok(peer) = peer.peer.to_string().parse() {
                self.try_open(peer);
            }
        }
    }

    /// Opens what this side has to open: of two devices, the one with the smaller name does.
    fn try_open(&self, peer: PeerId) {
        if self.network.peer_id() >= peer {
            return;
        }
        let Some(key) = identity::key_of(&peer) else {
            return;
        };
        for did in self.replicas.list() {
            if self.replicas.may_sync(&did, &key.did_key()) {
                let work = self.clone();
                tokio::spawn(async move { work.open(did, peer).await });
            }
        }
    }

    /// Has the sessions with a peer that this side opened leave the relay.
    fn move_sessions(&self, peer: PeerId) {
        for ((_, with), moved) in self.open.lock().iter() {
            if *with == peer {
                moved.notify_one();
            }
        }
    }

    /// Keeps a session open for as long as the peer is connected.
    async fn open(&self, did: Did, peer: PeerId) {
        let moved = match self.open.lock().entry((did.clone(), peer)) {
            Entry::Occupied(_) => return,
            Entry::Vacant(entry) => Arc::clone(entry.insert(Arc::default())),
        };
        let key = identity::key_of(&peer).map_or_else(String::new, |key| key.did_key());
        while self.replicas.may_sync(&did, &key) {
            let stream = match self.network.open_stream(peer, PROTOCOL).await {
                Ok(stream) => stream,
                Err(e) => {
                    tracing::debug!(%did, %peer, error = %e, "no session can be opened");
                    break;
                }
            };
            let ends = self.ends(did.clone(), peer, None);
            let session = self.board.begin(&did, peer);
            tokio::select! {
                outcome = ends.run(Session::open(), stream, None, false) => {
                    Self::ended(session, &did, peer, &outcome);
                }
                () = moved.notified() => {
                    tracing::debug!(%did, %peer, "the session leaves the relay");
                    continue;
                }
            }
            tokio::time::sleep(AGAIN_AFTER).await;
        }
        self.open.lock().remove(&(did, peer));
    }

    async fn accept(&self, peer: PeerId, mut stream: Stream) {
        let hello = timeout(HELLO_WITHIN, framing::read(&mut stream, MAX_FRAME_BYTES)).await;
        let Ok(Ok(Some(hello))) = hello else {
            return;
        };
        let did = Session::asked_for(hello.clone())
            .ok()
            .and_then(|did| Did::parse(&did).ok());
        let key = identity::key_of(&peer).map_or_else(String::new, |key| key.did_key());
        // Whoever may not sync does not learn which repositories are here.
        let Some(did) = did.filter(|did| self.replicas.may_sync(did, &key)) else {
            let reason = Session::refusal("this device does not share that repository with you");
            let _ = timeout(HELLO_WITHIN, framing::write(&mut stream, &reason)).await;
            return;
        };
        let session = self.board.begin(&did, peer);
        let ends = self.ends(did.clone(), peer, None);
        let outcome = ends
            .run(Session::accept(), stream, Some(hello), false)
            .await;
        Self::ended(session, &did, peer, &outcome);
        // A device that has fetched the repository ends its session: the next one is ours to open, perhaps.
        self.try_open(peer);
    }

    /// Tells that a session is over.
    fn ended(session: OpenSession, did: &Did, peer: PeerId, outcome: &Result<(), Ended>) {
        if let Err(ended) = outcome {
            tracing::debug!(%did, %peer, reason = %ended, "a sync session ended");
        }
        session.end(outcome.as_ref().err().map(ToString::to_string));
    }
}
