//! Streaming the bytes of a file.

use std::io::{self, Read};

use bytes::{Buf, Bytes};
use cid::Cid;

use super::ExportError;
use super::entry::{Part, load};
use super::message::{MessageError, Type};
use crate::source::BlockSource;

/// How many levels the tree of a file may have.
const MAX_LEVELS: usize = 64;

/// The bytes of a file, read block by block in order.
///
/// Every block is checked against its CID, and every announced size against what is really there. Memory holds
/// one block of data and the links of one node for each level.
#[derive(Debug)]
pub struct FileReader<S> {
    source: S,
    /// What is still to be read, the next on top: a block, the size it was announced with, and its level.
    stack: Vec<(Cid, Option<u64>, usize)>,
    now: Bytes,
    /// How many bytes at the front are to be left out.
    skip: u64,
}

impl<S: BlockSource> FileReader<S> {
    /// Reads the file with this root from its beginning.
    #[must_use]
    pub fn new(source: S, file: Cid) -> Self {
        Self::from_offset(source, file, 0)
    }

    /// Reads the file from a position on; blocks that lie before it are not loaded.
    #[must_use]
    pub fn from_offset(source: S, file: Cid, offset: u64) -> Self {
        Self {
            source,
            stack: vec![(file, None, 0)],
            now: Bytes::new(),
            skip: offset,
        }
    }

    /// The next piece of the file, never empty; `None` at its end.
    pub fn next_chunk(&mut self) -> Result<Option<Bytes>, ExportError> {
        loop {
            if !self.now.is_empty() {
                return Ok(Some(std::mem::take(&mut self.now)));
            }
            let Some((cid, announced, level)) = self.stack.pop() else {
                return Ok(None);
            };
            match announced {
                Some(size) if size <= self.skip => self.skip -= size,
                _ => self.enter(cid, announced, level)?,
            }
        }
    }

    fn enter(&mut self, cid: Cid, announced: Option<u64>, level: usize) -> Result<(), ExportError> {
        if level > MAX_LEVELS {
            return Err(ExportError::TooDeep(MAX_LEVELS));
        }
        let (data, found) = match load(&self.source, &cid)? {
            Part::Raw(bytes) => {
                let size = bytes.len() as u64;
                (bytes, size)
            }
            Part::Node(message, links) => {
                if !matches!(message.kind, Type::File | Type::Raw) {
                    return Err(ExportError::Kind {
                        cid,
                        expected: "a file",
                        found: message.kind.name(),
                    });
                }
                let sizes = message.block_sizes;
                if sizes.len() != links.len() {
                    let (sizes, links) = (sizes.len(), links.len());
                    let reason = MessageError::Sizes { sizes, links };
                    return Err(ExportError::Message { cid, reason });
                }
                let data = message.data.unwrap_or_default();
                let found = sizes
                    .iter()
                    .fold(data.len() as u64, |all, &size| all.saturating_add(size));
                check_size(cid, message.file_size, found)?;
                for (link, size) in links.into_iter().zip(sizes).rev() {
                    self.stack.push((link.cid, Some(size), level + 1));
                }
                (data, found)
            }
        };
        check_size(cid, announced, found)?;
        let skipped = self.skip.min(data.len() as u64);
        self.skip -= skipped;
        self.now = data.slice(skipped as usize..);
        Ok(())
    }
}

fn check_size(cid: Cid, expected: Option<u64>, found: u64) -> Result<(), ExportError> {
    match expected {
        Some(expected) if expected != found => Err(ExportError::Size {
            cid,
            expected,
            found,
        }),
        _ => Ok(()),
    }
}

impl<S: BlockSource> Read for FileReader<S> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        if self.now.is_empty() {
            match self.next_chunk()? {
                Some(chunk) => self.now = chunk,
                None => return Ok(0),
            }
        }
        let len = buffer.len().min(self.now.len());
        if let Some(part) = buffer.get_mut(..len) {
            self.now.copy_to_slice(part);
        }
        Ok(len)
    }
}
