//! Where the content of blobs lies: among the store's large objects, or in a bucket of an S3 service.
//!
//! Both keep content for a holder, the upload that brought it, until it is deleted for that holder. Everything here blocks and
//! belongs on a thread that may.

mod disk;
mod options;
mod s3;
mod uploads;
mod writer;

use std::sync::Arc;

use bytes::Bytes;
use ues_storage::{BlockRef, ObjectId, StorageError, Store};

pub use self::disk::DiskBlobs;
pub use self::options::{S3Options, S3OptionsError};
pub use self::s3::{Bucket, S3Blobs};

/// Where some content is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Place {
    /// Among the store's large objects.
    Disk(ObjectId),
    /// In the bucket, under the numbers of its holder.
    Bucket,
}

/// Content that is stored.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Content {
    /// Where.
    pub place: Place,
    /// For whom.
    pub holder: BlockRef,
    /// Bytes.
    pub size: u64,
}

/// Why content cannot be stored, read or deleted.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum BlobStoreError {
    /// The node's own store failed.
    #[error(transparent)]
    Storage(#[from] StorageError),
    /// The S3 service cannot be reached, or fails. Later it may not.
    #[error("the bucket {bucket} does not answer as it should: {reason}")]
    Unavailable {
        /// Whose.
        bucket: String,
        /// What happened, after some attempts.
        reason: String,
    },
    /// The S3 service does not let the node in.
    #[error("the bucket {bucket} refuses the node: {reason}")]
    Refused {
        /// Whose.
        bucket: String,
        /// What it says.
        reason: String,
    },
    /// Content that should be there is not, or is of another length.
    #[error("the content of a blob is damaged: {0}")]
    Damaged(String),
    /// Content is in a bucket, and the configuration names none.
    #[error("the content is in an S3 bucket, and blobs.backend is not \"s3\"")]
    NoBucket,
}

/// A place for the content of blobs.
pub trait BlobStore: Send + Sync {
    /// Begins content that `holder` will keep. Nothing of it is there before [`BlobWriter::finish`].
    fn writer(&self, holder: BlockRef) -> Box<dyn BlobWriter>;

    /// Content from an offset on; `None` when it is not there.
    ///
    /// # Errors
    /// [`BlobStoreError`].
    fn open(
        &self,
        content: &Content,
        offset: u64,
    ) -> Result<Option<Box<dyn BlobReader>>, BlobStoreError>;

    /// Gives content up; what is not there needs no deleting.
    ///
    /// # Errors
    /// [`BlobStoreError`]; it may be tried again.
    fn delete(&self, place: Place, holder: BlockRef) -> Result<(), BlobStoreError>;
}

/// Takes content piece by piece, with a few megabytes of memory whatever its size. Dropped unfinished, it frees what it has
/// stored.
pub trait BlobWriter: Send {
    /// Adds content; waits while earlier content is on its way.
    ///
    /// # Errors
    /// [`BlobStoreError`].
    fn push(&mut self, bytes: &[u8]) -> Result<(), BlobStoreError>;

    /// Makes the content durable.
    ///
    /// # Errors
    /// [`BlobStoreError`]; nothing is kept then.
    fn finish(self: Box<Self>) -> Result<Place, BlobStoreError>;
}

/// Gives content piece by piece, one in memory at a time.
pub trait BlobReader: Send {
    /// The next piece; `None` at the end.
    ///
    /// # Errors
    /// [`BlobStoreError`].
    fn next_chunk(&mut self) -> Result<Option<Bytes>, BlobStoreError>;
}

/// The places that a node has: its disk, and a bucket if one is configured, which then gets what is new.
#[derive(Clone)]
pub struct BlobStores {
    disk: Arc<DiskBlobs>,
    bucket: Option<Arc<S3Blobs>>,
}

impl BlobStores {
    /// The places of a node.
    #[must_use]
    pub fn new(store: &Store, bucket: Option<S3Blobs>) -> Self {
        Self {
            disk: Arc::new(DiskBlobs::new(store)),
            bucket: bucket.map(Arc::new),
        }
    }

    /// The bucket, if there is one.
    #[must_use]
    pub fn bucket(&self) -> Option<&S3Blobs> {
        self.bucket.as_deref()
    }

    fn at(&self, place: Place) -> Result<&dyn BlobStore, BlobStoreError> {
        match (place, &self.bucket) {
            (Place::Disk(_), _) => Ok(&*self.disk),
            (Place::Bucket, Some(bucket)) => Ok(&**bucket),
            (Place::Bucket, None) => Err(BlobStoreError::NoBucket),
        }
    }
}

impl BlobStore for BlobStores {
    fn writer(&self, holder: BlockRef) -> Box<dyn BlobWriter> {
        match &self.bucket {
            Some(bucket) => bucket.writer(holder),
            None => self.disk.writer(holder),
        }
    }

    fn open(
        &self,
        content: &Content,
        offset: u64,
    ) -> Result<Option<Box<dyn BlobReader>>, BlobStoreError> {
        self.at(content.place)?.open(content, offset)
    }

    fn delete(&self, place: Place, holder: BlockRef) -> Result<(), BlobStoreError> {
        self.at(place)?.delete(place, holder)
    }
}
