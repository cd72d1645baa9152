//! Archives from a blocking input.

use std::io::{self, Read};

use bytes::Bytes;

use super::{Block, CarDecoder, CarError, CarHeader, CarLimits};

/// How much is read at a time.
const CHUNK: u64 = 256 << 10;

/// Reads the blocks of an archive, one after another, in bounded memory.
///
/// As an iterator it ends after the last block or after the first error.
#[derive(Debug)]
pub struct CarReader<R> {
    input: R,
    decoder: CarDecoder,
    header: CarHeader,
    done: bool,
}

impl<R: Read> CarReader<R> {
    /// Begins reading: the header is read at once.
    pub fn new(mut input: R, limits: CarLimits) -> Result<Self, CarError> {
        let mut decoder = CarDecoder::new(limits);
        loop {
            if let Some(header) = decoder.header()? {
                let header = header.clone();
                return Ok(Self {
                    input,
                    decoder,
                    header,
                    done: false,
                });
            }
            if !fill(&mut input, &mut decoder)? {
                decoder.finish()?;
            }
        }
    }

    /// The roots that the header names.
    #[must_use]
    pub fn roots(&self) -> &[cid::Cid] {
        &self.header.roots
    }

    /// How far the sections reach that came out, in bytes from the beginning.
    #[must_use]
    pub const fn position(&self) -> u64 {
        self.decoder.bytes()
    }

    fn read(&mut self) -> Result<Option<Block>, CarError> {
        loop {
            if let Some(block) = self.decoder.next()? {
                return Ok(Some(block));
            }
            if !fill(&mut self.input, &mut self.decoder)? {
                self.decoder.finish()?;
                return Ok(None);
            }
        }
    }
}

impl<R: Read> Iterator for CarReader<R> {
    type Item = Result<Block, CarError>;

    fn next(&mut self) -> Option<Self::Item> {
        if self.done {
            return None;
        }
        let next = self.read().transpose();
        self.done = !matches!(next, Some(Ok(_)));
        next
    }
}

/// Feeds the next chunk; `false` at the end of the input.
fn fill(input: &mut impl Read, decoder: &mut CarDecoder) -> io::Result<bool> {
    let mut chunk = Vec::with_capacity(CHUNK as usize);
    input.by_ref().take(CHUNK).read_to_end(&mut chunk)?;
    if chunk.is_empty() {
        return Ok(false);
    }
    decoder.feed(Bytes::from(chunk));
    Ok(true)
}
