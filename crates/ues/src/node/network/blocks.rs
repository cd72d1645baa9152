//! The blocks that this node serves by Bitswap.

use async_trait::async_trait;
use bytes::Bytes;
use ues_data::{Cid, Multihash};
use ues_p2p::bitswap::message::MAX_BLOCK;
use ues_p2p::{BlockSource, PeerId};
use ues_repo::repo::{RepoError, Repositories};
use ues_repo::syntax::Did;
use ues_worker::embedded::is_pinned;

use super::readers::Readers;

/// What a peer may have: what repositories that it may read are made of, the blobs that their records refer to, and what
/// the pin service keeps in the node's own store.
#[derive(Clone)]
pub(super) struct PublicBlocks(Readers);

impl PublicBlocks {
    pub fn new(readers: Readers) -> Self {
        Self(readers)
    }

    /// Accounts' repositories, and mirrors.
    fn all(&self) -> [&Repositories; 2] {
        let ctx = self.0.ctx();
        [&ctx.repos, ctx.mirrors.repos()]
    }

    /// Whether a repository that `hidden` does not say of has a block, or a pin.
    fn find(
        &self,
        mh: &Multihash,
        hidden: &dyn Fn(&Did, &Multihash) -> bool,
    ) -> Result<bool, RepoError> {
        if is_pinned(&self.0.ctx().store.snapshot(), mh)? {
            return Ok(true);
        }
        for repos in self.all() {
            if repos.has_public_block(mh, MAX_BLOCK as u64, hidden)? {
                return Ok(true);
            }
        }
        Ok(false)
    }

    fn read(&self, mh: &Multihash) -> Result<Option<Bytes>, RepoError> {
        let ctx = self.0.ctx();
        if is_pinned(&ctx.store.snapshot(), mh)? {
            return Ok(ctx.store.block(mh)?);
        }
        let hidden = |did: &Did, mh: &Multihash| ctx.is_taken_down(did, mh);
        for repos in self.all() {
            if let Some(block) = repos.public_block(mh, MAX_BLOCK as u64, &hidden)? {
                return Ok(Some(block));
            }
        }
        Ok(None)
    }

    /// Looks on a thread that may block.
    async fn look<T: Send + 'static>(
        &self,
        cid: &Cid,
        look: impl FnOnce(&Self, &Multihash) -> Result<T, RepoError> + Send + 'static,
    ) -> Option<T> {
        let (this, cid) = (self.clone(), *cid);
        let found = tokio::task::spawn_blocking(move || look(&this, cid.hash()));
        match found.await {
            Ok(Ok(found)) => Some(found),
            Ok(Err(error)) => {
                tracing::warn!(%cid, %error, "a block cannot be read");
                None
            }
            Err(_) => None,
        }
    }
}

#[async_trait]
impl BlockSource for PublicBlocks {
    async fn get(&self, cid: &Cid) -> Option<Bytes> {
        self.look(cid, |this, mh| this.read(mh)).await.flatten()
    }

    async fn has(&self, cid: &Cid) -> bool {
        let look = |this: &Self, mh: &Multihash| {
            let ctx = this.0.ctx();
            this.find(mh, &|did, mh| ctx.is_taken_down(did, mh))
        };
        self.look(cid, look).await.unwrap_or_default()
    }

    async fn may_read(&self, peer: PeerId, cid: &Cid) -> bool {
        let look = move |this: &Self, mh: &Multihash| {
            let ctx = this.0.ctx();
            // Of two repositories with the same block, one that the peer may read is enough.
            this.find(mh, &|did, mh| {
                ctx.is_taken_down(did, mh) || !this.0.lets(&peer, did)
            })
        };
        self.look(cid, look).await.unwrap_or_default()
    }
}
