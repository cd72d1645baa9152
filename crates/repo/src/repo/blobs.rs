//! Which blobs a repository has, and which records refer to them.
//!
//! A blob is stored once per repository under its multihash. It is temporary until a record refers
//! to it, and goes with the last record that does.

use std::collections::BTreeSet;

use ues_data::Cid;
use ues_storage::{Batch, BlockRef, ObjectId, StorageError};

use crate::blob_store::{BlobReader, BlobStore, BlobStoreError, Content, Place};

use crate::syntax::{Did, Tid};

use super::blob_index;
use super::blob_intake::StoredBlob;
use super::lane::Surroundings;
use super::layout::{Keyspaces, Numbers};
use super::read::damaged;
use super::usage::Usage;
use super::write::WriteError;
use super::{RepoError, Repositories};

/// Marks rows by path in the references.
const BY_PATH: u8 = 1;
/// Marks rows by blob in the references.
const BY_BLOB: u8 = 2;
/// Version of rows of blobs on the disk.
const ON_DISK: u8 = 1;
/// Version of rows of blobs in a bucket.
const IN_BUCKET: u8 = 2;
/// Length of a blob's multihash in keys: SHA-256 with its two bytes of prefix.
pub(super) const HASH_BYTES: usize = 34;

/// What is known of a blob.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct BlobMeta {
    /// Its CID: raw, SHA-256.
    pub cid: Cid,
    /// Bytes.
    pub size: u64,
    /// Media type.
    pub mime: String,
    /// When it was uploaded, milliseconds since 1970.
    pub uploaded_ms: u64,
    /// Where its content is.
    pub place: Place,
    /// Slot under which this upload holds the content; each upload has its own.
    pub slot: u64,
}

impl BlobMeta {
    /// Stored content as it is to be entered.
    pub fn of(stored: &StoredBlob, mime: String, uploaded_ms: u64) -> Self {
        Self {
            cid: stored.cid,
            size: stored.size,
            mime,
            uploaded_ms,
            place: stored.place,
            slot: stored.slot,
        }
    }

    /// Its content, held by the repository of this number.
    #[must_use]
    pub fn content(&self, owner: u64) -> Content {
        let slot = self.slot;
        Content {
            place: self.place,
            holder: BlockRef { owner, slot },
            size: self.size,
        }
    }

    fn encode(&self) -> Vec<u8> {
        let mut out = Vec::with_capacity(57 + self.mime.len());
        out.push(match self.place {
            Place::Disk(_) => ON_DISK,
            Place::Bucket => IN_BUCKET,
        });
        out.extend_from_slice(&self.size.to_be_bytes());
        out.extend_from_slice(&self.uploaded_ms.to_be_bytes());
        out.extend_from_slice(&self.slot.to_be_bytes());
        if let Place::Disk(object) = self.place {
            out.extend_from_slice(&object.0);
        }
        out.extend_from_slice(self.mime.as_bytes());
        out
    }

    /// The size in a row, without the rest.
    pub(super) fn size_of(row: &[u8]) -> Option<u64> {
        let (&[version], rest) = row.split_first_chunk::<1>()?;
        let (size, _) = rest.split_first_chunk::<8>()?;
        matches!(version, ON_DISK | IN_BUCKET).then(|| u64::from_be_bytes(*size))
    }

    pub(super) fn decode(cid: Cid, bytes: &[u8]) -> Option<Self> {
        let (&[version], rest) = bytes.split_first_chunk::<1>()?;
        let (size, rest) = rest.split_first_chunk::<8>()?;
        let (uploaded, rest) = rest.split_first_chunk::<8>()?;
        let (slot, rest) = rest.split_first_chunk::<8>()?;
        let (place, mime) = match version {
            ON_DISK => {
                let (object, mime) = rest.split_first_chunk::<32>()?;
                (Place::Disk(ObjectId(*object)), mime)
            }
            IN_BUCKET => (Place::Bucket, rest),
            _ => return None,
        };
        Some(Self {
            cid,
            size: u64::from_be_bytes(*size),
            uploaded_ms: u64::from_be_bytes(*uploaded),
            slot: u64::from_be_bytes(*slot),
            place,
            mime: std::str::from_utf8(mime).ok()?.to_owned(),
        })
    }
}

pub(super) fn meta_key(owner: u64, cid: &Cid) -> Vec<u8> {
    let mut key = owner.to_be_bytes().to_vec();
    key.extend_from_slice(&cid.hash().to_bytes());
    key
}

pub(super) fn cid_of_hash(hash: &[u8]) -> Option<Cid> {
    let hash = ues_data::Multihash::from_bytes(hash).ok()?;
    Some(Cid::new_v1(ues_data::content_id::RAW, hash))
}

fn by_path(content: u64, path: &str) -> Vec<u8> {
    let mut key = Vec::with_capacity(10 + path.len() + HASH_BYTES);
    key.extend_from_slice(&content.to_be_bytes());
    key.push(BY_PATH);
    key.extend_from_slice(path.as_bytes());
    key.push(0);
    key
}

pub(super) fn by_blob(content: u64, hash: &[u8]) -> Vec<u8> {
    let mut key = Vec::with_capacity(9 + HASH_BYTES + 64);
    key.extend_from_slice(&content.to_be_bytes());
    key.push(BY_BLOB);
    key.extend_from_slice(hash);
    key
}

/// Whether any record of a repository refers to a blob.
pub(super) fn any(ks: &Keyspaces, content: u64) -> Result<bool, StorageError> {
    ks.blob_refs
        .prefix(content.to_be_bytes())
        .next()
        .transpose()
        .map(|row| row.is_some())
}

/// Refuses references to blobs that were never uploaded. With several devices a blob may be on another one as yet: then
/// it is known by a record that refers to it already.
pub(super) fn require(
    around: &Surroundings,
    did: &Did,
    numbers: Numbers,
    blobs: &[Cid],
) -> Result<(), WriteError> {
    let storage = |e: StorageError| WriteError::Storage(e.to_string());
    let Numbers { owner, content } = numbers;
    for cid in blobs {
        let here = around.ks.blobs.contains(meta_key(owner, cid));
        if !here.map_err(storage)? && !is_awaited(around, did, content, cid).map_err(storage)? {
            return Err(WriteError::BlobNotFound(*cid));
        }
    }
    Ok(())
}

/// Whether a blob is known by a record, and on another device as yet.
fn is_awaited(
    around: &Surroundings,
    did: &Did,
    content: u64,
    cid: &Cid,
) -> Result<bool, StorageError> {
    Ok(around.log_of(did).is_some() && around.ks.blobs_missing.contains(meta_key(content, cid))?)
}

/// The reference changes of one commit: what records gain and lose.
#[derive(Default)]
pub(super) struct RefChanges {
    gained: Vec<(String, Vec<u8>)>,
    lost: Vec<(String, Vec<u8>)>,
}

impl RefChanges {
    /// The record at `path` refers to these blobs now.
    pub fn refer(&mut self, path: &str, blobs: &[Cid]) {
        self.gained.extend(
            blobs
                .iter()
                .map(|cid| (path.to_owned(), cid.hash().to_bytes())),
        );
    }

    /// The record at `path` is replaced or gone: what it referred to, it refers to no more.
    pub fn release(
        &mut self,
        around: &Surroundings,
        content: u64,
        path: &str,
    ) -> Result<(), WriteError> {
        let prefix = by_path(content, path);
        for row in around.ks.blob_refs.prefix(&prefix) {
            let (key, _) = row.map_err(|e| WriteError::Storage(e.to_string()))?;
            if let Some(hash) = key.get(prefix.len()..) {
                self.lost.push((path.to_owned(), hash.to_vec()));
            }
        }
        Ok(())
    }

    /// Whether there is nothing to do.
    pub fn is_empty(&self) -> bool {
        self.gained.is_empty() && self.lost.is_empty()
    }

    /// Puts the rows into the batch and removes blobs that nobody refers to any more.
    pub fn write(
        self,
        around: &Surroundings,
        numbers: Numbers,
        rev: &Tid,
        usage: &mut Usage,
        batch: &mut Batch,
    ) -> Result<(), WriteError> {
        let storage = |e: StorageError| WriteError::Storage(e.to_string());
        let Numbers { owner, content } = numbers;
        for (path, hash) in &self.lost {
            let mut key = by_path(content, path);
            key.extend_from_slice(hash);
            batch.delete(&around.ks.blob_refs, key);
            let mut key = by_blob(content, hash);
            key.extend_from_slice(path.as_bytes());
            batch.delete(&around.ks.blob_refs, key);
        }
        for (path, hash) in &self.gained {
            refer(around, numbers, path, hash, rev, batch).map_err(storage)?;
        }
        // A blob that several records of one commit lose goes once.
        let mut lost: BTreeSet<&Vec<u8>> = self.lost.iter().map(|(_, hash)| hash).collect();
        for (_, gained) in &self.gained {
            lost.remove(gained);
        }
        for hash in lost {
            let prefix = by_blob(content, hash);
            let mut kept = false;
            for row in around.ks.blob_refs.prefix(&prefix) {
                let (key, _) = row.map_err(storage)?;
                let path = key.get(prefix.len()..).unwrap_or_default();
                if !self
                    .lost
                    .iter()
                    .any(|(p, h)| h == hash && p.as_bytes() == path)
                {
                    kept = true;
                    break;
                }
            }
            if !kept && let Some(cid) = cid_of_hash(hash) {
                remove(around, owner, &cid, usage, batch).map_err(storage)?;
                blob_index::forgotten(around, content, &cid, batch).map_err(storage)?;
            }
        }
        Ok(())
    }
}

/// Says that the record at a path refers to a blob.
pub(super) fn refer(
    around: &Surroundings,
    numbers: Numbers,
    path: &str,
    hash: &[u8],
    rev: &Tid,
    batch: &mut Batch,
) -> Result<(), StorageError> {
    let mut key = by_path(numbers.content, path);
    key.extend_from_slice(hash);
    batch.put(&around.ks.blob_refs, key, []);
    let mut key = by_blob(numbers.content, hash);
    key.extend_from_slice(path.as_bytes());
    batch.put(&around.ks.blob_refs, key, rev.number().to_be_bytes());
    match cid_of_hash(hash) {
        Some(cid) => blob_index::referred(around, numbers, &cid, batch),
        None => Ok(()),
    }
}

/// Removes a blob's entry; its content is freed when the trash is emptied.
pub(super) fn remove(
    around: &Surroundings,
    owner: u64,
    cid: &Cid,
    usage: &mut Usage,
    batch: &mut Batch,
) -> Result<(), StorageError> {
    let key = meta_key(owner, cid);
    if let Some(bytes) = around.ks.blobs.get(&key)? {
        batch.delete(&around.ks.blobs, key);
        blob_index::removed(around, owner, cid, batch);
        if let Some(meta) = BlobMeta::decode(*cid, &bytes) {
            usage.lose_blob(meta.size);
            discard(around, owner, &meta, batch);
        }
    }
    Ok(())
}

/// Where content is that is to be freed, and whose.
fn read_trash(key: &[u8]) -> Option<(Place, BlockRef)> {
    let (owner, rest) = key.split_first_chunk::<8>()?;
    let (slot, object) = rest.split_first_chunk::<8>()?;
    let place = match object {
        [] => Place::Bucket,
        object => Place::Disk(ObjectId(object.try_into().ok()?)),
    };
    let (owner, slot) = (u64::from_be_bytes(*owner), u64::from_be_bytes(*slot));
    Some((place, BlockRef { owner, slot }))
}

fn discard(around: &Surroundings, owner: u64, meta: &BlobMeta, batch: &mut Batch) {
    let mut key = owner.to_be_bytes().to_vec();
    key.extend_from_slice(&meta.slot.to_be_bytes());
    if let Place::Disk(object) = meta.place {
        key.extend_from_slice(&object.0);
    }
    batch.put(&around.ks.blob_trash, key, []);
}

/// Removes all blobs of a repository and its total. What refers to them is left.
pub(super) fn remove_all(
    around: &Surroundings,
    owner: u64,
    batch: &mut Batch,
) -> Result<(), StorageError> {
    let mut usage = Usage::default();
    for row in around.ks.blobs.prefix(owner.to_be_bytes()) {
        let (key, _) = row?;
        if let Some(cid) = key.get(8..).and_then(cid_of_hash) {
            remove(around, owner, &cid, &mut usage, batch)?;
        }
    }
    batch.delete(&around.ks.usage, owner.to_be_bytes());
    Ok(())
}

impl Repositories {
    /// The holder for a new upload: the content is written under it, then entered with
    /// [`enter_blob`](Self::enter_blob).
    pub fn blob_holder(&self, owner: u64) -> BlockRef {
        BlockRef {
            owner,
            slot: self.around().clock.tick().number(),
        }
    }

    /// Enters an uploaded blob whose content was stored under [`blob_holder`](Self::blob_holder).
    /// An older upload of the same content gives way.
    pub async fn enter_blob(
        &self,
        did: &Did,
        owner: u64,
        meta: &BlobMeta,
    ) -> Result<(), WriteError> {
        let around = self.around();
        let key = meta_key(owner, &meta.cid);
        let storage = |e: StorageError| WriteError::Storage(e.to_string());
        // From the look until the entry is durable nobody may remove the older one, enter another, or count.
        let lane = self.lane(did);
        let mut state = lane.state.lock().await;
        lane.settle().await;
        let mut usage = match state.as_ref() {
            Some(state) => state.usage,
            None => self.load_usage(did).await?,
        };
        let before = around.ks.blobs.get(&key).map_err(storage)?;
        let mut batch = self.store().batch();
        if let Some(before) = before.and_then(|bytes| BlobMeta::decode(meta.cid, &bytes)) {
            usage.lose_blob(before.size);
            discard(around, owner, &before, &mut batch);
        }
        usage.gain_blob(meta.size);
        usage.put(around, owner, &mut batch);
        batch.put(&around.ks.blobs, key, meta.encode());
        let head = self
            .head(did)
            .map_err(|e| WriteError::Storage(e.to_string()))?;
        let head = head.filter(|head| head.owner == owner);
        let numbers = head.map_or(Numbers::same(owner), |head| head.numbers());
        blob_index::entered(around, numbers, &meta.cid, &mut batch);
        if let (Place::Bucket, Some(bucket)) = (meta.place, around.content.bucket()) {
            bucket.entered(meta.content(owner).holder, &mut batch);
        }
        let entered = self.store().commit(batch).await;
        entered.map_err(|e| WriteError::Storage(e.to_string()))?;
        if let Some(state) = state.as_mut() {
            state.usage = usage;
        }
        drop(state);
        if let (Place::Bucket, Some(bucket)) = (meta.place, around.content.bucket()) {
            bucket.settled(meta.content(owner).holder);
        }
        Ok(())
    }

    /// The content of a blob from an offset on; `None` when it is not there. Blocks.
    ///
    /// # Errors
    /// [`BlobStoreError`].
    pub fn open_blob(
        &self,
        owner: u64,
        meta: &BlobMeta,
        offset: u64,
    ) -> Result<Option<Box<dyn BlobReader>>, BlobStoreError> {
        self.around().content.open(&meta.content(owner), offset)
    }

    /// Frees content that was stored for this repository and is not let in as a blob. Blocks.
    ///
    /// # Errors
    /// [`BlobStoreError`]; what is in a bucket is freed later then.
    pub fn discard_blob(&self, owner: u64, stored: &StoredBlob) -> Result<(), BlobStoreError> {
        let slot = stored.slot;
        let holder = BlockRef { owner, slot };
        let deleted = self.around().content.delete(stored.place, holder);
        if let (Err(_), Some(bucket)) = (&deleted, self.around().content.bucket()) {
            bucket.settled(holder);
        }
        deleted
    }

    /// Frees the content of removed blobs, and what uploads have left with which nobody goes on; gives how many. Blocks on
    /// the disk, and on the service that a bucket is of.
    ///
    /// # Errors
    /// [`BlobStoreError`]. What could not be freed is tried again the next time; all the rest is freed.
    pub fn empty_blob_trash(&self) -> Result<usize, BlobStoreError> {
        let around = self.around();
        let (mut freed, mut failed) = (0, None);
        for row in around.ks.blob_trash.prefix([]) {
            let (key, _) = row?;
            if let Some((place, holder)) = read_trash(&key) {
                // When the service is down it need not be asked for each object.
                if place == Place::Bucket && failed.is_some() {
                    continue;
                }
                if let Err(error) = around.content.delete(place, holder) {
                    failed = Some(error);
                    continue;
                }
            }
            let mut batch = around.store.batch();
            batch.delete(&around.ks.blob_trash, &key);
            around
                .store
                .commit_blocking(batch)
                .map_err(StorageError::from)?;
            freed += 1;
        }
        match (failed, around.content.bucket()) {
            (Some(error), _) => Err(error),
            (None, Some(bucket)) => Ok(freed + bucket.release_abandoned()?),
            (None, None) => Ok(freed),
        }
    }

    /// A blob of a repository.
    pub fn blob(&self, did: &Did, cid: &Cid) -> Result<Option<BlobMeta>, RepoError> {
        let Some(head) = self.head(did)? else {
            return Ok(None);
        };
        match self.around().ks.blobs.get(meta_key(head.owner, cid))? {
            Some(bytes) => BlobMeta::decode(*cid, &bytes)
                .map(Some)
                .ok_or_else(|| damaged(did, &format!("the entry of blob {cid}"))),
            None => Ok(None),
        }
    }

    /// Whether a blob is on another device of a shared repository as yet, and a record refers to it: then others may.
    pub fn is_blob_awaited(&self, did: &Did, cid: &Cid) -> Result<bool, RepoError> {
        match self.head(did)? {
            Some(head) => Ok(is_awaited(self.around(), did, head.content, cid)?),
            None => Ok(false),
        }
    }

    /// Whether a record of the repository refers to a blob.
    pub fn is_blob_in_use(&self, did: &Did, cid: &Cid) -> Result<bool, RepoError> {
        let Some(head) = self.head(did)? else {
            return Ok(false);
        };
        let prefix = by_blob(head.content, &cid.hash().to_bytes());
        let mut rows = self.around().ks.blob_refs.prefix(prefix);
        if rows.next().transpose()?.is_some() {
            return Ok(true);
        }
        // An import may have brought another content since the head was read.
        match self.head(did)? {
            Some(now) if now.content != head.content => self.is_blob_in_use(did, cid),
            _ => Ok(false),
        }
    }
}
