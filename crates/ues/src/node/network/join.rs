//! What a device does with a repository that it was let in to: an account and a repository of its own, then all that is
//! in it.

use ues_atproto::Account;
use ues_p2p::pairing::JoinedRepository;
use ues_p2p::{KnownPeer, PeerId};
use ues_repo::crypto::VerifyingKey;
use ues_repo::syntax::{Did, Handle};

use super::PeerNetwork;
use super::remember::found_at;

impl PeerNetwork {
    /// Takes a repository in from the device that let this one in.
    pub(super) async fn take_in(
        &self,
        joined: &JoinedRepository,
        peer: PeerId,
    ) -> Result<(), String> {
        let root = VerifyingKey::from_did_key(&joined.root).map_err(|e| e.to_string())?;
        if self.0.replicas.list().contains(&joined.did) {
            return Err(format!("this device holds {} already", joined.did));
        }
        self.make_room(&joined.did, joined.handle.as_ref()).await?;
        let running = self.running().await.map_err(|e| e.to_string())?;
        running
            .sync
            .fetch(&joined.did, peer, &root)
            .await
            .map_err(|e| e.to_string())?;
        self.remember(peer).await;
        Ok(())
    }

    /// Sees to it that a peer is found again, and dialed.
    pub(super) async fn remember(&self, peer: PeerId) {
        let Some(running) = self.if_running().await else {
            return;
        };
        let state = running.network.state().await;
        let mut connected = state.into_iter().flat_map(|state| state.peers);
        let known = match connected.find(|connected| connected.peer == peer) {
            Some(connected) => found_at(&connected),
            None => KnownPeer {
                peer,
                addresses: Vec::new(),
            },
        };
        running.network.add_known_peer(known).await;
        self.0.known.keep(running.network.known_peers().await).await;
    }

    /// An account without a password, and an empty repository that this device's key signs: what others see of it are
    /// the root's commits.
    pub(super) async fn make_room(&self, did: &Did, handle: Option<&Handle>) -> Result<(), String> {
        let text = |e: &dyn std::fmt::Display| e.to_string();
        let ctx = &self.0.ctx;
        if ctx.accounts.by_did(did).map_err(|e| text(&e))?.is_some() {
            // What an earlier try has left is taken up again; an account of its own is not touched.
            let key = ctx.keys.get(did).map_err(|e| text(&e))?;
            let device = self.0.replicas.device().did_key();
            return match key {
                Some(key) if key.did_key() == device => Ok(()),
                _ => Err(format!("{did} is an account of this node")),
            };
        }
        let handle = match handle {
            Some(handle) => handle.clone(),
            None => Handle::parse("handle.invalid").map_err(|e| text(&e))?,
        };
        if ctx
            .accounts
            .by_handle(&handle)
            .map_err(|e| text(&e))?
            .is_some()
        {
            return Err(format!("another account of this node is called {handle}"));
        }
        let account = Account::new(did.clone(), handle);
        let device = self.0.replicas.device().clone();
        let mut batch = ctx.store.batch();
        ctx.accounts.put(&mut batch, &account, None);
        ctx.keys
            .put(&mut batch, did, &device)
            .map_err(|e| text(&e))?;
        ctx.repos
            .create(did, &device, batch, Vec::new())
            .await
            .map_err(|e| text(&e))?;
        ctx.keys.written(did, device);
        ctx.accounts.written(account);
        Ok(())
    }
}
