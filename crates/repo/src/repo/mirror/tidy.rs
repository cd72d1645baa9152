//! Freeing what copies do not need any more. What a crash interrupts is taken up again.

use ues_data::{BlockSource, Cid};

use crate::syntax::Did;

use super::super::layout::{Head, cid_from_digest, head_key, node_ref};
use super::links::links;
use super::{MirrorError, Mirrors, commit_error, number};

/// A row of the trash that frees what was staged for a copy and is not part of it.
const SETTLE: u8 = 1;
/// A row that frees everything under a number.
const ERASE: u8 = 2;

/// Frees everything under a number; of a copy, all that it is made of.
pub(super) fn erase_row(head: Option<&Head>) -> Vec<u8> {
    let mut row = vec![ERASE];
    for cid in head.iter().flat_map(|head| [head.data, head.commit]) {
        row.extend_from_slice(cid.hash().digest());
    }
    row
}

/// Frees what was staged and is no node of the tree of this revision.
pub(super) fn settle_row(rev: u64) -> Vec<u8> {
    let mut row = vec![SETTLE];
    row.extend_from_slice(&rev.to_be_bytes());
    row
}

impl Mirrors {
    /// Lets go of a copy; whether there was one. Nothing of it is read any more when this returns; [`tidy`](Self::tidy)
    /// frees its space. Blocks on the disk.
    ///
    /// # Errors
    /// When the store fails.
    pub fn remove(&self, did: &Did) -> Result<bool, MirrorError> {
        if self.get(did)?.is_none() {
            return Ok(false);
        }
        let store = self.repos.store();
        let mut batch = store.batch();
        if let Some(owner) = self.staging_of(did)? {
            batch.put(&self.trash, owner.to_be_bytes(), erase_row(None));
            batch.delete(&self.staging, did.as_str());
        }
        if let Some(head) = self.repos.head(did)? {
            batch.put(
                &self.trash,
                head.owner.to_be_bytes(),
                erase_row(Some(&head)),
            );
            batch.delete(&self.repos.around().ks.heads, head_key(did));
        }
        batch.delete(&self.rows, did.as_str());
        store.commit_blocking(batch).map_err(commit_error)?;
        Ok(true)
    }

    /// Frees what copies do not need any more. To be done before a copy is updated, and while none is. Blocks on the
    /// disk.
    ///
    /// # Errors
    /// When the store fails; what is left is freed by the next call.
    pub fn tidy(&self) -> Result<(), MirrorError> {
        for row in self.trash.prefix([]) {
            let (key, what) = row?;
            match (number(&key), what.split_first()) {
                (Some(owner), Some((&SETTLE, rev))) => self.settle(owner, number(rev))?,
                (Some(owner), Some((_, tree))) => self.erase(owner, tree)?,
                _ => {}
            }
            let mut batch = self.repos.store().batch();
            batch.delete(&self.trash, &key);
            let store = self.repos.store();
            store.commit_blocking(batch).map_err(commit_error)?;
        }
        Ok(())
    }

    /// Of what was staged for a number, keeps the nodes of a revision's tree as what they are, and lets go of the rest,
    /// records among it, which are held by their paths.
    fn settle(&self, owner: u64, rev: Option<u64>) -> Result<(), MirrorError> {
        let store = self.repos.store();
        let mut batch = store.batch();
        for row in self.staged.prefix(owner.to_be_bytes()) {
            let (key, mark) = row?;
            let cid = key.get(8..).and_then(cid_from_digest);
            if let Some(cid) = cid.filter(|_| rev.is_none() || number(&mark) != rev) {
                batch.release_block(cid.hash(), node_ref(owner));
            }
            batch.delete(&self.staged, &key);
            self.keep_small(&mut batch)?;
        }
        store.commit_blocking(batch).map_err(commit_error)?;
        Ok(())
    }

    fn erase(&self, owner: u64, tree: &[u8]) -> Result<(), MirrorError> {
        self.settle(owner, None)?;
        self.forget_records(owner)?;
        let around = self.repos.around();
        let mut batch = around.store.batch();
        if let Some((data, commit)) = tree.split_at_checked(32) {
            // Nodes before those that link to them: what is left after a crash can still be found.
            for cid in self.nodes(data)?.iter().rev() {
                batch.release_block(cid.hash(), node_ref(owner));
                self.keep_small(&mut batch)?;
            }
            if let Some(commit) = cid_from_digest(commit) {
                batch.release_block(commit.hash(), node_ref(owner));
            }
        }
        batch.delete(&around.ks.owners, owner.to_be_bytes());
        around.store.commit_blocking(batch).map_err(commit_error)?;
        Ok(())
    }

    /// The nodes of a tree that are still here, each after those that link to it.
    fn nodes(&self, root: &[u8]) -> Result<Vec<Cid>, MirrorError> {
        let mut found: Vec<Cid> = cid_from_digest(root).into_iter().collect();
        let mut at = 0;
        while let Some(cid) = found.get(at) {
            let block = BlockSource::block(self.repos.store(), cid).map_err(commit_error)?;
            if let Some(links) = block.and_then(|block| links(&block)) {
                found.extend(links.nodes);
            }
            at += 1;
        }
        Ok(found)
    }
}
