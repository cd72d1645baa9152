//! Content on its way into a bucket: in one request if it is small, else in parts.

use std::mem;
use std::sync::mpsc::Receiver;

use bytes::Bytes;
use object_store::multipart::PartId;
use object_store::{ObjectStoreExt, PutPayload};
use ues_storage::BlockRef;

use super::s3::S3Blobs;
use super::{BlobStoreError, BlobWriter, Place};

/// Bytes of a part: the smallest that S3 takes, and all parts but the last alike, as some services want it. A writer
/// has two of them in memory, one on its way. 10,000 parts are allowed, so that a blob may have 48 GiB.
const PART: usize = 5 << 20;

pub(super) struct S3Writer {
    blobs: S3Blobs,
    holder: BlockRef,
    buf: Vec<u8>,
    /// Name of the upload in parts, once there is one.
    upload: Option<String>,
    parts: Vec<PartId>,
    on_its_way: Option<Receiver<object_store::Result<PartId>>>,
    begun: bool,
    finished: bool,
}

impl S3Writer {
    pub fn new(blobs: S3Blobs, holder: BlockRef) -> Self {
        Self {
            blobs,
            holder,
            buf: Vec::new(),
            upload: None,
            parts: Vec::new(),
            on_its_way: None,
            begun: false,
            finished: false,
        }
    }

    /// Notes durably that there will be something in the bucket.
    fn note(&mut self) -> Result<(), BlobStoreError> {
        self.begun = true;
        let parts = self.upload.as_deref();
        Ok(self.blobs.uploads().begin(self.holder, parts)?)
    }

    /// The upload in parts, begun if need be.
    fn upload(&mut self) -> Result<String, BlobStoreError> {
        if let Some(upload) = &self.upload {
            return Ok(upload.clone());
        }
        self.note()?;
        let (client, path) = (self.blobs.client().clone(), self.blobs.path(self.holder));
        let begun = self
            .blobs
            .wait(async move { client.create_multipart(&path).await })?;
        let upload = begun.map_err(|e| self.blobs.error(e))?;
        self.upload = Some(upload.clone());
        self.note()?;
        Ok(upload)
    }

    /// Sends what is in the buffer as the next part, once the one before has arrived.
    fn send(&mut self) -> Result<(), BlobStoreError> {
        let upload = self.upload()?;
        self.arrived()?;
        let (client, path) = (self.blobs.client().clone(), self.blobs.path(self.holder));
        let (number, content) = (self.parts.len(), Bytes::from(mem::take(&mut self.buf)));
        self.on_its_way = Some(self.blobs.start(async move {
            let part = PutPayload::from_bytes(content);
            client.put_part(&path, &upload, number, part).await
        }));
        Ok(())
    }

    /// Waits for the part that is on its way.
    fn arrived(&mut self) -> Result<(), BlobStoreError> {
        if let Some(part) = self.on_its_way.take() {
            let part = part.recv().map_err(|_| self.blobs.stopped())?;
            self.parts.push(part.map_err(|e| self.blobs.error(e))?);
        }
        Ok(())
    }

    fn complete(&mut self) -> Result<(), BlobStoreError> {
        let (client, path) = (self.blobs.client().clone(), self.blobs.path(self.holder));
        let content = Bytes::from(mem::take(&mut self.buf));
        let outcome = if let Some(upload) = self.upload.clone() {
            if !content.is_empty() {
                self.buf = content.into();
                self.send()?;
            }
            self.arrived()?;
            let parts = mem::take(&mut self.parts);
            self.blobs
                .wait(async move { client.complete_multipart(&path, &upload, parts).await })?
        } else {
            self.note()?;
            self.blobs
                .wait(async move { client.put(&path, PutPayload::from_bytes(content)).await })?
        };
        outcome.map(drop).map_err(|e| self.blobs.error(e))
    }
}

impl BlobWriter for S3Writer {
    fn push(&mut self, mut bytes: &[u8]) -> Result<(), BlobStoreError> {
        while !bytes.is_empty() {
            if self.buf.len() >= PART {
                self.send()?;
            }
            let room = PART - self.buf.len();
            let (now, rest) = bytes.split_at_checked(room).unwrap_or((bytes, &[]));
            self.buf.extend_from_slice(now);
            bytes = rest;
        }
        Ok(())
    }

    fn finish(mut self: Box<Self>) -> Result<Place, BlobStoreError> {
        self.complete()?;
        self.finished = true;
        self.blobs.uploads().finished(self.holder);
        Ok(Place::Bucket)
    }
}

impl Drop for S3Writer {
    fn drop(&mut self) {
        if !self.begun || self.finished {
            return;
        }
        let (blobs, holder, upload) = (self.blobs.clone(), self.holder, self.upload.take());
        let last = self.on_its_way.take();
        // The runtime does it, since whoever drops this may not wait.
        drop(self.blobs.start(async move {
            // A part that arrives behind the end of the upload would stay.
            if let Some(last) = last {
                let _ = tokio::task::spawn_blocking(move || last.recv()).await;
            }
            if let Err(error) = blobs.clear(holder, upload).await {
                tracing::warn!(%error, "what an upload left in the bucket is removed later");
                blobs.uploads().give_up(holder);
            }
        }));
    }
}
