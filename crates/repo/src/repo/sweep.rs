//! Freeing what was uploaded and that no record ever referred to.

use ues_storage::StorageError;

use crate::syntax::Did;

use super::blobs::{BlobMeta, by_blob, cid_of_hash, remove};
use super::layout::{Numbers, Status};
use super::write::WriteError;
use super::{RepoError, Repositories};

/// Repositories of one round of a sweep.
const ROUND: usize = 1000;
/// Blobs that one batch removes.
const SLICE: usize = 4096;

impl Repositories {
    /// Removes the blobs of all repositories that were uploaded before `before_ms` (milliseconds
    /// since 1970) and that no record refers to; gives how many.
    ///
    /// A repository that cannot be swept is left, and said in the log.
    ///
    /// # Errors
    /// When the store cannot be read.
    pub async fn sweep_all_blobs(&self, before_ms: u64) -> Result<usize, WriteError> {
        let failed = |e: &dyn std::fmt::Display| WriteError::Storage(e.to_string());
        let mut swept = 0;
        let mut after = None;
        loop {
            let this = self.clone();
            let found = tokio::task::spawn_blocking(move || this.to_sweep(after, before_ms));
            let found = found.await.map_err(|e| failed(&e))?;
            let (dids, last) = found.map_err(|e| failed(&e))?;
            let Some(last) = last else {
                return Ok(swept);
            };
            after = Some(last);
            for did in &dids {
                match self.sweep_blobs(did, before_ms).await {
                    Ok(count) => swept += count,
                    Err(cause) => tracing::warn!(%did, %cause, "its blobs cannot be swept"),
                }
            }
        }
    }

    /// The next repositories, after one, that have something to sweep, and the last one looked at.
    fn to_sweep(
        &self,
        after: Option<u64>,
        before_ms: u64,
    ) -> Result<(Vec<Did>, Option<u64>), RepoError> {
        let ks = &self.around().ks;
        let (mut found, mut last) = (Vec::new(), None);
        let start = after.map_or(0, |owner| owner.saturating_add(1));
        // The owner of the row before, and its repository while nothing to sweep was found in it.
        let (mut of, mut open) = (None, None);
        for row in ks.blobs.range(start.to_be_bytes()..) {
            let (key, value) = row?;
            let Some((owner, hash)) = key.split_first_chunk::<8>() else {
                continue;
            };
            let owner = u64::from_be_bytes(*owner);
            if of != Some(owner) {
                if found.len() == ROUND {
                    break;
                }
                (of, last) = (Some(owner), Some(owner));
                open = self.repository_of(owner)?;
            }
            if let Some((did, numbers)) = open.take() {
                match self.is_abandoned(numbers, hash, &value, before_ms)? {
                    true => found.push(did),
                    false => open = Some((did, numbers)),
                }
            }
        }
        Ok((found, last))
    }

    /// The repository that has a number, unless it was deleted.
    fn repository_of(&self, owner: u64) -> Result<Option<(Did, Numbers)>, RepoError> {
        let Some(did) = self.owner_did(owner)? else {
            return Ok(None);
        };
        let head = self.head(&did)?;
        let head = head.filter(|h| h.owner == owner && h.status != Status::Deleted);
        Ok(head.map(|head| (did, head.numbers())))
    }

    fn is_abandoned(
        &self,
        numbers: Numbers,
        hash: &[u8],
        entry: &[u8],
        before_ms: u64,
    ) -> Result<bool, StorageError> {
        let Some(cid) = cid_of_hash(hash) else {
            return Ok(false);
        };
        if BlobMeta::decode(cid, entry).is_some_and(|meta| meta.uploaded_ms >= before_ms) {
            return Ok(false);
        }
        let mut refs = self
            .around()
            .ks
            .blob_refs
            .prefix(by_blob(numbers.content, hash));
        Ok(refs.next().transpose()?.is_none())
    }

    /// Removes the blobs of one repository that were uploaded before `before_ms` and that no record
    /// refers to; gives how many.
    pub async fn sweep_blobs(&self, did: &Did, before_ms: u64) -> Result<usize, WriteError> {
        let mut swept = 0;
        loop {
            let slice = self.sweep_slice(did, before_ms).await?;
            swept += slice;
            if slice < SLICE {
                return Ok(swept);
            }
        }
    }

    async fn sweep_slice(&self, did: &Did, before_ms: u64) -> Result<usize, WriteError> {
        let storage = |e: StorageError| WriteError::Storage(e.to_string());
        let around = self.around();
        let mut swept = 0;
        self.exclusive(
            did,
            |state, batch| {
                let owner = state.head.owner;
                let usage = &mut state.usage;
                for row in around.ks.blobs.prefix(owner.to_be_bytes()) {
                    let (key, entry) = row.map_err(storage)?;
                    let hash = key.get(8..).unwrap_or_default();
                    if let Some(cid) = cid_of_hash(hash)
                        && self
                            .is_abandoned(state.head.numbers(), hash, &entry, before_ms)
                            .map_err(storage)?
                    {
                        remove(around, owner, &cid, usage, batch).map_err(storage)?;
                        swept += 1;
                    }
                    if swept == SLICE {
                        break;
                    }
                }
                if swept > 0 {
                    usage.put(around, owner, batch);
                }
                Ok(())
            },
            self.store().batch(),
        )
        .await?;
        Ok(swept)
    }
}
