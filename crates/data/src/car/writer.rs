//! Writing archives.

use std::io::{self, Write};

use cid::Cid;

use super::CarHeader;
use crate::content_id::write_cid;
use crate::varint;

/// Appends the header of an archive.
pub fn write_header(roots: &[Cid], out: &mut Vec<u8>) {
    let header = CarHeader::encode(roots);
    varint::write(header.len() as u64, out);
    out.extend_from_slice(&header);
}

/// Appends a block. That the bytes belong to the CID is up to the caller.
pub fn write_block(cid: &Cid, bytes: &[u8], out: &mut Vec<u8>) {
    out.reserve(bytes.len() + 48);
    block_prefix(cid, bytes.len(), out);
    out.extend_from_slice(bytes);
}

/// Appends what stands before the bytes of a block: the length of the section and the CID.
///
/// For outputs that send the block itself without copying it.
pub fn block_prefix(cid: &Cid, len: usize, out: &mut Vec<u8>) {
    varint::write((cid.encoded_len() + len) as u64, out);
    write_cid(cid, out);
}

/// Writes an archive to an output, in bounded memory.
#[derive(Debug)]
pub struct CarWriter<W: Write> {
    output: W,
    prefix: Vec<u8>,
}

impl<W: Write> CarWriter<W> {
    /// Begins an archive with its header.
    pub fn new(mut output: W, roots: &[Cid]) -> io::Result<Self> {
        let mut prefix = Vec::with_capacity(128);
        write_header(roots, &mut prefix);
        output.write_all(&prefix)?;
        Ok(Self { output, prefix })
    }

    /// Writes a block.
    pub fn block(&mut self, cid: &Cid, bytes: &[u8]) -> io::Result<()> {
        self.prefix.clear();
        block_prefix(cid, bytes.len(), &mut self.prefix);
        self.output.write_all(&self.prefix)?;
        self.output.write_all(bytes)
    }

    /// Flushes and gives the output back.
    pub fn finish(mut self) -> io::Result<W> {
        self.output.flush()?;
        Ok(self.output)
    }
}
