//! Two indexes over the blobs of all repositories: who has a blob, and which blobs are referred to and not here.
//!
//! Both follow from the rows of blobs and of references, are written in the same batches, and are made once in a store
//! that an older version wrote.

use std::ops::Bound;

use ues_data::Cid;
use ues_storage::{Batch, StorageError, Store};

use super::blobs::{HASH_BYTES, cid_of_hash, meta_key};
use super::lane::Surroundings;
use super::layout::Keyspaces;

/// Says in `repo_blob_owners` that the indexes are there. No multihash is so short.
const MARKER: &[u8] = &[0];
const VERSION: u8 = 1;
/// Rows of one batch when the indexes are made.
const BUILD_SLICE: usize = 4096;
/// Marks rows by blob in the references.
const BY_BLOB: u8 = 2;

fn owner_key(cid: &Cid, owner: u64) -> Vec<u8> {
    let mut key = cid.hash().to_bytes();
    key.extend_from_slice(&owner.to_be_bytes());
    key
}

/// A blob is here now.
pub(super) fn entered(around: &Surroundings, owner: u64, cid: &Cid, batch: &mut Batch) {
    batch.put(&around.ks.blob_owners, owner_key(cid, owner), []);
    batch.delete(&around.ks.blobs_missing, meta_key(owner, cid));
}

/// A blob is here no more.
pub(super) fn removed(around: &Surroundings, owner: u64, cid: &Cid, batch: &mut Batch) {
    batch.delete(&around.ks.blob_owners, owner_key(cid, owner));
}

/// A record refers to a blob.
pub(super) fn referred(
    around: &Surroundings,
    owner: u64,
    cid: &Cid,
    batch: &mut Batch,
) -> Result<(), StorageError> {
    let key = meta_key(owner, cid);
    if !around.ks.blobs.contains(&key)? {
        batch.put(&around.ks.blobs_missing, key, []);
    }
    Ok(())
}

/// No record refers to a blob any more.
pub(super) fn forgotten(
    around: &Surroundings,
    owner: u64,
    cid: &Cid,
    batch: &mut Batch,
) -> Result<(), StorageError> {
    let key = meta_key(owner, cid);
    if around.ks.blobs_missing.contains(&key)? {
        batch.delete(&around.ks.blobs_missing, key);
    }
    Ok(())
}

/// A repository is gone.
pub(super) fn remove_all(
    around: &Surroundings,
    owner: u64,
    batch: &mut Batch,
) -> Result<(), StorageError> {
    for row in around.ks.blobs_missing.prefix(owner.to_be_bytes()) {
        batch.delete(&around.ks.blobs_missing, row?.0);
    }
    Ok(())
}

/// The blobs of a repository that are referred to and not here, in the order of their hashes, after a CID.
pub(super) fn missing(
    around: &Surroundings,
    owner: u64,
    after: Option<&Cid>,
) -> impl Iterator<Item = Result<Cid, StorageError>> + use<> {
    let from = match after {
        Some(cid) => Bound::Excluded(meta_key(owner, cid)),
        None => Bound::Included(owner.to_be_bytes().to_vec()),
    };
    let to = Bound::Excluded(owner.saturating_add(1).to_be_bytes().to_vec());
    let rows = around.ks.blobs_missing.range::<Vec<u8>>((from, to));
    let blobs = around.ks.blobs.clone();
    rows.filter_map(move |row| {
        let key = match row {
            Ok((key, _)) => key,
            Err(e) => return Some(Err(e)),
        };
        // An entry that was on its way when the reference was written has left the row behind.
        match blobs.contains(&key) {
            Ok(true) => None,
            Ok(false) => key.get(8..).and_then(cid_of_hash).map(Ok),
            Err(e) => Some(Err(e)),
        }
    })
}

/// The numbers of the repositories that have a blob.
pub(super) fn owners(
    around: &Surroundings,
    cid: &Cid,
) -> impl Iterator<Item = Result<u64, StorageError>> + use<> {
    let rows = around.ks.blob_owners.prefix(cid.hash().to_bytes());
    rows.filter_map(|row| match row {
        Ok((key, _)) => {
            let owner = key.get(HASH_BYTES..)?.try_into().ok()?;
            Some(Ok(u64::from_be_bytes(owner)))
        }
        Err(e) => Some(Err(e)),
    })
}

/// Makes the indexes unless they are there. Blocks on the disk.
pub(super) fn build(store: &Store, ks: &Keyspaces) -> Result<(), StorageError> {
    if ks
        .blob_owners
        .get(MARKER)?
        .is_some_and(|row| row[..] == [VERSION])
    {
        return Ok(());
    }
    let mut batch = store.batch();
    for row in ks.blobs.prefix([]) {
        let (key, _) = row?;
        if let Some((owner, hash)) = key.split_first_chunk::<8>() {
            batch.put(&ks.blob_owners, [hash, owner].concat(), []);
        }
        keep_small(store, &mut batch)?;
    }
    for row in ks.blob_refs.prefix([]) {
        let (key, _) = row?;
        let Some((owner, &[BY_BLOB, ref rest @ ..])) = key.split_first_chunk::<8>() else {
            continue;
        };
        if let Some(hash) = rest.get(..HASH_BYTES) {
            let key = [owner, hash].concat();
            if !ks.blobs.contains(&key)? {
                batch.put(&ks.blobs_missing, key, []);
            }
        }
        keep_small(store, &mut batch)?;
    }
    batch.put(&ks.blob_owners, MARKER, [VERSION]);
    store.commit_blocking(batch)?;
    Ok(())
}

fn keep_small(store: &Store, batch: &mut Batch) -> Result<(), StorageError> {
    if batch.len() >= BUILD_SLICE {
        store.commit_blocking(std::mem::replace(batch, store.batch()))?;
    }
    Ok(())
}
