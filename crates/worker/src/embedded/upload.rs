//! Taking content in.
//!
//! The blocks of an upload are held in its name until it is pinned, given up, or expired. Beside the blocks of each
//! write stand their names, so that they can be released whatever became of the process.

use std::sync::Arc;

use bytes::Bytes;
use tokio::task::JoinError;
use ues_data::content_id::{HashMismatch, IDENTITY, verify};
use ues_data::{BlockSink, BlockSinkError, Cid};
use ues_storage::{Batch, CommitError, StorageError};

use super::busy::BusyGuard;
use super::core::Core;
use super::layout::{Entry, segment_key, upload_ref, write_multihash};
use crate::backend::{JobError, Pinned};

/// Why content was not taken in.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum IntakeError {
    /// The bytes are not what their CID says, or that cannot be computed here.
    #[error(transparent)]
    Hash(#[from] HashMismatch),
    /// The archive is not readable.
    #[error("the archive cannot be read: {0}")]
    Car(Box<ues_data::car::CarError>),
    /// The file cannot be made into blocks.
    #[error("the file cannot be taken in: {0}")]
    Import(Box<ues_data::unixfs::ImportError>),
    /// The source of the content failed.
    #[error("the content could not be read: {0}")]
    Source(#[from] std::io::Error),
    /// The content has more bytes than the caller allows.
    #[error("the content has more than {0} bytes")]
    TooLarge(u64),
    /// The store could not write.
    #[error(transparent)]
    Commit(#[from] CommitError),
    /// The store could not read.
    #[error(transparent)]
    Storage(#[from] StorageError),
    /// The thread that worked on it ended early.
    #[error("the work was cut short: {0}")]
    Cut(#[from] JoinError),
}

impl From<ues_data::car::CarError> for IntakeError {
    fn from(error: ues_data::car::CarError) -> Self {
        Self::Car(Box::new(error))
    }
}

impl From<ues_data::unixfs::ImportError> for IntakeError {
    fn from(error: ues_data::unixfs::ImportError) -> Self {
        Self::Import(Box::new(error))
    }
}

/// Content that comes in. Dropping it leaves what was written so far until it expires.
#[derive(Debug)]
pub struct Upload {
    core: Arc<Core>,
    number: u64,
    _live: BusyGuard<u64>,
    batch: Batch,
    /// Names of the blocks in the batch.
    segment: Vec<u8>,
    /// Blocks in the batch.
    waiting: usize,
    next_segment: u32,
    blocks: u64,
    bytes: u64,
}

impl Upload {
    pub(super) fn begin(core: Arc<Core>) -> Result<Self, CommitError> {
        let number = core.numbers.take(&core.store, &core.ks, 1)?;
        let live = core.live.enter(vec![number]);
        Ok(Self {
            core,
            number,
            _live: live,
            batch: Batch::new(),
            segment: Vec::new(),
            waiting: 0,
            next_segment: 0,
            blocks: 0,
            bytes: 0,
        })
    }

    /// Blocks that were taken in, those repeated as often as they came.
    pub const fn blocks(&self) -> u64 {
        self.blocks
    }

    /// Their bytes.
    pub const fn bytes(&self) -> u64 {
        self.bytes
    }

    /// Takes a block in after it was checked against its CID. Identity CIDs hold their content themselves and need
    /// nothing to be stored.
    ///
    /// # Errors
    /// When the bytes are not what the CID says, or the store cannot write.
    pub async fn put(&mut self, cid: &Cid, bytes: &[u8]) -> Result<(), IntakeError> {
        verify(cid, bytes)?;
        self.put_verified(cid, bytes).await
    }

    pub(super) async fn put_verified(
        &mut self,
        cid: &Cid,
        bytes: &[u8],
    ) -> Result<(), IntakeError> {
        self.stage(cid, bytes);
        if self.is_full() {
            let batch = self.take_batch();
            self.core.store.commit(batch).await?;
        }
        Ok(())
    }

    /// Writes what waits. The blocks are then found by others, until the upload expires.
    ///
    /// # Errors
    /// When the store cannot write.
    pub async fn flush(&mut self) -> Result<(), IntakeError> {
        if self.waiting > 0 {
            let batch = self.take_batch();
            self.core.store.commit(batch).await?;
        }
        Ok(())
    }

    /// Ends the upload by pinning these of its roots. When all succeed, only what they reach is kept; otherwise all of
    /// it stays until it expires.
    ///
    /// # Errors
    /// When the store cannot write. What became of each root is in the answer.
    pub async fn pin(
        mut self,
        roots: Vec<Entry>,
    ) -> Result<Vec<Result<Pinned, JobError>>, IntakeError> {
        self.flush().await?;
        let (core, number, live) = (self.core, self.number, self._live);
        let work = move || {
            let _live = live;
            let answers = core.pin_all(&roots, &|_| true);
            if answers.iter().all(Result::is_ok) {
                core.release_upload(number)?;
            }
            Ok(answers)
        };
        tokio::task::spawn_blocking(work).await?
    }

    /// Ends the upload and leaves its content until it expires.
    ///
    /// # Errors
    /// When the store cannot write.
    pub async fn leave(mut self) -> Result<(), IntakeError> {
        self.flush().await
    }

    /// Ends the upload and releases its content.
    ///
    /// # Errors
    /// When the store cannot write.
    pub async fn give_up(self) -> Result<(), IntakeError> {
        let (core, number, live) = (self.core, self.number, self._live);
        let work = move || {
            let _live = live;
            core.release_upload(number)
        };
        Ok(tokio::task::spawn_blocking(work).await??)
    }

    fn stage(&mut self, cid: &Cid, bytes: &[u8]) {
        self.blocks += 1;
        self.bytes += bytes.len() as u64;
        if cid.hash().code() != IDENTITY {
            self.batch
                .put_block(cid.hash(), bytes, upload_ref(self.number));
            write_multihash(&mut self.segment, cid.hash());
            self.waiting += 1;
        }
    }

    fn is_full(&self) -> bool {
        self.waiting >= self.core.options.batch_blocks
            || self.batch.bytes() >= self.core.options.batch_bytes
    }

    /// The batch that waits, with the names of its blocks and the time until which they stay.
    fn take_batch(&mut self) -> Batch {
        let mut batch = std::mem::take(&mut self.batch);
        let Core { ks, options, .. } = &*self.core;
        let key = segment_key(self.number, self.next_segment);
        batch.put(&ks.upload_blocks, key, std::mem::take(&mut self.segment));
        let ttl = u64::try_from(options.upload_ttl.as_millis()).unwrap_or(u64::MAX);
        let expires = options.clock.now_ms().saturating_add(ttl);
        batch.put(
            &ks.uploads,
            self.number.to_be_bytes(),
            expires.to_be_bytes(),
        );
        self.next_segment += 1;
        self.waiting = 0;
        batch
    }
}

/// For importers, which call it from a thread that may block. It trusts them with the CID.
impl BlockSink for Upload {
    fn put(&mut self, cid: &Cid, bytes: Bytes) -> Result<(), BlockSinkError> {
        self.stage(cid, &bytes);
        if self.is_full() {
            let batch = self.take_batch();
            let written = self.core.store.commit_blocking(batch);
            written.map_err(|e| BlockSinkError {
                cid: *cid,
                reason: Box::new(e),
            })?;
        }
        Ok(())
    }
}
