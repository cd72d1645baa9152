//! The repositories that this node gives to peers who ask.

use async_trait::async_trait;
use bytes::Bytes;
use ues_data::Cid;
use ues_p2p::PeerId;
use ues_p2p::repositories::RepositorySource;
use ues_repo::repo::{RepoError, RepoView};
use ues_repo::syntax::Did;

use super::readers::Readers;

/// See the module.
#[derive(Clone)]
pub(super) struct ServedRepositories(Readers);

impl ServedRepositories {
    pub fn new(readers: Readers) -> Self {
        Self(readers)
    }

    /// The state of a repository that a peer may read.
    fn view(&self, peer: &PeerId, repo: &Did) -> Result<Option<RepoView>, RepoError> {
        let Some(repos) = self.0.open(peer, repo)? else {
            return Ok(None);
        };
        match repos.view(repo) {
            Ok(view) => Ok(Some(view)),
            Err(RepoError::NotFound(_)) => Ok(None),
            Err(e) => Err(e),
        }
    }

    /// Looks on a thread that may block.
    async fn look<T: Send + 'static>(
        &self,
        peer: PeerId,
        repo: &Did,
        look: impl FnOnce(&Self, &Did, RepoView) -> Result<Option<T>, RepoError> + Send + 'static,
    ) -> Option<T> {
        let (this, did) = (self.clone(), repo.clone());
        let found = tokio::task::spawn_blocking(move || match this.view(&peer, &did)? {
            Some(view) => look(&this, &did, view),
            None => Ok(None),
        });
        match found.await {
            Ok(Ok(found)) => found,
            Ok(Err(error)) => {
                tracing::warn!(%repo, %error, "a repository that a peer asks for cannot be read");
                None
            }
            Err(_) => None,
        }
    }
}

#[async_trait]
impl RepositorySource for ServedRepositories {
    async fn commit(&self, peer: PeerId, repo: &Did) -> Option<Bytes> {
        self.look(peer, repo, |_, _, view| view.block(&view.head.commit))
            .await
    }

    async fn blocks(
        &self,
        peer: PeerId,
        repo: &Did,
        cids: &[Cid],
        enough: usize,
    ) -> Option<Vec<Option<Bytes>>> {
        let cids = cids.to_vec();
        let read = move |this: &Self, did: &Did, view: RepoView| {
            let (mut blocks, mut bytes) = (Vec::with_capacity(cids.len()), 0);
            for cid in &cids {
                if bytes >= enough {
                    break;
                }
                let block = match this.0.ctx().is_taken_down(did, cid.hash()) {
                    true => None,
                    false => view.own_block(cid)?,
                };
                bytes += block.as_ref().map_or(0, Bytes::len);
                blocks.push(block);
            }
            Ok(Some(blocks))
        };
        self.look(peer, repo, read).await
    }
}
