//! What may be given to everybody who knows its hash: the blocks and blobs of repositories that are served.

use bytes::Bytes;
use ues_data::content_id::SHA2_256;
use ues_data::{Cid, Multihash};

use crate::syntax::Did;

use super::blob_index;
use super::blobs::{BlobMeta, by_blob, meta_key};
use super::layout::{Head, is_of_state};
use super::{RepoError, Repositories};

/// Repositories that are looked at for one block. What so many hold that are not served is not found.
const MAX_LOOKS: usize = 64;
/// Numbers of repositories; those with the highest bit belong to others.
const REPOSITORIES: std::ops::RangeInclusive<u64> = 0..=(u64::MAX >> 1);

enum Public {
    /// A commit, tree node or record.
    Block,
    /// A blob, and the number of a repository that has it.
    Blob(u64, BlobMeta),
}

impl Repositories {
    /// The bytes of a commit, tree node or record, or of a blob of at most `max_blob` bytes, if they are public: the
    /// newest state of an active repository has them, a blob by a record that refers to it. What was deleted is not
    /// public, though a log of operations may still hold it. Nor is what `hidden` says of a repository.
    ///
    /// Blocks on the disk.
    ///
    /// # Errors
    /// When the store cannot be read.
    pub fn public_block(
        &self,
        mh: &Multihash,
        max_blob: u64,
        hidden: &dyn Fn(&Did, &Multihash) -> bool,
    ) -> Result<Option<Bytes>, RepoError> {
        match self.find_public(mh, max_blob, hidden)? {
            None => Ok(None),
            Some(Public::Block) => Ok(self.store().block(mh)?),
            Some(Public::Blob(owner, meta)) => {
                let Some(mut reader) = self.open_blob(owner, &meta, 0)? else {
                    return Ok(None);
                };
                let mut bytes = Vec::with_capacity(usize::try_from(meta.size).unwrap_or_default());
                // Read as far as it should go: a longer one is damaged, and its hash then tells.
                while (bytes.len() as u64) < max_blob
                    && let Some(piece) = reader.next_chunk()?
                {
                    bytes.extend_from_slice(&piece);
                }
                Ok(Some(bytes.into()))
            }
        }
    }

    /// Whether [`public_block`](Self::public_block) has it.
    ///
    /// # Errors
    /// When the store cannot be read.
    pub fn has_public_block(
        &self,
        mh: &Multihash,
        max_blob: u64,
        hidden: &dyn Fn(&Did, &Multihash) -> bool,
    ) -> Result<bool, RepoError> {
        Ok(self.find_public(mh, max_blob, hidden)?.is_some())
    }

    fn find_public(
        &self,
        mh: &Multihash,
        max_blob: u64,
        hidden: &dyn Fn(&Did, &Multihash) -> bool,
    ) -> Result<Option<Public>, RepoError> {
        let shown = |number| -> Result<Option<Head>, RepoError> {
            let served = self.served(number)?;
            Ok(served.and_then(|(did, head)| (!hidden(&did, mh)).then_some(head)))
        };
        if mh.code() != SHA2_256 || mh.digest().len() != 32 {
            return Ok(None);
        }
        let snapshot = self.store().snapshot();
        for held in snapshot.references(mh, REPOSITORIES).take(MAX_LOOKS) {
            let held = held?;
            if is_of_state(held) && shown(held.owner)?.is_some_and(|h| h.content == held.owner) {
                return Ok(Some(Public::Block));
            }
        }
        let cid = Cid::new_v1(ues_data::content_id::RAW, *mh);
        for owner in blob_index::owners(self.around(), &cid).take(MAX_LOOKS) {
            let owner = owner?;
            let ks = &self.around().ks;
            let Some(head) = shown(owner)?.filter(|head| head.owner == owner) else {
                continue;
            };
            let mut refs = ks.blob_refs.prefix(by_blob(head.content, &mh.to_bytes()));
            if refs.next().transpose()?.is_none() {
                continue;
            }
            let meta = ks.blobs.get(meta_key(owner, &cid))?;
            let meta = meta.and_then(|row| BlobMeta::decode(cid, &row));
            if let Some(meta) = meta.filter(|meta| meta.size <= max_blob) {
                return Ok(Some(Public::Blob(owner, meta)));
            }
        }
        Ok(None)
    }

    /// The DID to which a number was given, of a repository or of its content.
    pub(super) fn owner_did(&self, number: u64) -> Result<Option<Did>, RepoError> {
        let did = self.around().ks.owners.get(number.to_be_bytes())?;
        Ok(did.and_then(|did| Did::parse(std::str::from_utf8(&did).ok()?).ok()))
    }

    /// The repository to which a number was given, if it is served.
    fn served(&self, number: u64) -> Result<Option<(Did, Head)>, RepoError> {
        let Some(did) = self.owner_did(number)? else {
            return Ok(None);
        };
        let head = self.head(&did)?;
        let served = head.filter(|head| head.status.is_active());
        Ok(served.map(|head| (did, head)))
    }
}
