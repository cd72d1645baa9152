//! Where blocks come from and where they go.

use std::collections::{BTreeMap, HashMap};
use std::error::Error;
use std::hash::BuildHasher;
use std::sync::Arc;

use bytes::Bytes;
use cid::Cid;

/// A block could not be read, for a reason other than its absence.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum BlockSourceError {
    /// The medium failed.
    #[error("block {cid} could not be read: {reason}")]
    Read {
        /// The block that was asked for.
        cid: Cid,
        /// What the medium said.
        #[source]
        reason: Box<dyn Error + Send + Sync>,
    },
}

impl BlockSourceError {
    /// Wraps the error of a medium.
    pub fn read(cid: &Cid, reason: impl Into<Box<dyn Error + Send + Sync>>) -> Self {
        Self::Read {
            cid: *cid,
            reason: reason.into(),
        }
    }
}

/// Anything that can be asked for blocks by CID.
///
/// A source promises nothing about the bytes: who does not trust it checks them with
/// [`verify`](crate::content_id::verify).
pub trait BlockSource {
    /// The bytes of a block, or `None` if the source does not have it.
    fn block(&self, cid: &Cid) -> Result<Option<Bytes>, BlockSourceError>;
}

impl<T: BlockSource + ?Sized> BlockSource for &T {
    fn block(&self, cid: &Cid) -> Result<Option<Bytes>, BlockSourceError> {
        (**self).block(cid)
    }
}

impl<T: BlockSource + ?Sized> BlockSource for Box<T> {
    fn block(&self, cid: &Cid) -> Result<Option<Bytes>, BlockSourceError> {
        (**self).block(cid)
    }
}

impl<T: BlockSource + ?Sized> BlockSource for Arc<T> {
    fn block(&self, cid: &Cid) -> Result<Option<Bytes>, BlockSourceError> {
        (**self).block(cid)
    }
}

impl<S: BuildHasher> BlockSource for HashMap<Cid, Bytes, S> {
    fn block(&self, cid: &Cid) -> Result<Option<Bytes>, BlockSourceError> {
        Ok(self.get(cid).cloned())
    }
}

impl BlockSource for BTreeMap<Cid, Bytes> {
    fn block(&self, cid: &Cid) -> Result<Option<Bytes>, BlockSourceError> {
        Ok(self.get(cid).cloned())
    }
}

/// A source that has nothing.
#[derive(Debug, Clone, Copy, Default)]
pub struct NoBlocks;

impl BlockSource for NoBlocks {
    fn block(&self, _: &Cid) -> Result<Option<Bytes>, BlockSourceError> {
        Ok(None)
    }
}

/// A closure as a source or as a sink.
#[derive(Debug, Clone, Copy)]
pub struct FromFn<F>(pub F);

impl<F> BlockSource for FromFn<F>
where
    F: Fn(&Cid) -> Result<Option<Bytes>, BlockSourceError>,
{
    fn block(&self, cid: &Cid) -> Result<Option<Bytes>, BlockSourceError> {
        (self.0)(cid)
    }
}

/// Two sources, the second asked for what the first does not have.
#[derive(Debug, Clone, Copy)]
pub struct Layered<A, B>(pub A, pub B);

impl<A: BlockSource, B: BlockSource> BlockSource for Layered<A, B> {
    fn block(&self, cid: &Cid) -> Result<Option<Bytes>, BlockSourceError> {
        match self.0.block(cid)? {
            Some(bytes) => Ok(Some(bytes)),
            None => self.1.block(cid),
        }
    }
}

/// A block could not be kept.
#[derive(Debug, thiserror::Error)]
#[error("block {cid} could not be kept: {reason}")]
pub struct BlockSinkError {
    /// The block.
    pub cid: Cid,
    /// What the medium said.
    #[source]
    pub reason: Box<dyn Error + Send + Sync>,
}

/// Anything that takes blocks, such as a map or a batch of a store.
pub trait BlockSink {
    /// Keeps a block; keeping one twice does no harm.
    fn put(&mut self, cid: &Cid, bytes: Bytes) -> Result<(), BlockSinkError>;
}

impl<T: BlockSink + ?Sized> BlockSink for &mut T {
    fn put(&mut self, cid: &Cid, bytes: Bytes) -> Result<(), BlockSinkError> {
        (**self).put(cid, bytes)
    }
}

impl<S: BuildHasher> BlockSink for HashMap<Cid, Bytes, S> {
    fn put(&mut self, cid: &Cid, bytes: Bytes) -> Result<(), BlockSinkError> {
        self.insert(*cid, bytes);
        Ok(())
    }
}

impl BlockSink for BTreeMap<Cid, Bytes> {
    fn put(&mut self, cid: &Cid, bytes: Bytes) -> Result<(), BlockSinkError> {
        self.insert(*cid, bytes);
        Ok(())
    }
}

impl<F> BlockSink for FromFn<F>
where
    F: FnMut(&Cid, Bytes) -> Result<(), BlockSinkError>,
{
    fn put(&mut self, cid: &Cid, bytes: Bytes) -> Result<(), BlockSinkError> {
        (self.0)(cid, bytes)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::content_id::raw_cid;

    #[test]
    fn layers_fall_through() {
        let (a, b, c) = (raw_cid(b"a"), raw_cid(b"b"), raw_cid(b"c"));
        let first = HashMap::from([(a, Bytes::from_static(b"a"))]);
        let second = FromFn(|cid: &Cid| Ok((*cid == b).then(|| Bytes::from_static(b"b"))));
        let both = Layered(&first, Layered(second, NoBlocks));
        assert_eq!(both.block(&a).unwrap().unwrap(), "a");
        assert_eq!(both.block(&b).unwrap().unwrap(), "b");
        assert!(both.block(&c).unwrap().is_none());
    }
}
