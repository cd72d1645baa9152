//! From peers: whoever is connected and speaks the protocol may have it.

use std::collections::BTreeSet;
use std::time::Duration;

use tokio::time::timeout;
use ues_data::raw_cid;
use ues_p2p::repositories::{AskError, Asking, PROTOCOL};
use ues_p2p::{Multiaddr, PeerId};
use ues_repo::crypto::VerifyingKey;
use ues_repo::repo::mirror::{Judged, Mirror};

use super::fetch::{Outcome, Trouble, taking};
use super::{Mirroring, blocking};
use crate::node::network::Running;

/// Peers that are asked for one update.
const MAX_PEERS: usize = 16;
/// Blocks of one question.
const ASKED: usize = 1024;
/// How long is looked for providers.
const LOOK: Duration = Duration::from_secs(10);
/// How long a peer may take to tell which commit it has.
const COMMIT_WITHIN: Duration = Duration::from_secs(10);

impl Mirroring {
    /// Takes what is newer at any peer.
    pub(super) async fn ask_peers(
        &self,
        row: &mut Mirror,
        key: &VerifyingKey,
    ) -> Result<Outcome, Trouble> {
        let none = || Trouble::Unavailable("no connected peer has it".to_owned());
        let peers = self.peers(row).await?;
        let (mut outcome, mut refused) = (None, None);
        for peer in peers {
            match self.ask_peer(row, key, peer).await {
                Ok(None) => {}
                Ok(Some(Outcome::Same)) => {
                    outcome.get_or_insert(Outcome::Same);
                }
                Ok(updated) => outcome = updated,
                Err(Trouble::Refused { why, source_name }) => {
                    tracing::warn!(did = %row.did, %peer, %why, "what a peer has of a mirror is refused");
                    refused = Some(Trouble::Refused { why, source_name });
                }
                Err(trouble) => {
                    tracing::debug!(did = %row.did, %peer, %trouble, "a peer gave nothing")
                }
            }
        }
        match (outcome, refused) {
            (Some(outcome), _) => Ok(outcome),
            (None, Some(refused)) => Err(refused),
            (None, None) => Err(none()),
        }
    }

    /// Those that may have it, and can be asked.
    pub(super) async fn peers(&self, row: &Mirror) -> Result<Vec<PeerId>, Trouble> {
        let off = |e: &dyn std::fmt::Display| Trouble::Unavailable(e.to_string());
        let running = match row.peers.is_empty() {
            true => self.0.network.if_running().await,
            false => Some(self.0.network.running().await.map_err(|e| off(&e))?),
        };
        let running = running
            .ok_or_else(|| Trouble::Unavailable("the peer-to-peer network is not on".to_owned()))?;
        let mut peers = Vec::new();
        for address in row.peers.iter().filter_map(|a| a.parse::<Multiaddr>().ok()) {
            match running.network.connect(address.clone()).await {
                Ok(peer) => peers.push(peer),
                Err(error) => tracing::debug!(%address, %error, "a mirror's peer is not reached"),
            }
        }
        let name = raw_cid(row.did.as_str().as_bytes());
        let found = timeout(LOOK, running.network.find_providers(&name)).await;
        let found = found.ok().and_then(Result::ok).unwrap_or_default();
        let others = speaking(&running).await.into_iter().chain(found);
        let own = running.network.peer_id();
        for peer in others {
            if peer != own && !peers.contains(&peer) {
                peers.push(peer);
            }
        }
        peers.truncate(MAX_PEERS);
        Ok(peers)
    }

    /// What a peer has; none if it does not have the repository, or an older state of it.
    async fn ask_peer(
        &self,
        row: &mut Mirror,
        key: &VerifyingKey,
        peer: PeerId,
    ) -> Result<Option<Outcome>, Trouble> {
        let source = format!("peer {peer}");
        let failed = |e: AskError| Trouble::Unavailable(e.to_string());
        let Some(running) = self.0.network.if_running().await else {
            return Ok(None);
        };
        let asking = async {
            let mut asking = Asking::open(&running.network, peer, &row.did).await?;
            let commit = asking.commit().await?;
            Ok((asking, commit))
        };
        let asked = timeout(COMMIT_WITHIN, asking).await;
        let (mut asking, commit) = asked
            .map_err(|_| failed(AskError::Timeout))?
            .map_err(failed)?;
        let Some(commit) = commit else {
            return Ok(None);
        };
        let offered = match self.judge(row, key, &commit, &source).await? {
            Judged::Newer(offered) => *offered,
            Judged::Same => return self.nothing_new(row, &source).await.map(Some),
            Judged::Older(_) => return Ok(None),
        };
        self.begin(&row.did, &source);
        let update = blocking(|| self.mirrors().update(row, offered));
        let mut update = update.map_err(|e| taking(e, &source))?;
        loop {
            let missing = blocking(|| update.missing(ASKED)).map_err(|e| taking(e, &source))?;
            if missing.is_empty() {
                break;
            }
            let answer = match asking.blocks(&missing).await {
                Ok(answer) => answer,
                Err(e) => {
                    blocking(|| update.spill()).map_err(|e| taking(e, &source))?;
                    return Err(failed(e));
                }
            };
            let blocks = answer.ok_or(Trouble::Moved)?.blocks;
            self.take(&mut update, &row.did, blocks, &source)?;
        }
        self.finish(row, update, &source).await.map(Some)
    }
}

/// Connected peers that have repositories to give.
async fn speaking(running: &Running) -> BTreeSet<PeerId> {
    let state = running.network.state().await;
    let peers = state.into_iter().flat_map(|state| state.peers);
    peers
        .filter(|peer| peer.protocols.iter().any(|p| *p == PROTOCOL.as_ref()))
        .map(|peer| peer.peer)
        .collect()
}
