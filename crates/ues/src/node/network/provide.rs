//! Tells the hash table what is pinned and which repositories are shared or mirrored here, and finds other devices in it.

use std::collections::HashSet;
use std::time::Duration;

use tokio::task::JoinHandle;
use tokio::time::timeout;
use ues_data::{Cid, raw_cid};
use ues_p2p::{Network, identity};
use ues_repo::repo::mirror::Mirrors;
use ues_repo::syntax::Did;
use ues_storage::{StorageError, Store};
use ues_sync::store::Replicas;
use ues_worker::embedded::pinned_roots;

/// How often it is looked what is to be told, and who is to be found.
const EVERY: Duration = Duration::from_secs(30);
/// How long one question or record may take.
const PATIENCE: Duration = Duration::from_secs(60);
/// Most roots of pins that are told.
pub const MAX_ROOTS: usize = 10_000;

/// Under what a shared repository is found: the raw block of its DID's text.
fn name_of(did: &Did) -> Cid {
    raw_cid(did.as_str().as_bytes())
}

/// The work, which ends when this is dropped.
pub(super) struct Providing(JoinHandle<()>);

impl Providing {
    /// Begins. The host repeats by itself what it was told to provide.
    pub fn start(network: Network, replicas: Replicas, mirrors: Mirrors) -> Self {
        Self(tokio::spawn(run(network, replicas, mirrors)))
    }
}

impl Drop for Providing {
    fn drop(&mut self) {
        self.0.abort();
    }
}

async fn run(network: Network, replicas: Replicas, mirrors: Mirrors) {
    let mut told = HashSet::new();
    loop {
        let store = replicas.repos().store().clone();
        let mut dids = replicas.list();
        let rows = mirrors.list().unwrap_or_default();
        dids.extend(rows.into_iter().map(|row| row.did));
        let wanted = tokio::task::spawn_blocking(move || wanted(&store, &dids)).await;
        match wanted {
            Ok(Ok(wanted)) => tell(&network, &mut told, wanted).await,
            Ok(Err(error)) => tracing::warn!(%error, "what to provide cannot be told"),
            Err(_) => return,
        }
        for did in replicas.list() {
            find_devices(&network, &replicas, &did).await;
        }
        tokio::time::sleep(EVERY).await;
    }
}

fn wanted(store: &Store, dids: &[Did]) -> Result<HashSet<Cid>, StorageError> {
    let roots = pinned_roots(store, MAX_ROOTS)?;
    Ok(dids.iter().map(name_of).chain(roots).collect())
}

/// Provides what is new and lets go of what is gone; what cannot be told is tried again in the next round.
async fn tell(network: &Network, told: &mut HashSet<Cid>, wanted: HashSet<Cid>) {
    let gone: Vec<Cid> = told.difference(&wanted).copied().collect();
    for cid in gone {
        network.stop_providing(&cid).await;
        told.remove(&cid);
    }
    let fresh: Vec<Cid> = wanted.difference(told).copied().collect();
    for cid in fresh {
        match timeout(PATIENCE, network.provide(&cid)).await {
            Ok(Ok(())) => {
                told.insert(cid);
            }
            // Without anybody in the table the rest would fail as well.
            Ok(Err(error)) => {
                tracing::debug!(%cid, %error, "a provider record was not taken");
                return;
            }
            Err(_) => return,
        }
    }
}

/// Connects with devices that hold a repository and are not connected.
async fn find_devices(network: &Network, replicas: &Replicas, did: &Did) {
    let Ok(devices) = replicas.devices(did) else {
        return;
    };
    let Some(state) = network.state().await else {
        return;
    };
    let connected = |key: &str| {
        let has = |peer| identity::key_of(peer).is_some_and(|k| *k.did_key() == *key);
        state.peers.iter().any(|peer| has(&peer.peer))
    };
    let away =
        |d: &&ues_sync::store::Device| !d.here && !d.root && !d.revoked && !connected(&d.key);
    if devices.iter().find(away).is_none() {
        return;
    }
    let found = timeout(PATIENCE, network.find_providers(&name_of(did))).await;
    for peer in found.ok().and_then(Result::ok).unwrap_or_default() {
        let shares = identity::key_of(&peer).is_some_and(|k| replicas.may_sync(did, &k.did_key()));
        if shares && let Err(error) = network.connect_peer(peer, Vec::new()).await {
            tracing::debug!(%peer, %error, "a device that the hash table knows is not reached");
        }
    }
}
