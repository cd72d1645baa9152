//! Streaming an object in.

use std::collections::VecDeque;
use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use crate::batch::Batch;
use crate::block::BlockRef;
use crate::error::StorageError;
use crate::format::ks;
use crate::objects::rows::{ENTRY, Entry, Holder, holder_key, segment_key, upload_key};
use crate::objects::{ObjectError, ObjectId, release};
use crate::store::Shared;
use crate::ticket::Ticket;

const MIN_CHUNK: usize = 64 << 10;
const AVERAGE_CHUNK: usize = 256 << 10;
const MAX_CHUNK: usize = 1 << 20;
/// Chunks that one row lists.
const SEGMENT_CHUNKS: usize = 1024;
/// Chunks that may be on their way to the disk; bounds the memory.
const IN_FLIGHT: usize = 4;

/// Takes the content of an object piece by piece, with a few megabytes of memory whatever its size. Dropping it
/// unfinished releases what it has stored.
pub struct ObjectWriter {
    shared: Arc<Shared>,
    holder: BlockRef,
    upload: u64,
    hasher: blake3::Hasher,
    size: u64,
    buf: Vec<u8>,
    segment: Vec<u8>,
    segment_number: u32,
    in_flight: VecDeque<Ticket>,
    begun: bool,
    finished: bool,
}

/// Tells uploads of one process apart that begin in the same millisecond.
static UPLOADS: AtomicU64 = AtomicU64::new(0);

impl ObjectWriter {
    pub(super) fn new(shared: Arc<Shared>, holder: BlockRef) -> Self {
        let mut unique = blake3::Hasher::new();
        for part in [
            holder.owner,
            holder.slot,
            shared.options.clock.now_ms(),
            UPLOADS.fetch_add(1, Ordering::Relaxed),
        ] {
            unique.update(&part.to_be_bytes());
        }
        unique.update(&std::process::id().to_be_bytes());
        let mut upload = [0; 8];
        unique.finalize_xof().fill(&mut upload);
        Self {
            shared,
            holder,
            upload: u64::from_be_bytes(upload),
            hasher: blake3::Hasher::new(),
            size: 0,
            buf: Vec::new(),
            segment: Vec::new(),
            segment_number: 0,
            in_flight: VecDeque::new(),
            begun: false,
            finished: false,
        }
    }

    /// Adds content. Blocks while earlier chunks are on their way to the disk.
    ///
    /// # Errors
    ///
    /// When the store fails.
    pub fn push(&mut self, mut bytes: &[u8]) -> Result<(), StorageError> {
        while !bytes.is_empty() {
            let room = (2 * MAX_CHUNK).saturating_sub(self.buf.len()).max(1);
            let (now, rest) = bytes.split_at_checked(room).unwrap_or((bytes, &[]));
            self.hasher.update(now);
            self.size += now.len() as u64;
            self.buf.extend_from_slice(now);
            bytes = rest;
            if self.buf.len() >= 2 * MAX_CHUNK {
                // What is left is at least one largest chunk, so that a cut never depends on how content arrived.
                self.cut(MAX_CHUNK)?;
            }
        }
        Ok(())
    }

    /// Makes the object durable and visible; its id and its length.
    ///
    /// # Errors
    ///
    /// When the store fails.
    pub fn finish(mut self) -> Result<(ObjectId, u64), ObjectError> {
        self.cut(0)?;
        let id = ObjectId(*self.hasher.finalize().as_bytes());
        while let Some(ticket) = self.in_flight.pop_front() {
            ticket.wait().map_err(StorageError::from)?;
        }
        let key = holder_key(&id, self.holder);
        if self
            .shared
            .engine
            .get(ks::OBJECTS, &key)
            .map_err(StorageError::from)?
            .is_some()
        {
            // The holder has it already; dropping the writer releases the second copy's references.
            return Ok((id, self.size));
        }
        let mut batch = Batch::new();
        batch.put_row(
            ks::OBJECTS,
            &key,
            &Holder {
                size: self.size,
                upload: self.upload,
            }
            .to_row(),
        );
        batch.delete_row(ks::OBJECTS, &upload_key(self.upload));
        self.shared
            .queue
            .submit(batch)
            .and_then(Ticket::wait)
            .map_err(StorageError::from)?;
        self.finished = true;
        Ok((id, self.size))
    }

    /// Stores the chunks at the front of the buffer while more than `keep` bytes are in it.
    fn cut(&mut self, keep: usize) -> Result<(), StorageError> {
        let buf = std::mem::take(&mut self.buf);
        let mut rest = &buf[..];
        while rest.len() > keep {
            let (_, len) = fastcdc::v2020::FastCDC::new(rest, MIN_CHUNK, AVERAGE_CHUNK, MAX_CHUNK)
                .cut(0, rest.len());
            let (chunk, after) = rest.split_at_checked(len.max(1)).unwrap_or((rest, &[]));
            self.store(chunk)?;
            rest = after;
        }
        self.buf = Vec::with_capacity(2 * MAX_CHUNK);
        self.buf.extend_from_slice(rest);
        Ok(())
    }

    fn store(&mut self, chunk: &[u8]) -> Result<(), StorageError> {
        let entry = Entry {
            digest: *blake3::hash(chunk).as_bytes(),
            // Chunks have at most a megabyte.
            len: u32::try_from(chunk.len()).unwrap_or(u32::MAX),
        };
        let mut batch = Batch::new();
        if !self.begun {
            batch.put_row(
                ks::OBJECTS,
                &upload_key(self.upload),
                &self.holder.owner.to_be_bytes(),
            );
            self.begun = true;
        }
        if self.segment.len() >= SEGMENT_CHUNKS * ENTRY {
            self.segment.clear();
            self.segment_number += 1;
        }
        self.segment.extend_from_slice(&entry.digest);
        self.segment.extend_from_slice(&entry.len.to_be_bytes());
        batch.put_block(
            &entry.multihash(),
            chunk,
            BlockRef {
                owner: self.holder.owner,
                slot: self.upload,
            },
        );
        batch.put_row(
            ks::OBJECTS,
            &segment_key(self.upload, self.segment_number),
            &self.segment,
        );
        self.in_flight.push_back(self.shared.queue.submit(batch)?);
        if self.in_flight.len() > IN_FLIGHT
            && let Some(ticket) = self.in_flight.pop_front()
        {
            ticket.wait()?;
        }
        Ok(())
    }
}

impl io::Write for ObjectWriter {
    fn write(&mut self, buf: &[u8]) -> io::Result<usize> {
        self.push(buf).map_err(io::Error::other)?;
        Ok(buf.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl Drop for ObjectWriter {
    fn drop(&mut self) {
        if self.begun && !self.finished {
            for ticket in std::mem::take(&mut self.in_flight) {
                // When the store has failed, the next opening releases the rest.
                let _ = ticket.wait();
            }
            if let Err(error) = release(&self.shared, self.upload, self.holder.owner) {
                tracing::debug!(%error, "an unfinished object is released at the next opening");
            }
        }
    }
}

impl std::fmt::Debug for ObjectWriter {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("ObjectWriter")
            .field("holder", &self.holder)
            .field("size", &self.size)
            .finish_non_exhaustive()
    }
}
