//! The blocks that this node serves by Bitswap.

use async_trait::async_trait;
use bytes::Bytes;
use ues_data::{Cid, Multihash};
use ues_p2p::bitswap::message::MAX_BLOCK;
use ues_p2p::{BlockSource, PeerId};
use ues_repo::repo::{RepoError, Repositories};
use ues_worker::embedded::is_pinned;

/// What everybody may have: what repositories that are served are made of, the blobs that their records refer to, and
/// what the pin service keeps in the node's own store.
pub(super) struct PublicBlocks {
    repos: Repositories,
}

impl PublicBlocks {
    pub fn new(repos: Repositories) -> Self {
        Self { repos }
    }

    /// Looks on a thread that may block.
    async fn look<T: Send + 'static>(
        &self,
        cid: &Cid,
        look: impl FnOnce(&Repositories, &Multihash) -> Result<T, RepoError> + Send + 'static,
    ) -> Option<T> {
        let (repos, cid) = (self.repos.clone(), *cid);
        let found = tokio::task::spawn_blocking(move || look(&repos, cid.hash()));
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
        let read = |repos: &Repositories, mh: &Multihash| {
            if is_pinned(&repos.store().snapshot(), mh)? {
                return Ok(repos.store().block(mh)?);
            }
            repos.public_block(mh, MAX_BLOCK as u64)
        };
        self.look(cid, read).await.flatten()
    }

    async fn has(&self, cid: &Cid) -> bool {
        let look = |repos: &Repositories, mh: &Multihash| {
            Ok(is_pinned(&repos.store().snapshot(), mh)?
                || repos.has_public_block(mh, MAX_BLOCK as u64)?)
        };
        self.look(cid, look).await.unwrap_or_default()
    }

    /// What is public is so for all.
    async fn may_read(&self, _: PeerId, _: &Cid) -> bool {
        true
    }
}
