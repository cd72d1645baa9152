//! Content in a bucket of an S3 service: one object for each upload, named by the numbers of its holder.
//!
//! What the service cannot do now is refused with an error that says so; what is to be deleted stays noted until it is.

use std::fmt::Write as _;
use std::future::Future;
use std::ops::Range;
use std::sync::Arc;

use bytes::Bytes;
use object_store::multipart::MultipartStore;
use object_store::path::Path;
use object_store::{Error, ObjectStore, ObjectStoreExt};
use tokio::runtime::Handle;
use ues_storage::{Batch, BlockRef, StorageError, Store};

use super::options::{S3Options, S3OptionsError};
use super::uploads::Uploads;
use super::writer::S3Writer;
use super::{BlobReader, BlobStore, BlobStoreError, BlobWriter, Content, Place};

/// Bytes that one request for content asks for.
const PIECE: u64 = 4 << 20;
/// Most characters of an answer that an error shows.
const SHOWN: usize = 300;

/// What a client of a bucket can do.
pub trait Bucket: ObjectStore + MultipartStore {}

impl<T: ObjectStore + MultipartStore> Bucket for T {}

/// A bucket as a place for blobs. Cheap to clone.
#[derive(Clone)]
pub struct S3Blobs(Arc<Inner>);

struct Inner {
    client: Arc<dyn Bucket>,
    name: String,
    prefix: Path,
    uploads: Uploads,
    runtime: Handle,
}

impl S3Blobs {
    /// The bucket of some options. Asks nothing of the service: it may be down.
    ///
    /// # Errors
    /// Options that cannot be used, or a store that cannot be read.
    ///
    /// # Panics
    /// Outside a tokio runtime.
    pub fn open(store: &Store, options: &S3Options) -> Result<Self, S3OptionsError> {
        let client = Arc::new(options.client()?);
        Self::with_client(store, client, &options.bucket, &options.prefix)
    }

    /// The same with a client for the bucket.
    ///
    /// # Errors
    /// As [`open`](Self::open).
    pub fn with_client(
        store: &Store,
        client: Arc<dyn Bucket>,
        bucket: &str,
        prefix: &str,
    ) -> Result<Self, S3OptionsError> {
        let path = Path::parse(prefix.trim_matches('/'));
        let uploads = Uploads::open(store);
        Ok(Self(Arc::new(Inner {
            client,
            name: bucket.to_owned(),
            prefix: path.map_err(|e| S3OptionsError::Prefix(prefix.to_owned(), e.to_string()))?,
            uploads: uploads.map_err(|e| S3OptionsError::Client(e.to_string()))?,
            runtime: Handle::current(),
        })))
    }

    /// Where the content of a holder is.
    pub(super) fn path(&self, holder: BlockRef) -> Path {
        let mut name = String::with_capacity(33);
        // Writing into a string does not fail.
        let _ = write!(name, "{:016x}/{:016x}", holder.owner, holder.slot);
        self.0
            .prefix
            .parts()
            .chain(Path::from(name).parts())
            .collect()
    }

    pub(super) fn client(&self) -> &Arc<dyn Bucket> {
        &self.0.client
    }

    pub(super) fn uploads(&self) -> &Uploads {
        &self.0.uploads
    }

    /// Content is entered as a blob by this batch.
    pub(crate) fn entered(&self, holder: BlockRef, batch: &mut Batch) {
        self.0.uploads.entered(holder, batch);
    }

    /// The batch that entered content is durable.
    pub(crate) fn settled(&self, holder: BlockRef) {
        self.0.uploads.give_up(holder);
    }

    /// Removes from the bucket what uploads have left with which nobody goes on; gives how many. Blocks.
    ///
    /// # Errors
    /// [`BlobStoreError`]; what is left stays noted.
    pub fn release_abandoned(&self) -> Result<usize, BlobStoreError> {
        let abandoned = self.0.uploads.abandoned()?;
        let count = abandoned.len();
        for upload in abandoned {
            let this = self.clone();
            self.wait(async move { this.clear(upload.holder, upload.parts).await })??;
        }
        Ok(count)
    }

    /// Removes what there is of an upload, and the row that says so.
    pub(super) async fn clear(
        &self,
        holder: BlockRef,
        parts: Option<String>,
    ) -> Result<(), BlobStoreError> {
        let path = self.path(holder);
        if let Some(parts) = parts {
            let aborted = self.0.client.abort_multipart(&path, &parts).await;
            self.unless_missing(aborted)?;
        }
        let deleted = self.0.client.delete(&path).await;
        self.unless_missing(deleted)?;
        Ok(self.0.uploads.cleared(holder).await?)
    }

    fn unless_missing(&self, outcome: object_store::Result<()>) -> Result<(), BlobStoreError> {
        match outcome {
            // A missing bucket is not a missing object.
            Err(Error::NotFound { source, .. }) if !is_about_bucket(&*source) => Ok(()),
            other => other.map_err(|e| self.error(e)),
        }
    }

    /// Runs a request on the runtime and blocks until its answer.
    pub(super) fn wait<T: Send + 'static>(
        &self,
        work: impl Future<Output = T> + Send + 'static,
    ) -> Result<T, BlobStoreError> {
        let answer = self.start(work);
        answer.recv().map_err(|_| self.stopped())
    }

    /// Runs a request on the runtime; its answer comes later.
    pub(super) fn start<T: Send + 'static>(
        &self,
        work: impl Future<Output = T> + Send + 'static,
    ) -> std::sync::mpsc::Receiver<T> {
        let (tell, answer) = std::sync::mpsc::sync_channel(1);
        self.0.runtime.spawn(async move {
            // Nobody there any more: nobody to tell.
            let _ = tell.send(work.await);
        });
        answer
    }

    pub(super) fn stopped(&self) -> BlobStoreError {
        self.unavailable("the node is stopping".to_owned())
    }

    fn unavailable(&self, reason: String) -> BlobStoreError {
        BlobStoreError::Unavailable {
            bucket: self.0.name.clone(),
            reason,
        }
    }

    /// An error of the client, told as what it means for the node.
    pub(super) fn error(&self, error: Error) -> BlobStoreError {
        let reason = reason(&error);
        match error {
            Error::PermissionDenied { .. }
            | Error::Unauthenticated { .. }
            | Error::NotFound { .. } => BlobStoreError::Refused {
                bucket: self.0.name.clone(),
                reason,
            },
            _ => self.unavailable(reason),
        }
    }

    /// Some of an object's bytes; `None` when the object is not there.
    async fn read(&self, path: &Path, range: Range<u64>) -> Result<Option<Bytes>, BlobStoreError> {
        let expected = range.end - range.start;
        match self.0.client.get_range(path, range).await {
            Ok(bytes) if bytes.len() as u64 == expected => Ok(Some(bytes)),
            Ok(bytes) => Err(BlobStoreError::Damaged(format!(
                "{path}: {expected} bytes expected, found {}",
                bytes.len()
            ))),
            Err(Error::NotFound { source, .. }) if !is_about_bucket(&*source) => Ok(None),
            Err(e) => Err(self.error(e)),
        }
    }
}

fn is_about_bucket(source: &(dyn std::error::Error + 'static)) -> bool {
    source.to_string().contains("NoSuchBucket")
}

/// The innermost cause and, if the service said something, what; bounded.
fn reason(error: &Error) -> String {
    let mut text = error.to_string();
    let mut source = std::error::Error::source(error);
    while let Some(inner) = source {
        let more = inner.to_string();
        if !text.contains(&more) {
            text.push_str(": ");
            text.push_str(&more);
        }
        source = inner.source();
    }
    text.chars().take(SHOWN).collect()
}

impl BlobStore for S3Blobs {
    fn writer(&self, holder: BlockRef) -> Box<dyn BlobWriter> {
        Box::new(S3Writer::new(self.clone(), holder))
    }

    fn open(
        &self,
        content: &Content,
        offset: u64,
    ) -> Result<Option<Box<dyn BlobReader>>, BlobStoreError> {
        if content.place != Place::Bucket {
            return Ok(None);
        }
        let mut reader = S3Reader {
            blobs: self.clone(),
            path: self.path(content.holder),
            at: offset.min(content.size),
            size: content.size,
            ahead: None,
        };
        // The first piece now, so that an error comes before anything is promised.
        reader.ahead = reader.fetch()?;
        let there = reader.ahead.is_some() || reader.at >= reader.size;
        Ok(there.then(|| Box::new(reader) as _))
    }

    fn delete(&self, place: Place, holder: BlockRef) -> Result<(), BlobStoreError> {
        if place != Place::Bucket {
            return Ok(());
        }
        let this = self.clone();
        self.wait(async move { this.clear(holder, None).await })?
    }
}

struct S3Reader {
    blobs: S3Blobs,
    path: Path,
    at: u64,
    size: u64,
    ahead: Option<Bytes>,
}

impl S3Reader {
    /// The next piece from the service; `None` at the end, or when the object is not there.
    fn fetch(&mut self) -> Result<Option<Bytes>, BlobStoreError> {
        let end = self.size.min(self.at + PIECE);
        if self.at >= end {
            return Ok(None);
        }
        let (blobs, path, range) = (self.blobs.clone(), self.path.clone(), self.at..end);
        let piece = self
            .blobs
            .wait(async move { blobs.read(&path, range).await })??;
        if piece.is_some() {
            self.at = end;
        }
        Ok(piece)
    }
}

impl BlobReader for S3Reader {
    fn next_chunk(&mut self) -> Result<Option<Bytes>, BlobStoreError> {
        if let Some(piece) = self.ahead.take() {
            return Ok(Some(piece));
        }
        let at_end = self.at >= self.size;
        match self.fetch()? {
            None if !at_end => Err(BlobStoreError::Damaged(format!(
                "{} went while it was read",
                self.path
            ))),
            piece => Ok(piece),
        }
    }
}

impl From<StorageError> for S3OptionsError {
    fn from(error: StorageError) -> Self {
        Self::Client(error.to_string())
    }
}
