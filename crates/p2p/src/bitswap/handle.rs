//! What a caller holds of Bitswap.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use bytes::Bytes;
use libp2p::PeerId;
use tokio::sync::{mpsc, oneshot};
use ues_data::content_id::IDENTITY;
use ues_data::{Cid, HashAlgorithm};

use super::client::{FetchError, SessionId};
use super::server::Balance;
use super::task::{Command, Task};
use super::{BitswapLimits, BitswapStats, BlockSource, PROTOCOL, PROTOCOL_1_1};
use crate::error::OpenStreamError;
use crate::network::Network;

/// Commands that wait for the task.
const WAITING_COMMANDS: usize = 1024;

/// Bitswap on a host. Cloning it gives another handle; it ends with the last of them, or with the host.
#[derive(Debug, Clone)]
pub struct Bitswap {
    commands: mpsc::Sender<Command>,
    sessions: Arc<AtomicU64>,
}

impl Bitswap {
    /// Serves the blocks of `source` on a host, and fetches blocks for us.
    ///
    /// # Errors
    /// Bitswap runs on the host already.
    pub fn start(
        network: &Network,
        source: Arc<dyn BlockSource>,
        limits: BitswapLimits,
    ) -> Result<Self, OpenStreamError> {
        let streams = [
            network.accept_streams(PROTOCOL)?,
            network.accept_streams(PROTOCOL_1_1)?,
        ];
        let (commands, receiver) = mpsc::channel(WAITING_COMMANDS);
        let task = Task::new(network.clone(), source, limits, receiver);
        tokio::spawn(task.run(streams));
        Ok(Self {
            commands,
            sessions: Arc::default(),
        })
    }

    /// Fetches one block from any of these peers.
    ///
    /// # Errors
    /// None of them gave it.
    pub async fn fetch(&self, cid: &Cid, providers: &[PeerId]) -> Result<Bytes, FetchError> {
        self.session(providers).get(cid).await
    }

    /// A session: blocks that belong together are asked of the same peers.
    #[must_use]
    pub fn session(&self, providers: &[PeerId]) -> Session {
        Session {
            id: self.sessions.fetch_add(1, Ordering::Relaxed),
            peers: Arc::new(parking_lot::Mutex::new(providers.to_vec())),
            commands: self.commands.clone(),
        }
    }

    /// Blocks are here that were not: peers that wait for them get them.
    pub async fn blocks_added(&self, cids: Vec<Cid>) {
        let _ = self.commands.send(Command::Added(cids)).await;
    }

    /// What was done so far; none once Bitswap has stopped.
    pub async fn stats(&self) -> Option<BitswapStats> {
        let (reply, answer) = oneshot::channel();
        self.commands.send(Command::Stats(reply)).await.ok()?;
        answer.await.ok()
    }

    /// What went to and came from a peer since it connected.
    pub async fn balance(&self, peer: PeerId) -> Option<Balance> {
        let (reply, answer) = oneshot::channel();
        let command = Command::Balance(peer, reply);
        self.commands.send(command).await.ok()?;
        answer.await.ok()
    }
}

/// Some peers that are asked for blocks that belong together. Cloning it gives the same session.
#[derive(Debug, Clone)]
pub struct Session {
    id: SessionId,
    peers: Arc<parking_lot::Mutex<Vec<PeerId>>>,
    commands: mpsc::Sender<Command>,
}

impl Session {
    /// Fetches a block and checks it. Many may be fetched at a time; dropping the future gives up.
    ///
    /// # Errors
    /// No peer of the session gave the block, or it cannot be checked.
    pub async fn get(&self, cid: &Cid) -> Result<Bytes, FetchError> {
        let code = cid.hash().code();
        if code == IDENTITY {
            return Ok(Bytes::copy_from_slice(cid.hash().digest()));
        }
        if HashAlgorithm::from_code(code).is_none() {
            return Err(FetchError::Hash(code));
        }
        let (reply, answer) = oneshot::channel();
        let command = Command::Get {
            session: self.id,
            cid: *cid,
            peers: self.peers.lock().clone(),
            reply,
        };
        let sent = self.commands.send(command).await;
        sent.map_err(|_| FetchError::Stopped)?;
        answer.await.map_err(|_| FetchError::Stopped)?
    }

    /// Asks one more peer, also for what is wanted already.
    pub async fn add_peer(&self, peer: PeerId) {
        {
            let mut peers = self.peers.lock();
            if peers.contains(&peer) {
                return;
            }
            peers.push(peer);
        }
        let command = Command::AddPeer(self.id, peer);
        let _ = self.commands.send(command).await;
    }
}
