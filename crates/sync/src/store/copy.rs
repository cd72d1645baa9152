//! This device's copy, as sessions read it.

use bytes::Bytes;
use ues_data::Cid;
use ues_storage::Store;

use crate::log::{Replica, ReplicaError, Rows};
use crate::protocol::Copy;

use super::rows::StoredRows;
use super::shared::State;

/// A durable state of a repository that is in the store.
pub struct StoredCopy {
    pub(super) state: Option<State>,
    pub(super) rows: StoredRows,
    pub(super) store: Store,
}

impl Copy for StoredCopy {
    fn replica(&self) -> Option<&Replica> {
        self.state.as_ref().map(|state| &*state.replica)
    }

    fn rows(&self) -> &dyn Rows {
        &self.rows
    }

    fn records(&self) -> Option<Cid> {
        self.state.as_ref().map(|state| state.records)
    }

    fn block(&self, cid: &Cid) -> Result<Option<Bytes>, ReplicaError> {
        Ok(self.store.block(cid.hash())?)
    }
}
