//! CAR version 1: many blocks in one stream.
//!
//! A header names the roots, then each block follows with its CID in front. See the
//! [specification](https://ipld.io/specs/transport/car/carv1/). Blocks are handed out only after their bytes
//! were checked against their CID.
//!
//! [`CarDecoder`] does no IO: it is fed chunks of bytes and hands out blocks that share memory with them.
//! [`CarReader`] and [`AsyncCarReader`] drive it from an input. [`CarWriter`] and the functions beside it write.

mod async_reader;
mod decoder;
mod error;
mod file;
mod header;
mod reader;
mod writer;

pub use async_reader::AsyncCarReader;
pub use decoder::{CarDecoder, CarLimits};
pub use error::CarError;
pub use file::CarFile;
pub use header::CarHeader;
pub use reader::CarReader;
pub use writer::{CarWriter, block_prefix, write_block, write_header};

/// A block with its name; the bytes have been checked against it.
pub type Block = (cid::Cid, bytes::Bytes);
