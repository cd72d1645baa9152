//! Two indexes over the blobs of all repositories: who has a blob, and which blobs are referred to and not here.
//!
//! Both follow from the rows of blobs and of references, are written in the same batches, and are made once in a store
//! that an older version wrote.

use std::ops::Bound;

use ues_data::Cid;
use ues_storage::{Batch, StorageError, Store};

use super::blobs::{HASH_BYTES, cid_of_hash, meta_key};
use super::lane::Surroundings;
use super::layout::{Keyspaces, Numbers};
use super::read::RepoView;

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
pub(super) fn entered(around: &Surroundings, numbers: Numbers, cid: &Cid, batch: &mut Batch) {
    batch.put(&around.ks.blob_owners, owner_key(cid, numbers.owner), []);
    batch.delete(&around.ks.blobs_missing, meta_key(numbers.content, cid));
}

/// A blob is here no more.
pub(super) fn removed(around: &Surroundings, owner: u64, cid: &Cid, batch: &mut Batch) {
    batch.delete(&around.ks.blob_owners, owner_key(cid, owner));
}

/// A record refers to a blob.
pub(super) fn referred(
    around: &Surroundings,
    numbers: Numbers,
    cid: &Cid,
    batch: &mut Batch,
) -> Result<(), StorageError> {
    if !around.ks.blobs.contains(meta_key(numbers.owner, cid))? {
        let key = meta_key(numbers.content, cid);
        batch.put(&around.ks.blobs_missing, key, []);
    }
    Ok(())
}

/// No record refers to a blob any more.
pub(super) fn forgotten(
    around: &Surroundings,
    content: u64,
    cid: &Cid,
    batch: &mut Batch,
) -> Result<(), StorageError> {
    let key = meta_key(content, cid);
    if around.ks.blobs_missing.contains(&key)? {
        batch.delete(&around.ks.blobs_missing, key);
    }
    Ok(())
}

/// The blobs of a repository that are referred to and not here, in the order of their hashes, after a CID.
pub(super) fn missing(
    around: &Surroundings,
    view: &RepoView,
    after: Option<&Cid>,
) -> impl Iterator<Item = Result<Cid, StorageError>> + use<> {
    let Numbers { owner, content } = view.head.numbers();
    let from = match after {
        Some(cid) => Bound::Excluded(meta_key(content, cid)),
        None => Bound::Included(content.to_be_bytes().to_vec()),
    };
    let to = Bound::Excluded(content.saturating_add(1).to_be_bytes().to_vec());
    let (snapshot, blobs) = (view.snapshot.clone(), around.ks.blobs.clone());
    let rows = snapshot.range::<Vec<u8>>(&around.ks.blobs_missing, (from, to));
    rows.filter_map(move |row| {
        let key = match row {
            Ok((key, _)) => key,
            Err(e) => return Some(Err(e)),
        };
        let cid = key.get(8..).and_then(cid_of_hash)?;
        // An entry that was on its way when the reference was written has left the row behind.
        match snapshot.contains(&blobs, meta_key(owner, &cid)) {
            Ok(true) => None,
            Ok(false) => Some(Ok(cid)),
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
