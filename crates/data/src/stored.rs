//! The store and its snapshots as block sources.

use bytes::Bytes;
use cid::Cid;
use ues_storage::{Snapshot, Store};

use crate::source::{BlockSource, BlockSourceError};

impl BlockSource for Store {
    fn block(&self, cid: &Cid) -> Result<Option<Bytes>, BlockSourceError> {
        Store::block(self, cid.hash()).map_err(|e| BlockSourceError::read(cid, e))
    }
}

impl BlockSource for Snapshot {
    fn block(&self, cid: &Cid) -> Result<Option<Bytes>, BlockSourceError> {
        Snapshot::block(self, cid.hash()).map_err(|e| BlockSourceError::read(cid, e))
    }
}
