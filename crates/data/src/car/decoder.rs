//! The decoder itself, without IO.

use bytes::{Buf, Bytes, BytesMut};

use super::{Block, CarError, CarHeader};
use crate::content_id::{MAX_CID_BYTES, cid_from_prefix, verify};
use crate::varint::{self, VarintError};

/// Bounds on an archive.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct CarLimits {
    /// How long the header may be, in bytes.
    pub max_header_bytes: usize,
    /// How long the content of a block may be, in bytes.
    pub max_block_bytes: usize,
    /// How many blocks there may be.
    pub max_blocks: u64,
    /// How long the archive may be, in bytes.
    pub max_bytes: u64,
}

impl Default for CarLimits {
    /// A header of 1 MiB, blocks of 4 MiB, and as many as come.
    fn default() -> Self {
        Self {
            max_header_bytes: 1 << 20,
            max_block_bytes: 4 << 20,
            max_blocks: u64::MAX,
            max_bytes: u64::MAX,
        }
    }
}

/// Turns chunks of an archive into blocks.
///
/// [`feed`](Self::feed) it, take blocks until there is `None`, feed again, and [`finish`](Self::finish).
/// Beyond the chunk it was fed last it holds at most one section (header or block).
///
/// Blocks that lie within one chunk share its memory. Who keeps a few of many blocks for long copies them,
/// or a small block keeps a large chunk alive.
#[derive(Debug)]
pub struct CarDecoder {
    limits: CarLimits,
    header: Option<CarHeader>,
    /// Input that was not looked at yet.
    chunk: Bytes,
    /// The beginning of a section that spans chunks.
    partial: BytesMut,
    /// Where the next section begins.
    at: u64,
    blocks: u64,
    failed: bool,
}

/// What the beginning of a section tells.
enum Section {
    /// `prefix` bytes of length, then the content up to `end`.
    Whole { prefix: usize, end: usize },
    /// That more is needed; how many bytes in all, if that is known.
    Partial(Option<usize>),
}

impl CarDecoder {
    /// A decoder at the start of an archive.
    #[must_use]
    pub fn new(limits: CarLimits) -> Self {
        Self {
            limits,
            header: None,
            chunk: Bytes::new(),
            partial: BytesMut::new(),
            at: 0,
            blocks: 0,
            failed: false,
        }
    }

    /// Gives the next bytes of the archive.
    ///
    /// Blocks of the chunk before should have been taken; what is left of it is copied otherwise.
    pub fn feed(&mut self, chunk: impl Into<Bytes>) {
        let chunk = chunk.into();
        if self.chunk.is_empty() {
            self.chunk = chunk;
        } else {
            let mut joined = BytesMut::with_capacity(self.chunk.len() + chunk.len());
            joined.extend_from_slice(&self.chunk);
            joined.extend_from_slice(&chunk);
            self.chunk = joined.freeze();
        }
    }

    /// The header, once enough was fed; `None` asks for more input.
    pub fn header(&mut self) -> Result<Option<&CarHeader>, CarError> {
        if self.header.is_none() && !self.failed {
            let Some((prefix, section)) = self.guarded(Self::section)? else {
                return Ok(None);
            };
            let content = section.get(prefix..).unwrap_or_default();
            match CarHeader::decode(content) {
                Ok(header) => self.header = Some(header),
                Err(e) => {
                    self.failed = true;
                    return Err(e);
                }
            }
        }
        Ok(self.header.as_ref())
    }

    /// The next block, checked against its CID; `None` asks for more input.
    ///
    /// After an error nothing more comes out.
    #[expect(
        clippy::should_implement_trait,
        reason = "None means that more input is needed, not that the archive ended"
    )]
    pub fn next(&mut self) -> Result<Option<Block>, CarError> {
        if self.failed || (self.header.is_none() && self.header()?.is_none()) {
            return Ok(None);
        }
        self.guarded(Self::block)
    }

    /// Ends decoding: the archive must not end in the middle of a section.
    pub fn finish(&mut self) -> Result<(), CarError> {
        let left = if self.partial.is_empty() {
            &self.chunk[..]
        } else {
            &self.partial[..]
        };
        if self.failed || (left.is_empty() && self.header.is_some()) {
            return Ok(());
        }
        let expected = match varint::read(left) {
            Ok((len, prefix)) => len.saturating_add(prefix as u64),
            Err(_) => 0,
        };
        Err(CarError::Truncated {
            at: self.at,
            expected,
            found: left.len() as u64,
        })
    }

    /// How many blocks came out.
    #[must_use]
    pub const fn blocks(&self) -> u64 {
        self.blocks
    }

    /// How many bytes the sections that came out took.
    #[must_use]
    pub const fn bytes(&self) -> u64 {
        self.at
    }

    #[inline]
    fn guarded<T>(
        &mut self,
        step: impl FnOnce(&mut Self) -> Result<Option<T>, CarError>,
    ) -> Result<Option<T>, CarError> {
        let result = step(self);
        self.failed |= result.is_err();
        result
    }

    #[inline]
    fn block(&mut self) -> Result<Option<Block>, CarError> {
        let at = self.at;
        let Some((prefix, mut section)) = self.section()? else {
            return Ok(None);
        };
        let content = section.get(prefix..).unwrap_or_default();
        let (cid, used) =
            cid_from_prefix(content).map_err(|reason| CarError::Cid { at, reason })?;
        let data = content.get(used..).unwrap_or_default();
        if data.len() > self.limits.max_block_bytes {
            return Err(CarError::BlockTooLong {
                at,
                max: self.limits.max_block_bytes,
                found: data.len() as u64,
            });
        }
        verify(&cid, data).map_err(|reason| CarError::Hash { at, reason })?;
        if self.blocks >= self.limits.max_blocks {
            return Err(CarError::TooManyBlocks(self.limits.max_blocks));
        }
        self.blocks += 1;
        section.advance(prefix + used);
        Ok(Some((cid, section)))
    }

    /// Takes a whole section off the input: how long its length prefix is, and all of its bytes.
    #[inline]
    fn section(&mut self) -> Result<Option<(usize, Bytes)>, CarError> {
        if self.partial.is_empty() {
            match self.measure(&self.chunk)? {
                Section::Whole { prefix, end } => {
                    let section = self.chunk.split_to(end);
                    self.advance(end)?;
                    Ok(Some((prefix, section)))
                }
                Section::Partial(_) if self.chunk.is_empty() => Ok(None),
                Section::Partial(_) => {
                    self.partial.extend_from_slice(&self.chunk);
                    self.chunk.clear();
                    Ok(None)
                }
            }
        } else {
            self.joined_section()
        }
    }

    /// The same for a section that began in an earlier chunk: it is put together in `partial`.
    fn joined_section(&mut self) -> Result<Option<(usize, Bytes)>, CarError> {
        loop {
            match self.measure(&self.partial)? {
                Section::Whole { prefix, end } => {
                    let section = self.partial.split_to(end).freeze();
                    self.advance(end)?;
                    return Ok(Some((prefix, section)));
                }
                Section::Partial(_) if self.chunk.is_empty() => return Ok(None),
                Section::Partial(wanted) => {
                    // Without a length yet, one byte at a time: a varint has nine at most.
                    let missing = wanted.map_or(1, |all| all - self.partial.len());
                    let taken = self.chunk.split_to(missing.min(self.chunk.len()));
                    self.partial.extend_from_slice(&taken);
                }
            }
        }
    }

    #[inline]
    fn measure(&self, input: &[u8]) -> Result<Section, CarError> {
        let (len, prefix) = match varint::read(input) {
            Ok(read) => read,
            Err(VarintError::Incomplete) => return Ok(Section::Partial(None)),
            Err(reason) => {
                return Err(CarError::Length {
                    at: self.at,
                    reason,
                });
            }
        };
        let end = prefix + self.check_len(len)?;
        Ok(if end <= input.len() {
            Section::Whole { prefix, end }
        } else {
            Section::Partial(Some(end))
        })
    }

    #[inline]
    fn check_len(&self, len: u64) -> Result<usize, CarError> {
        let at = self.at;
        if len == 0 {
            return Err(CarError::Empty { at });
        }
        if self.header.is_none() {
            let max = self.limits.max_header_bytes;
            if len > max as u64 {
                return Err(CarError::HeaderTooLong { max, found: len });
            }
        } else {
            let max = self.limits.max_block_bytes;
            if len > max as u64 + MAX_CID_BYTES as u64 {
                return Err(CarError::BlockTooLong {
                    at,
                    max,
                    found: len,
                });
            }
        }
        Ok(len as usize)
    }

    #[inline]
    fn advance(&mut self, by: usize) -> Result<(), CarError> {
        self.at += by as u64;
        if self.at > self.limits.max_bytes {
            return Err(CarError::TooLong(self.limits.max_bytes));
        }
        Ok(())
    }
}
