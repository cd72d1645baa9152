//! What this device writes becomes operations of its log, in the batch of the commit.

use std::sync::Arc;

use ues_repo::repo::write::WriteError;
use ues_repo::repo::{LoggedChange, OperationLog};
use ues_repo::syntax::Did;
use ues_storage::Batch;

use crate::log::{Change, LocalChange, ReplicaError};

use super::replicas::{Replicas, now_ms};
use super::rows::put;

impl OperationLog for Replicas {
    fn keeps(&self, did: &Did) -> bool {
        self.0.shared.read().contains_key(did)
    }

    fn may_write(&self, did: &Did) -> bool {
        self.shared(did)
            .is_some_and(|shared| shared.state.borrow().replica.me().is_some())
    }

    fn record(
        &self,
        did: &Did,
        changes: Vec<LoggedChange>,
        batch: &mut Batch,
    ) -> Result<(), WriteError> {
        let Some(shared) = self.shared(did) else {
            return Ok(());
        };
        let rows = self.rows(shared.owner);
        let mut replica = shared.working();
        let mut change = Change::default();
        let local = changes.into_iter().map(|change| LocalChange {
            rules: self.rules(change.path.collection()),
            path: change.path,
            before: change.before,
            after: change.after,
        });
        replica
            .record(
                &rows,
                local.collect(),
                &|cid| Ok(self.store().block(cid.hash())?),
                now_ms(),
                &self.0.device,
                &mut change,
            )
            .map_err(|e| match e {
                ReplicaError::NotAWriter(did) => WriteError::NotAWriter(did),
                other => WriteError::Storage(other.to_string()),
            })?;
        put(&change, &self.0.rows, shared.owner, batch);
        *shared.pending.lock() = Some(replica);
        Ok(())
    }

    fn settled(&self, did: &Did, durable: bool) {
        let Some(shared) = self.shared(did) else {
            return;
        };
        let pending = shared.pending.lock().take();
        if !durable {
            return;
        }
        let records = match self.0.repos.head(did) {
            Ok(Some(head)) => head.data,
            Ok(None) => return,
            Err(e) => {
                tracing::error!(%did, error = %e, "a repository cannot be read after a commit");
                return;
            }
        };
        shared.state.send_modify(|state| {
            if let Some(replica) = pending {
                state.replica = Arc::new(replica);
            }
            state.records = records;
        });
    }
}
