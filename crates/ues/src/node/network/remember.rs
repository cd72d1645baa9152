//! Remembers where the devices of shared repositories are found, on both sides: whichever of two moves to another address,
//! the other can still be reached under its own.

use std::sync::Arc;
use std::time::Duration;

use tokio::sync::broadcast::error::RecvError;
use tokio::task::JoinHandle;
use ues_p2p::state::{Direction, PeerState};
use ues_p2p::sync::SyncService;
use ues_p2p::{KnownPeer, Network, NetworkEvent, identity};
use ues_sync::store::Replicas;

use super::known::KnownRows;

/// How long it is at least until it is looked again.
const PAUSE: Duration = Duration::from_millis(100);

/// The work, which ends when this is dropped.
pub(super) struct Remembering(JoinHandle<()>);

impl Remembering {
    /// Begins.
    pub fn start(
        network: Network,
        replicas: Replicas,
        sync: &SyncService,
        rows: Arc<KnownRows>,
    ) -> Self {
        let mut events = network.events();
        let mut sessions = sync.watch();
        Self(tokio::spawn(async move {
            let mut kept = Vec::new();
            loop {
                remember_devices(&network, &replicas).await;
                let known = network.known_peers().await;
                if known != kept {
                    rows.keep(known.clone()).await;
                    kept = known;
                }
                tokio::time::sleep(PAUSE).await;
                // A device may be let in long after it connected, and then begins a session.
                loop {
                    tokio::select! {
                        event = events.recv() => match event {
                            Ok(NetworkEvent::PeerIdentified(_)) | Err(RecvError::Lagged(_)) => break,
                            Ok(_) => {}
                            Err(RecvError::Closed) => return,
                        },
                        changed = sessions.changed() => match changed {
                            Ok(()) => break,
                            Err(_) => return,
                        },
                    }
                }
            }
        }))
    }
}

impl Drop for Remembering {
    fn drop(&mut self) {
        self.0.abort();
    }
}

async fn remember_devices(network: &Network, replicas: &Replicas) {
    let Some(state) = network.state().await else {
        return;
    };
    for peer in state.peers {
        let identified = !peer.agent.is_empty();
        if !peer.known && identified && is_device(&peer, replicas) {
            network.add_known_peer(found_at(&peer)).await;
        }
    }
}

fn is_device(peer: &PeerState, replicas: &Replicas) -> bool {
    let Some(key) = identity::key_of(&peer.peer).map(|key| key.did_key()) else {
        return false;
    };
    let mut shared = replicas.list().into_iter();
    shared.any(|did| replicas.may_sync(&did, &key))
}

/// A connected peer, where it says that it listens, and where it was dialed; where an incoming connection comes from,
/// nobody listens.
pub(super) fn found_at(peer: &PeerState) -> KnownPeer {
    let dialed = peer.connections.iter();
    let dialed = dialed.filter(|connection| connection.direction == Direction::Outgoing);
    KnownPeer {
        peer: peer.peer,
        addresses: peer
            .addresses
            .iter()
            .chain(dialed.map(|connection| &connection.address))
            .cloned()
            .collect(),
    }
}
