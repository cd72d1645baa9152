//! Freeing what was uploaded and that no record ever referred to.

use std::collections::BTreeSet;

use ues_storage::StorageError;

use crate::syntax::Did;

use super::blobs::{BlobMeta, by_blob, cid_of_hash, remove};
use super::layout::Status;
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
        let mut owners = BTreeSet::new();
        let start = after.map_or(0, |owner| owner.saturating_add(1));
        for row in ks.blobs.range(start.to_be_bytes()..) {
            let (key, value) = row?;
            let Some((owner, hash)) = key.split_first_chunk::<8>() else {
                continue;
            };
            let owner = u64::from_be_bytes(*owner);
            if owners.contains(&owner) {
                continue;
            }
            if owners.len() == ROUND {
                break;
            }
            if self.is_abandoned(owner, hash, &value, before_ms)? {
                owners.insert(owner);
            }
        }
        let mut found = Vec::new();
        for &owner in &owners {
            let did = ks.owners.get(owner.to_be_bytes())?;
            let did = did.and_then(|did| Did::parse(std::str::from_utf8(&did).ok()?).ok());
            if let Some(did) = did
                && self
                    .head(&did)?
                    .is_some_and(|h| h.owner == owner && h.status != Status::Deleted)
            {
                found.push(did);
            }
        }
        Ok((found, owners.last().copied()))
    }

    fn is_abandoned(
        &self,
        owner: u64,
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
        let mut refs = self.around().ks.blob_refs.prefix(by_blob(owner, hash));
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
                            .is_abandoned(owner, hash, &entry, before_ms)
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
