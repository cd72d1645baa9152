//! Serves blobs to other devices, and fetches those that are missing here.

use std::collections::{HashMap, HashSet};
use std::sync::Arc;
use std::time::{Duration, Instant};

use futures::StreamExt;
use libp2p::{PeerId, Stream};
use parking_lot::Mutex;
use tokio::sync::Semaphore;
use tokio::sync::broadcast::error::RecvError;
use tokio::task::JoinSet;
use tokio::time::sleep;
use ues_data::Cid;
use ues_repo::repo::{RepoError, Repositories};
use ues_repo::syntax::Did;
use ues_sync::store::Replicas;

use super::PROTOCOL;
use super::fetch::{FetchError, Partial, Wanted, fetch};
use super::serve::{BlobReaders, Server};
use super::status::{BlobStatus, Board};
use crate::error::OpenStreamError;
use crate::identity;
use crate::network::{Network, NetworkEvent};
use crate::sync::AbortOnDrop;

/// Blobs that are fetched at a time. Each takes a few megabytes of memory.
const FETCHING: usize = 4;
/// Streams of others that may be open; more wait to be accepted.
const STREAMS: usize = 256;
/// Missing blobs that are looked up together.
const PAGE: usize = 256;
/// After a change of the repository more may follow.
const SETTLE: Duration = Duration::from_millis(100);
/// The pause before a blob that nobody had is asked for again, and the longest.
const PAUSE: [Duration; 2] = [Duration::from_secs(2), Duration::from_secs(300)];
/// A stream that was not used for so long is not used again: the other may have closed it.
const STALE: Duration = Duration::from_secs(20);
/// Blobs of which a part is kept while nobody gives the rest.
const PARTIALS: usize = 8;
/// Blobs and devices that are remembered for what they failed in.
const REMEMBERED: usize = 65_536;

/// Which blobs are fetched.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum BlobMode {
    /// All that records refer to.
    All,
    /// Those that somebody asks for.
    Demand,
    /// None.
    None,
}

/// How a service works.
#[derive(Clone, Copy, Debug)]
pub struct BlobOptions {
    /// Which blobs are fetched.
    pub mode: BlobMode,
    /// The largest blob that is taken, in bytes.
    pub max_bytes: u64,
}

/// Only the devices that may write to a repository.
struct Devices(Replicas);

impl BlobReaders for Devices {
    fn open(&self, peer: &PeerId, repo: &Did, _: &Cid) -> Option<Repositories> {
        let key = identity::key_of(peer)?.did_key();
        let shares = self.0.may_sync(repo, &key);
        shares.then(|| self.0.repos().clone())
    }
}

/// Fetches a blob into a repository from a peer, which need not be a device that holds it; whether the peer had it.
///
/// # Errors
/// When the peer breaks off, or gives what it was not asked for.
pub async fn fetch_blob(
    network: &Network,
    peer: PeerId,
    repos: &Repositories,
    did: &Did,
    cid: &Cid,
    max: u64,
) -> Result<bool, FetchError> {
    let mut stream = network.open_stream(peer, PROTOCOL).await?;
    let wanted = Wanted {
        repos,
        did,
        cid,
        max,
    };
    let mut partial = None;
    let outcome = fetch(wanted, peer, &mut stream, &mut partial).await;
    if let Some(partial) = partial {
        partial.discard();
    }
    Ok(outcome?.is_some())
}

/// The blobs of a node's shared repositories. Cheap to clone; it ends with the last clone.
#[derive(Clone)]
pub struct BlobService(Arc<Inner>);

struct Inner {
    work: Work,
    _tasks: Vec<AbortOnDrop>,
}

type Key = (Did, Cid);
/// Who did not have a blob, and when they were asked.
type InVain = HashMap<Key, (Vec<PeerId>, Instant)>;

/// Streams that are not in use, and since when.
type Idle = HashMap<PeerId, Vec<(Stream, Instant)>>;

#[derive(Clone)]
struct Work {
    network: Network,
    replicas: Replicas,
    options: BlobOptions,
    board: Board,
    room: Arc<Semaphore>,
    streams: Arc<Mutex<Idle>>,
    partials: Arc<Mutex<HashMap<Key, Partial>>>,
    /// Who works on what, so that nothing is fetched twice at a time.
    locks: Arc<Mutex<HashMap<Key, Arc<tokio::sync::Mutex<()>>>>>,
    /// Devices that gave other bytes than they were asked for.
    wrong: Arc<Mutex<HashSet<(PeerId, Cid)>>>,
    /// What was asked for in vain, of whom and when: not everybody who wants it makes us ask them again.
    in_vain: Arc<Mutex<InVain>>,
}

/// When a blob that nobody had is asked for again.
struct Later {
    at: Instant,
    pause: Duration,
}

impl BlobService {
    /// Starts it.
    ///
    /// # Errors
    /// When somebody accepts the protocol already.
    pub fn start(
        network: Network,
        replicas: Replicas,
        options: BlobOptions,
    ) -> Result<Self, OpenStreamError> {
        let readers = Arc::new(Devices(replicas.clone()));
        Self::start_for(network, replicas, options, readers)
    }

    /// The same, where others than the devices may have blobs too.
    ///
    /// # Errors
    /// When somebody accepts the protocol already.
    pub fn start_for(
        network: Network,
        replicas: Replicas,
        options: BlobOptions,
        readers: Arc<dyn BlobReaders>,
    ) -> Result<Self, OpenStreamError> {
        let mut incoming = network.accept_streams(PROTOCOL)?;
        let work = Work {
            network,
            replicas,
            options,
            board: Board::default(),
            room: Arc::new(Semaphore::new(FETCHING)),
            streams: Arc::default(),
            partials: Arc::default(),
            locks: Arc::default(),
            wrong: Arc::default(),
            in_vain: Arc::default(),
        };
        let accept = tokio::spawn(async move {
            let server = Server::new(readers);
            let streams = Arc::new(Semaphore::new(STREAMS));
            while let Some((peer, stream)) = incoming.next().await {
                let Ok(permit) = Arc::clone(&streams).acquire_owned().await else {
                    return;
                };
                let server = server.clone();
                tokio::spawn(async move {
                    if let Err(error) = server.answer(peer, stream).await {
                        tracing::debug!(%peer, %error, "a stream of blobs ended");
                    }
                    drop(permit);
                });
            }
        });
        let mut tasks = vec![AbortOnDrop(accept)];
        if options.mode == BlobMode::All {
            let following = work.clone();
            tasks.push(AbortOnDrop(tokio::spawn(following.follow_all())));
        }
        Ok(Self(Arc::new(Inner {
            work,
            _tasks: tasks,
        })))
    }

    /// Fetches a blob that somebody waits for; whether it is here now.
    ///
    /// # Errors
    /// Why it did not come, if a device has it or may have it.
    pub async fn bring(&self, did: &Did, cid: &Cid) -> Result<bool, FetchError> {
        let work = &self.0.work;
        if work.options.mode == BlobMode::None {
            return Ok(false);
        }
        let key = (did.clone(), *cid);
        let peers = work.peers(did).await;
        let recent = |since: &Instant| since.elapsed() < PAUSE[0];
        let asked = |(of, since): &(Vec<PeerId>, Instant)| *of == peers && recent(since);
        if peers.is_empty() || work.in_vain.lock().get(&key).is_some_and(asked) {
            return Ok(false);
        }
        let outcome = work.fetch(did, cid).await;
        let mut in_vain = work.in_vain.lock();
        in_vain.retain(|_, (_, since)| recent(since));
        if matches!(outcome, Ok(false)) && in_vain.len() < REMEMBERED {
            in_vain.insert(key, (peers, Instant::now()));
        }
        outcome
    }

    /// How far the blobs of a repository are. Blocks on the disk.
    ///
    /// # Errors
    /// When the repository cannot be read.
    pub fn status(&self, did: &Did) -> Result<BlobStatus, RepoError> {
        let work = &self.0.work;
        let board = work.board.get(did);
        let missing = work.replicas.repos().count_missing_blobs(did)?;
        Ok(BlobStatus {
            repo: did.to_string(),
            missing,
            trouble: board.trouble.filter(|_| missing > 0),
            ..board
        })
    }
}

impl Work {
    /// Sees to it that the blobs of every shared repository come.
    async fn follow_all(self) {
        let mut list = self.replicas.watch_list();
        let mut followed = HashSet::new();
        let mut following = JoinSet::new();
        loop {
            for did in self.replicas.list() {
                if followed.insert(did.clone()) {
                    following.spawn(self.clone().follow(did));
                }
            }
            if list.changed().await.is_err() {
                return;
            }
        }
    }

    async fn follow(self, did: Did) {
        let Some(mut changes) = self.replicas.watch(&did) else {
            return;
        };
        let mut events = self.network.events();
        let mut later = HashMap::new();
        loop {
            let again = self.round(&did, &mut later).await;
            let again = again.unwrap_or_else(|| Instant::now() + PAUSE[1]);
            loop {
                tokio::select! {
                    changed = changes.changed() => {
                        if changed.is_err() {
                            return;
                        }
                        sleep(SETTLE).await;
                    }
                    event = events.recv() => match event {
                        Ok(NetworkEvent::PeerIdentified(peer)) if self.shares(&did, &peer) => later.clear(),
                        Err(RecvError::Lagged(_)) => later.clear(),
                        Err(RecvError::Closed) => return,
                        Ok(_) => continue,
                    },
                    () = tokio::time::sleep_until(again.into()) => {}
                }
                break;
            }
        }
    }

    /// Asks for everything that is missing and due; when something is due again.
    async fn round(&self, did: &Did, later: &mut HashMap<Cid, Later>) -> Option<Instant> {
        let mut after = None;
        let mut earliest: Option<Instant> = None;
        loop {
            let (repos, of, from) = (self.replicas.repos().clone(), did.clone(), after);
            let page =
                tokio::task::spawn_blocking(move || repos.missing_blobs(&of, from.as_ref(), PAGE));
            let page = match page.await {
                Ok(Ok(page)) => page,
                Ok(Err(error)) => {
                    tracing::warn!(%did, %error, "which blobs are missing cannot be told");
                    return None;
                }
                Err(_) => return None,
            };
            let Some((last, _)) = page.last() else {
                break;
            };
            after = Some(*last);
            if self.peers(did).await.is_empty() {
                return None;
            }
            let now = Instant::now();
            let due: Vec<Cid> = page
                .iter()
                .map(|(cid, _)| *cid)
                .filter(|cid| later.get(cid).is_none_or(|later| later.at <= now))
                .collect();
            let fetched = futures::stream::iter(due)
                .map(|cid| async move { (cid, self.fetch(did, &cid).await) })
                .buffer_unordered(FETCHING);
            let mut fetched = std::pin::pin!(fetched);
            while let Some((cid, outcome)) = fetched.next().await {
                if matches!(outcome, Ok(true)) {
                    later.remove(&cid);
                } else if later.len() < REMEMBERED {
                    let pause = later.get(&cid).map_or(PAUSE[0], |later| 2 * later.pause);
                    let pause = pause.min(PAUSE[1]);
                    let at = Instant::now() + pause;
                    later.insert(cid, Later { at, pause });
                }
            }
            let waiting = page.iter().filter_map(|(cid, _)| later.get(cid));
            earliest = waiting.map(|later| later.at).chain(earliest).min();
        }
        earliest
    }

    /// Fetches a blob from whoever of the connected devices has it; whether it is here now.
    async fn fetch(&self, did: &Did, cid: &Cid) -> Result<bool, FetchError> {
        let key = (did.clone(), *cid);
        let lock = Arc::clone(self.locks.lock().entry(key.clone()).or_default());
        let outcome = {
            let _alone = lock.lock().await;
            self.fetch_alone(did, cid).await
        };
        drop(lock);
        let unused = |lock: &Arc<_>| Arc::strong_count(lock) == 1;
        let mut locks = self.locks.lock();
        if locks.get(&key).is_some_and(unused) {
            locks.remove(&key);
        }
        outcome
    }

    async fn fetch_alone(&self, did: &Did, cid: &Cid) -> Result<bool, FetchError> {
        let store = |e: RepoError| FetchError::Store(e.to_string());
        if self
            .replicas
            .repos()
            .blob(did, cid)
            .map_err(store)?
            .is_some()
        {
            return Ok(true);
        }
        let Ok(_room) = self.room.acquire().await else {
            return Ok(false);
        };
        let mut failed = None;
        for peer in self.peers(did).await {
            if self.wrong.lock().contains(&(peer, *cid)) {
                continue;
            }
            self.board.update(did, |row| row.underway += 1);
            let outcome = self.fetch_from(did, cid, peer).await;
            self.board.update(did, |row| {
                row.underway -= 1;
                match &outcome {
                    Ok(Some(size)) => {
                        row.fetched += 1;
                        row.bytes += size;
                        row.trouble = None;
                    }
                    Ok(None) => {}
                    Err(e) => row.trouble = Some(format!("{cid} from {peer}: {e}")),
                }
            });
            match outcome {
                Ok(Some(_)) => return Ok(true),
                Ok(None) => {}
                Err(error) => {
                    tracing::debug!(%did, %cid, %peer, %error, "a blob did not come");
                    failed = Some(error);
                }
            }
        }
        failed.map_or(Ok(false), Err)
    }

    async fn fetch_from(
        &self,
        did: &Did,
        cid: &Cid,
        peer: PeerId,
    ) -> Result<Option<u64>, FetchError> {
        let (mut stream, used) = self.stream(peer).await?;
        let key = (did.clone(), *cid);
        let mut partial = self.partials.lock().remove(&key);
        let wanted = Wanted {
            repos: self.replicas.repos(),
            did,
            cid,
            max: self.options.max_bytes,
        };
        let mut outcome = fetch(wanted, peer, &mut stream, &mut partial).await;
        if used && matches!(outcome, Err(FetchError::Stream(_))) {
            // It may have been of a connection that is gone.
            self.streams.lock().remove(&peer);
            (stream, _) = self.stream(peer).await?;
            outcome = fetch(wanted, peer, &mut stream, &mut partial).await;
        }
        match &outcome {
            Ok(_) => {
                let mut streams = self.streams.lock();
                let of_peer = streams.entry(peer).or_default();
                of_peer.push((stream, Instant::now()));
            }
            Err(FetchError::Wrong { alone: true }) => {
                let mut wrong = self.wrong.lock();
                if wrong.len() >= REMEMBERED {
                    wrong.clear();
                }
                wrong.insert((peer, *cid));
            }
            Err(_) => {}
        }
        if let Some(partial) = partial {
            let mut partials = self.partials.lock();
            if partials.len() < PARTIALS {
                partials.insert(key, partial);
            } else {
                partial.discard();
            }
        }
        outcome
    }

    /// A stream to a peer, one that is open already if possible; whether it is.
    async fn stream(&self, peer: PeerId) -> Result<(Stream, bool), OpenStreamError> {
        {
            let mut streams = self.streams.lock();
            for of_peer in streams.values_mut() {
                of_peer.retain(|(_, since)| since.elapsed() < STALE);
            }
            streams.retain(|_, of_peer| !of_peer.is_empty());
            if let Some((stream, _)) = streams.get_mut(&peer).and_then(Vec::pop) {
                return Ok((stream, true));
            }
        }
        let stream = self.network.open_stream(peer, PROTOCOL).await?;
        Ok((stream, false))
    }

    /// The connected devices that share a repository.
    async fn peers(&self, did: &Did) -> Vec<PeerId> {
        let state = self.network.state().await;
        let peers = state.into_iter().flat_map(|state| state.peers);
        peers
            .filter(|peer| !peer.connections.is_empty())
            .map(|peer| peer.peer)
            .filter(|peer| self.shares(did, peer))
            .collect()
    }

    fn shares(&self, did: &Did, peer: &PeerId) -> bool {
        identity::key_of(peer).is_some_and(|key| self.replicas.may_sync(did, &key.did_key()))
    }
}
