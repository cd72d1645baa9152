//! The blocks that this node serves by Bitswap.

use async_trait::async_trait;
use bytes::Bytes;
use ues_atproto::Context;
use ues_data::{Cid, Multihash};
use ues_p2p::bitswap::message::MAX_BLOCK;
use ues_p2p::{BlockSource, PeerId};
use ues_repo::repo::RepoError;
use ues_repo::syntax::Did;
use ues_worker::embedded::is_pinned;

/// What everybody may have: what repositories that are served are made of, the blobs that their records refer to, and
/// what the pin service keeps in the node's own store.
pub(super) struct PublicBlocks {
    ctx: Context,
}

impl PublicBlocks {
    pub fn new(ctx: Context) -> Self {
        Self { ctx }
    }

    /// Looks on a thread that may block.
    async fn look<T: Send + 'static>(
        &self,
        cid: &Cid,
        look: impl FnOnce(&Context, &Multihash) -> Result<T, RepoError> + Send + 'static,
    ) -> Option<T> {
        let (ctx, cid) = (self.ctx.clone(), *cid);
        let found = tokio::task::spawn_blocking(move || look(&ctx, cid.hash()));
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
        let read = |ctx: &Context, mh: &Multihash| {
            if is_pinned(&ctx.repos.store().snapshot(), mh)? {
                return Ok(ctx.repos.store().block(mh)?);
            }
            let hidden = |did: &Did, mh: &Multihash| ctx.is_taken_down(did, mh);
            ctx.repos.public_block(mh, MAX_BLOCK as u64, &hidden)
        };
        self.look(cid, read).await.flatten()
    }

    async fn has(&self, cid: &Cid) -> bool {
        let look = |ctx: &Context, mh: &Multihash| {
            let hidden = |did: &Did, mh: &Multihash| ctx.is_taken_down(did, mh);
            Ok(is_pinned(&ctx.repos.store().snapshot(), mh)?
                || ctx.repos.has_public_block(mh, MAX_BLOCK as u64, &hidden)?)
        };
        self.look(cid, look).await.unwrap_or_default()
    }

    /// What is public is so for all.
    async fn may_read(&self, _: PeerId, _: &Cid) -> bool {
        true
    }
}
