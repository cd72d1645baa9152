//! Archives from an asynchronous input.

use bytes::BytesMut;
use tokio::io::{AsyncRead, AsyncReadExt};

use super::{Block, CarDecoder, CarError, CarHeader, CarLimits};

/// How much is read at a time, at most.
const CHUNK: usize = 64 << 10;

/// Reads the blocks of an archive from a network or the like, one after another, in bounded memory.
#[derive(Debug)]
pub struct AsyncCarReader<R> {
    input: R,
    decoder: CarDecoder,
    header: CarHeader,
}

impl<R: AsyncRead + Unpin> AsyncCarReader<R> {
    /// Begins reading: the header is read at once.
    pub async fn new(mut input: R, limits: CarLimits) -> Result<Self, CarError> {
        let mut decoder = CarDecoder::new(limits);
        loop {
            if let Some(header) = decoder.header()? {
                let header = header.clone();
                return Ok(Self {
                    input,
                    decoder,
                    header,
                });
            }
            if !fill(&mut input, &mut decoder).await? {
                decoder.finish()?;
            }
        }
    }

    /// The roots that the header names.
    #[must_use]
    pub fn roots(&self) -> &[cid::Cid] {
        &self.header.roots
    }

    /// The next block, or `None` after the last one.
    ///
    /// Cancel safe: a dropped call loses no input.
    pub async fn next(&mut self) -> Result<Option<Block>, CarError> {
        loop {
            if let Some(block) = self.decoder.next()? {
                return Ok(Some(block));
            }
            if !fill(&mut self.input, &mut self.decoder).await? {
                self.decoder.finish()?;
                return Ok(None);
            }
        }
    }
}

async fn fill(
    input: &mut (impl AsyncRead + Unpin),
    decoder: &mut CarDecoder,
) -> Result<bool, CarError> {
    let mut chunk = BytesMut::with_capacity(CHUNK);
    if input.read_buf(&mut chunk).await? == 0 {
        return Ok(false);
    }
    decoder.feed(chunk.freeze());
    Ok(true)
}
