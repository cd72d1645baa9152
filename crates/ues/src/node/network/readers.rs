//! What a peer may read here, for every protocol by which repositories, their blocks and their blobs are asked for: the
//! rules say who, and it has to be something that this node can vouch for.

use bytes::Bytes;
use ues_access::Reader;
use ues_atproto::Context;
use ues_data::{Cid, Multihash};
use ues_p2p::blobs::BlobReaders;
use ues_p2p::{PeerId, identity};
use ues_repo::repo::{RepoError, Repositories};
use ues_repo::syntax::Did;
use ues_sync::store::Replicas;

/// See the module. Cheap to clone.
#[derive(Clone)]
pub(in crate::node) struct Readers {
    ctx: Context,
    replicas: Replicas,
}

impl Readers {
    pub fn new(ctx: Context, replicas: Replicas) -> Self {
        Self { ctx, replicas }
    }

    pub fn ctx(&self) -> &Context {
        &self.ctx
    }

    /// Whether the rules let a peer read a repository.
    pub fn lets(&self, peer: &PeerId, repo: &Did) -> bool {
        let reader = Reader::Peer {
            name: &peer.to_string(),
            is_device: self.is_device(peer, repo),
        };
        self.ctx.read_rules.may_read(repo.as_str(), reader)
    }

    fn is_device(&self, peer: &PeerId, repo: &Did) -> bool {
        identity::key_of(peer).is_some_and(|key| self.replicas.may_sync(repo, &key.did_key()))
    }

    /// Where the repository lies that a peer may read: an active account's whose commits this node signs, or a mirror.
    ///
    /// # Errors
    /// When the store cannot be read.
    pub fn open(&self, peer: &PeerId, repo: &Did) -> Result<Option<Repositories>, RepoError> {
        match self.lets(peer, repo) {
            true => self.served(repo),
            false => Ok(None),
        }
    }

    fn served(&self, repo: &Did) -> Result<Option<Repositories>, RepoError> {
        if let Some(head) = self.ctx.repos.head(repo)?
            && head.status.is_active()
        {
            // Commits of a device without the root's key are its own business.
            let signs = !self.replicas.list().contains(repo) || self.replicas.has_root_key(repo);
            return Ok(signs.then(|| self.ctx.repos.clone()));
        }
        let mirrors = &self.ctx.mirrors;
        let row = mirrors.get(repo)?;
        let served = row.is_some_and(|row| row.is_active());
        Ok(served.then(|| mirrors.repos().clone()))
    }

    /// The newest commit of a repository that everybody may read here.
    ///
    /// # Errors
    /// When the store cannot be read.
    pub fn public_commit(&self, repo: &Did) -> Result<Option<Bytes>, RepoError> {
        if !self
            .ctx
            .read_rules
            .may_read(repo.as_str(), Reader::Stranger)
        {
            return Ok(None);
        }
        let Some(repos) = self.served(repo)? else {
            return Ok(None);
        };
        match repos.view(repo) {
            Ok(view) => view.block(&view.head.commit),
            Err(RepoError::NotFound(_)) => Ok(None),
            Err(e) => Err(e),
        }
    }

    /// Where a blob is read that a peer asks for.
    ///
    /// # Errors
    /// When the store cannot be read.
    pub fn open_blob(
        &self,
        peer: &PeerId,
        repo: &Did,
        mh: &Multihash,
    ) -> Result<Option<Repositories>, RepoError> {
        if self.is_device(peer, repo) {
            return Ok(Some(self.replicas.repos().clone()));
        }
        match self.ctx.is_taken_down(repo, mh) {
            true => Ok(None),
            false => self.open(peer, repo),
        }
    }
}

impl BlobReaders for Readers {
    fn open(&self, peer: &PeerId, repo: &Did, cid: &Cid) -> Option<Repositories> {
        let opened = self.open_blob(peer, repo, cid.hash());
        opened.unwrap_or_else(|error| {
            tracing::warn!(%repo, %error, "a repository that a peer asks for cannot be read");
            None
        })
    }
}
