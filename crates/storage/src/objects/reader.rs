//! Streaming an object out.

use std::io::{self, Read, Seek, SeekFrom};
use std::ops::Bound;
use std::sync::Arc;

use bytes::{Buf, Bytes};

use crate::block;
use crate::engine::{Reads, Rows};
use crate::error::StorageError;
use crate::format::{MhKey, ks, prefix_end};
use crate::objects::rows::{Entry, Holder, damaged, parse_segment, segment_prefix};

/// The content of an object from any offset, one chunk in memory at a time. It reads one unchanging state of the
/// store, so that deleting the object meanwhile does not disturb it.
pub struct ObjectReader {
    reads: Arc<dyn Reads>,
    holder: Holder,
    at: u64,
    segments: Rows,
    entries: std::vec::IntoIter<Entry>,
    chunk: Bytes,
}

impl ObjectReader {
    pub(super) fn new(reads: Arc<dyn Reads>, holder: Holder) -> Self {
        let segments = segments(&*reads, holder.upload);
        Self {
            reads,
            holder,
            at: 0,
            segments,
            entries: Vec::new().into_iter(),
            chunk: Bytes::new(),
        }
    }

    /// The length of the whole object in bytes.
    pub fn size(&self) -> u64 {
        self.holder.size
    }

    /// The next piece of content; `None` at the end.
    ///
    /// # Errors
    ///
    /// When the store cannot be read, or a chunk is missing.
    pub fn next_chunk(&mut self) -> Result<Option<Bytes>, StorageError> {
        if self.chunk.is_empty() && !self.advance(0)? {
            return Ok(None);
        }
        let chunk = std::mem::take(&mut self.chunk);
        self.at += chunk.len() as u64;
        Ok(Some(chunk))
    }

    /// Goes to an offset; behind the end there is nothing to read.
    ///
    /// # Errors
    ///
    /// When the store cannot be read.
    pub fn seek_to(&mut self, offset: u64) -> Result<(), StorageError> {
        self.segments = segments(&*self.reads, self.holder.upload);
        self.entries = Vec::new().into_iter();
        self.chunk = Bytes::new();
        self.at = offset.min(self.holder.size);
        if self.at > 0 {
            self.advance(self.at)?;
        }
        Ok(())
    }

    /// Loads the chunk that lies `skip` bytes ahead, from that byte on; false at the end.
    fn advance(&mut self, mut skip: u64) -> Result<bool, StorageError> {
        loop {
            let Some(entry) = self.entries.next() else {
                let Some(row) = self.segments.next().transpose()? else {
                    return Ok(false);
                };
                self.entries = parse_segment(&row.1)?.into_iter();
                continue;
            };
            if skip >= u64::from(entry.len) {
                skip -= u64::from(entry.len);
                continue;
            }
            let row = self
                .reads
                .get(ks::BLOCKS, MhKey::new(&entry.multihash()).as_ref())?;
            let row = row.ok_or_else(|| damaged("a chunk of the object is missing".into()))?;
            self.chunk = block::decode(row)?;
            if self.chunk.len() != entry.len as usize {
                return Err(damaged(format!(
                    "a chunk of {} bytes expected, found {}",
                    entry.len,
                    self.chunk.len()
                )));
            }
            self.chunk.advance(
                usize::try_from(skip)
                    .unwrap_or(usize::MAX)
                    .min(self.chunk.len()),
            );
            return Ok(true);
        }
    }
}

fn segments(reads: &dyn Reads, upload: u64) -> Rows {
    let prefix = segment_prefix(upload);
    let end = prefix_end(&prefix);
    reads.scan(
        ks::OBJECTS,
        Bound::Included(&prefix),
        end.as_deref().map_or(Bound::Unbounded, Bound::Excluded),
    )
}

impl Read for ObjectReader {
    fn read(&mut self, buf: &mut [u8]) -> io::Result<usize> {
        if self.chunk.is_empty() && !self.advance(0).map_err(io::Error::other)? {
            return Ok(0);
        }
        let n = self.chunk.len().min(buf.len());
        if let Some(to) = buf.get_mut(..n) {
            self.chunk.copy_to_slice(to);
        }
        self.at += n as u64;
        Ok(n)
    }
}

impl Seek for ObjectReader {
    fn seek(&mut self, pos: SeekFrom) -> io::Result<u64> {
        let to = match pos {
            SeekFrom::Start(n) => Some(n),
            SeekFrom::End(n) => self.holder.size.checked_add_signed(n),
            SeekFrom::Current(n) => self.at.checked_add_signed(n),
        };
        let to = to.ok_or_else(|| {
            io::Error::new(io::ErrorKind::InvalidInput, "seek before the beginning")
        })?;
        self.seek_to(to).map_err(io::Error::other)?;
        Ok(self.at)
    }
}

impl std::fmt::Debug for ObjectReader {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("ObjectReader")
            .field("size", &self.size())
            .field("at", &self.at)
            .finish_non_exhaustive()
    }
}
