//! Large objects: content-defined chunks, stored as blocks, streamed in and out.
//!
//! An object is known by the BLAKE3 hash of its content. [FastCDC](https://docs.rs/fastcdc) cuts it where the
//! content says so, so that two versions of a file share most chunks. Each holder of an object has a row of its own
//! with references to all chunks; the space is free when the last holder is gone. What a writer has stored when the
//! process dies is released at the next opening.

mod reader;
mod rows;
mod writer;

use std::ops::Bound;
use std::sync::Arc;

use crate::batch::Batch;
use crate::block::BlockRef;
use crate::engine::Reads;
use crate::error::StorageError;
use crate::format::{ks, prefix_end};
use crate::store::Shared;

pub use self::reader::ObjectReader;
pub(crate) use self::rows::{Holder, parse_segment, segment_prefix};
use self::rows::{holder_key, upload_key};
pub use self::writer::ObjectWriter;

/// The BLAKE3 hash of an object's content.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct ObjectId(pub [u8; 32]);

/// Why an object could not be written.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ObjectError {
    /// The store failed.
    #[error(transparent)]
    Storage(#[from] StorageError),
    /// The source of the content failed.
    #[error("the content could not be read: {0}")]
    Source(#[from] std::io::Error),
}

/// The large objects of a store.
#[derive(Clone)]
pub struct Objects {
    shared: Arc<Shared>,
}

impl Objects {
    pub(crate) fn new(shared: Arc<Shared>) -> Self {
        Self { shared }
    }

    /// Begins an object that `holder` will keep. Nothing is visible until [`ObjectWriter::finish`].
    pub fn writer(&self, holder: BlockRef) -> ObjectWriter {
        ObjectWriter::new(Arc::clone(&self.shared), holder)
    }

    /// Stores all that a source has; its id and its length.
    ///
    /// # Errors
    ///
    /// When the source or the store fails; nothing is kept then.
    pub fn put(
        &self,
        holder: BlockRef,
        source: &mut dyn std::io::Read,
    ) -> Result<(ObjectId, u64), ObjectError> {
        let mut writer = self.writer(holder);
        let mut buf = vec![0; 64 << 10];
        loop {
            match source.read(&mut buf) {
                Ok(0) => return writer.finish(),
                Ok(n) => writer.push(buf.get(..n).unwrap_or_default())?,
                Err(e) if e.kind() == std::io::ErrorKind::Interrupted => {}
                Err(e) => return Err(e.into()),
            }
        }
    }

    /// A reader at the beginning of an object; `None` when nobody holds it.
    ///
    /// # Errors
    ///
    /// When the store cannot be read.
    pub fn open(&self, id: &ObjectId) -> Result<Option<ObjectReader>, StorageError> {
        let reads = self.shared.view();
        Ok(rows::first_holder(&*reads, id)?.map(|holder| ObjectReader::new(reads, holder)))
    }

    /// Whether anybody holds an object.
    ///
    /// # Errors
    ///
    /// When the store cannot be read.
    pub fn contains(&self, id: &ObjectId) -> Result<bool, StorageError> {
        Ok(rows::first_holder(&*self.shared.engine, id)?.is_some())
    }

    /// Lets a holder give an object up; tells whether it held it. Blocks until that is durable. The chunks are freed
    /// by the collector when nobody else needs them.
    ///
    /// # Errors
    ///
    /// When the store fails.
    pub fn delete(&self, id: &ObjectId, holder: BlockRef) -> Result<bool, StorageError> {
        let key = holder_key(id, holder);
        let Some(row) = self.shared.engine.get(ks::OBJECTS, &key)? else {
            return Ok(false);
        };
        let found = Holder::parse(&row)?;
        // Without the row first nobody begins to read; a crash in between leaves an upload to release.
        let mut batch = Batch::new();
        batch.delete_row(ks::OBJECTS, &key);
        batch.put_row(
            ks::OBJECTS,
            &upload_key(found.upload),
            &holder.owner.to_be_bytes(),
        );
        self.shared.queue.submit(batch)?.wait()?;
        release(&self.shared, found.upload, holder.owner)?;
        Ok(true)
    }
}

impl std::fmt::Debug for Objects {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Objects").finish_non_exhaustive()
    }
}

/// Releases all chunks of an upload and removes its rows.
fn release(shared: &Shared, upload: u64, owner: u64) -> Result<(), StorageError> {
    let prefix = segment_prefix(upload);
    let end = prefix_end(&prefix);
    let to = end.as_deref().map_or(Bound::Unbounded, Bound::Excluded);
    for row in shared
        .engine
        .snapshot()
        .scan(ks::OBJECTS, Bound::Included(&prefix), to)
    {
        let (key, value) = row?;
        let mut batch = Batch::new();
        for entry in parse_segment(&value)? {
            batch.release_block(
                &entry.multihash(),
                BlockRef {
                    owner,
                    slot: upload,
                },
            );
        }
        batch.delete_row(ks::OBJECTS, &key);
        shared.queue.submit(batch)?.wait()?;
    }
    let mut batch = Batch::new();
    batch.delete_row(ks::OBJECTS, &upload_key(upload));
    shared.queue.submit(batch)?.wait()?;
    Ok(())
}

/// Releases what unfinished writers of an earlier run have left.
pub(crate) fn release_unfinished(shared: &Shared) -> Result<u64, StorageError> {
    let mut count = 0;
    for (upload, owner) in rows::uploads(&*shared.engine as &dyn Reads)? {
        release(shared, upload, owner)?;
        count += 1;
    }
    Ok(count)
}
