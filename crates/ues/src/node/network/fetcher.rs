//! Fetches the content of pins by Bitswap: from the peers that a pin names, from those that are connected, and from
//! providers that the hash table knows.

use std::collections::BTreeSet;
use std::time::Duration;

use async_trait::async_trait;
use bytes::Bytes;
use futures::future::join_all;
use tokio::time::timeout;
use ues_data::Cid;
use ues_p2p::bitswap::{PROTOCOL, PROTOCOL_1_1, Session};
use ues_p2p::{Multiaddr, PeerId};
use ues_worker::embedded::{FetchSession, Fetcher};

use super::PeerNetwork;
use super::running::Running;
use crate::config::NetworkKademlia;

/// How long is looked for providers.
const LOOK: Duration = Duration::from_secs(20);
/// Peers of one session: those that the pin names come first.
const MAX_PEERS: usize = 32;

/// See the module.
pub struct PinFetcher(pub(super) PeerNetwork);

struct Blocks(Session);

#[async_trait]
impl Fetcher for PinFetcher {
    async fn session(
        &self,
        root: &Cid,
        origins: &[String],
    ) -> Result<Box<dyn FetchSession>, String> {
        let config = &self.0.0.config;
        let absent = |why: &str| Err(format!("block {root} is not here, and {why}"));
        if !config.bitswap {
            return absent("network.bitswap is switched off");
        }
        let kademlia = config.kademlia != NetworkKademlia::Off;
        let reason_to_start = !origins.is_empty() || kademlia || !config.bootstrap.is_empty();
        let running = match self.0.if_running().await {
            Some(running) => running,
            None if reason_to_start => self.0.running().await.map_err(|e| e.to_string())?,
            None => return absent("no peer is known that may have it"),
        };
        let Some(bitswap) = &running.bitswap else {
            return absent("network.bitswap is switched off");
        };
        let named = connect(&running, origins).await;
        let mut peers: Vec<PeerId> = named.clone();
        let mut others = connected(&running).await;
        if kademlia {
            let found = timeout(LOOK, running.network.find_providers(root)).await;
            others.extend(found.ok().and_then(Result::ok).unwrap_or_default());
        }
        others.remove(&running.network.peer_id());
        peers.extend(others.into_iter().filter(|peer| !named.contains(peer)));
        peers.truncate(MAX_PEERS);
        if peers.is_empty() {
            return match origins.len() {
                0 => absent("no peer is known that may have it"),
                1 => absent("its origin cannot be reached"),
                n => absent(&format!("none of the {n} origins can be reached")),
            };
        }
        Ok(Box::new(Blocks(bitswap.session(&peers))))
    }
}

#[async_trait]
impl FetchSession for Blocks {
    async fn get(&self, cid: &Cid) -> Result<Bytes, String> {
        self.0.get(cid).await.map_err(|e| e.to_string())
    }
}

/// Those of the addresses that are reached.
async fn connect(running: &Running, origins: &[String]) -> Vec<PeerId> {
    let addresses = origins.iter().filter_map(|o| o.parse::<Multiaddr>().ok());
    let dials = addresses.map(|address| running.network.connect(address));
    let mut peers: Vec<PeerId> = join_all(dials).await.into_iter().flatten().collect();
    peers.dedup();
    peers
}

/// The connected peers that speak Bitswap.
async fn connected(running: &Running) -> BTreeSet<PeerId> {
    let state = running.network.state().await;
    let peers = state.into_iter().flat_map(|state| state.peers);
    let speaks = |protocols: &[String]| {
        let bitswap = |p: &String| *p == PROTOCOL.as_ref() || *p == PROTOCOL_1_1.as_ref();
        protocols.iter().any(bitswap)
    };
    peers
        .filter(|peer| !peer.connections.is_empty() && speaks(&peer.protocols))
        .map(|peer| peer.peer)
        .collect()
}
