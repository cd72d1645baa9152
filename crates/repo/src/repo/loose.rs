//! Content that no head names: what a repository had before an import or its deletion, and what an import that did not
//! come to its end has stored. It is freed in slices; a row leads to it until the last of it is gone.

use ues_data::Cid;
use ues_storage::{Batch, StorageError};

use crate::syntax::Did;

use super::Repositories;
use super::blobs::{self, BlobMeta, by_blob, cid_of_hash};
use super::lane::Surroundings;
use super::layout::{Head, Status, cid_from_digest, node_ref, read_record_value, record_ref};
use super::mirror::links::links;
use super::write::WriteError;

/// Rows that one batch frees.
const SLICE: usize = 4096;
/// Kind of row of content that is being written.
const UNFINISHED: u8 = 1;
/// Kind of row of content that was a repository's.
const REPLACED: u8 = 2;

/// The row of some content.
pub(super) struct Loose {
    pub did: Did,
    /// Root of its tree, of which an unfinished content has a part.
    pub data: Cid,
    /// Its commit, and when it was replaced (milliseconds since 1970); `None` if it is unfinished.
    pub replaced: Option<(Cid, u64)>,
}

impl Loose {
    /// The content of a head that gives way to another at this time.
    pub fn replaced(did: &Did, head: &Head, now_ms: u64) -> Self {
        Self {
            did: did.clone(),
            data: head.data,
            replaced: Some((head.commit, now_ms)),
        }
    }

    /// The stored bytes: kind, digest of the root, of replaced content digest of the commit and time, DID.
    pub fn encode(&self) -> Vec<u8> {
        let mut out = Vec::with_capacity(73 + self.did.as_str().len());
        out.push(match self.replaced {
            None => UNFINISHED,
            Some(_) => REPLACED,
        });
        out.extend_from_slice(self.data.hash().digest());
        if let Some((commit, at)) = &self.replaced {
            out.extend_from_slice(commit.hash().digest());
            out.extend_from_slice(&at.to_be_bytes());
        }
        out.extend_from_slice(self.did.as_str().as_bytes());
        out
    }

    fn decode(row: &[u8]) -> Option<Self> {
        let (&[kind], rest) = row.split_first_chunk::<1>()?;
        let (data, rest) = rest.split_at_checked(32)?;
        let (replaced, did) = match kind {
            UNFINISHED => (None, rest),
            REPLACED => {
                let (commit, rest) = rest.split_at_checked(32)?;
                let (at, did) = rest.split_first_chunk::<8>()?;
                (
                    Some((cid_from_digest(commit)?, u64::from_be_bytes(*at))),
                    did,
                )
            }
            _ => return None,
        };
        Some(Self {
            did: Did::parse(std::str::from_utf8(did).ok()?).ok()?,
            data: cid_from_digest(data)?,
            replaced,
        })
    }
}

impl Repositories {
    /// Frees what a process before this one has left: imports that it did not end, and content that it had replaced and
    /// not freed yet. Gives how many there were.
    ///
    /// # Errors
    /// When the store fails; what is left is freed by the next call.
    pub async fn free_left_content(&self) -> Result<usize, WriteError> {
        let mut left = Vec::new();
        for row in self.around().ks.loose.prefix([]) {
            let (key, _) = row.map_err(storage)?;
            let number = key.as_ref().try_into().map(u64::from_be_bytes);
            left.extend(number.ok().filter(|number| self.is_older(*number)));
        }
        for number in &left {
            self.free_content(*number).await?;
        }
        Ok(left.len())
    }

    /// [`free_content`](Self::free_content), or else the next start does it.
    pub(super) async fn free_now(&self, number: u64) {
        if let Err(cause) = self.free_content(number).await {
            tracing::warn!(number, %cause, "what no repository has any more is left to the next start");
        }
    }

    /// Frees content to which a row leads, with the blobs that only it refers to; nothing if there is none.
    pub(super) async fn free_content(&self, number: u64) -> Result<(), WriteError> {
        let row = self.around().ks.loose.get(number.to_be_bytes());
        let Some(row) = row.map_err(storage)? else {
            return Ok(());
        };
        let loose = Loose::decode(&row);
        let loose = loose.ok_or_else(|| WriteError::Storage("a row of loose content".into()))?;
        if let Some((_, at_ms)) = loose.replaced {
            self.free_blobs(&loose.did, number, at_ms).await?;
        }
        let around = self.around().clone();
        tokio::task::spawn_blocking(move || erase(&around, number, &loose))
            .await
            .map_err(|e| WriteError::Storage(e.to_string()))?
    }

    /// Removes the blobs to which nothing but replaced content refers. What was uploaded since then is left.
    async fn free_blobs(&self, did: &Did, number: u64, at_ms: u64) -> Result<(), WriteError> {
        let around = self.around();
        let refs = || around.ks.blob_refs.prefix(by_blob(number, &[]));
        loop {
            let head = self
                .head(did)
                .map_err(|e| WriteError::Storage(e.to_string()))?;
            let alive = head.is_some_and(|head| head.status != Status::Deleted);
            if !alive || refs().next().is_none() {
                return Ok(());
            }
            let slice = |batch: &mut Batch, owner, content, usage: &mut _| {
                let mut seen = Vec::new();
                for row in refs().take(SLICE) {
                    let (key, _) = row?;
                    batch.delete(&around.ks.blob_refs, &key);
                    let hash = key.get(9..9 + blobs::HASH_BYTES).unwrap_or_default();
                    if seen == hash {
                        continue;
                    }
                    seen = hash.to_vec();
                    let Some(cid) = cid_of_hash(hash) else {
                        continue;
                    };
                    let entry = around.ks.blobs.get(blobs::meta_key(owner, &cid))?;
                    let entry = entry.and_then(|entry| BlobMeta::decode(cid, &entry));
                    let kept = around.ks.blob_refs.prefix(by_blob(content, hash)).next();
                    if kept.transpose()?.is_none()
                        && entry.is_some_and(|entry| entry.uploaded_ms < at_ms)
                    {
                        blobs::remove(around, owner, &cid, usage, batch)?;
                    }
                }
                Ok(())
            };
            self.exclusive(
                did,
                |state, batch| {
                    let (owner, content) = (state.head.owner, state.head.content);
                    slice(batch, owner, content, &mut state.usage).map_err(storage)?;
                    state.usage.put(around, owner, batch);
                    Ok(())
                },
                self.store().batch(),
            )
            .await?;
        }
    }
}

/// Frees all under a number but the blobs. What a crash interrupts is begun again. Blocks on the disk.
fn erase(around: &Surroundings, number: u64, loose: &Loose) -> Result<(), WriteError> {
    let mut slices = Slices {
        around,
        batch: around.store.batch(),
    };
    // Nodes before those that link to them: what is left after a crash can still be found.
    for digest in nodes(around, number, loose).map_err(storage)?.iter().rev() {
        if let Some(cid) = cid_from_digest(digest) {
            slices.batch.release_block(cid.hash(), node_ref(number));
            slices.keep_small()?;
        }
    }
    if let Some((commit, _)) = &loose.replaced {
        slices.batch.release_block(commit.hash(), node_ref(number));
    }
    for row in around.ks.records.in_pages(number.to_be_bytes()) {
        let (key, value) = row.map_err(storage)?;
        slices.batch.delete(&around.ks.records, &key);
        let path = key.get(8..).and_then(|k| std::str::from_utf8(k).ok());
        if let (Some(path), Some((cid, _))) = (path, read_record_value(&value)) {
            let held = record_ref(number, path);
            slices.batch.release_block(cid.hash(), held);
        }
        slices.keep_small()?;
    }
    let ks = &around.ks;
    for rows in [&ks.blob_refs, &ks.blobs_missing, &ks.subjects] {
        for row in rows.in_pages(number.to_be_bytes()) {
            slices.batch.delete(rows, row.map_err(storage)?.0);
            slices.keep_small()?;
        }
    }
    slices.batch.delete(&ks.loose, number.to_be_bytes());
    slices.write()
}

/// The digests of the nodes of a tree, each after those that link to it. Of unfinished content only what it holds itself:
/// below that may be what others hold.
fn nodes(around: &Surroundings, number: u64, loose: &Loose) -> Result<Vec<[u8; 32]>, StorageError> {
    let mut snapshot = around.store.snapshot();
    let digest = |cid: &Cid| <[u8; 32]>::try_from(cid.hash().digest()).ok();
    let mut found: Vec<[u8; 32]> = digest(&loose.data).into_iter().collect();
    let mut at = 0;
    while let Some(cid) = found.get(at).and_then(|digest| cid_from_digest(digest)) {
        at += 1;
        if at % SLICE == 0 {
            // One that is held for long keeps what is written meanwhile in memory.
            snapshot = around.store.snapshot();
        }
        let held =
            loose.replaced.is_some() || snapshot.ref_mark(cid.hash(), node_ref(number))?.is_some();
        if !held {
            continue;
        }
        let block = snapshot.block(cid.hash())?;
        if let Some(links) = block.and_then(|block| links(&block)) {
            found.extend(links.nodes.iter().filter_map(digest));
        }
    }
    Ok(found)
}

/// Batches of bounded size.
struct Slices<'a> {
    around: &'a Surroundings,
    batch: Batch,
}

impl Slices<'_> {
    fn keep_small(&mut self) -> Result<(), WriteError> {
        match self.batch.len() < SLICE {
            true => Ok(()),
            false => self.write(),
        }
    }

    fn write(&mut self) -> Result<(), WriteError> {
        let store = &self.around.store;
        let full = std::mem::replace(&mut self.batch, store.batch());
        let written = store.commit_blocking(full);
        written
            .map(drop)
            .map_err(|e| WriteError::Storage(e.to_string()))
    }
}

fn storage(e: StorageError) -> WriteError {
    WriteError::Storage(e.to_string())
}
