//! Keeping logs small: snapshots, pruning, and catching up with those who have pruned.

use bytes::Bytes;
use ues_repo::syntax::Did;

use crate::clock::WriterId;
use crate::log::ReplicaError;
use crate::protocol::SnapshotArchive;

use super::replicas::{Replicas, ReplicasError, now_ms};

/// Operations that one batch drops.
const SLICE: usize = 4096;

/// What was done to a log.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Compacted {
    /// Number of the snapshot that was signed for it.
    pub signed: Option<u64>,
    /// Number of the snapshot where the log begins now; `None` if it has all operations.
    pub begins_at: Option<u64>,
    /// How many operations were dropped.
    pub dropped: u64,
    /// Writers that are not known to have the latest snapshot: operations stay for their sake.
    pub waiting_for: Vec<WriterId>,
}

/// When to drop what others may still ask for.
#[derive(Clone, Copy, Debug)]
pub struct CompactPolicy {
    /// After how many milliseconds a device that does not show itself is not waited for.
    pub away_ms: u64,
    /// Waits for nobody.
    pub now: bool,
}

impl Replicas {
    /// Signs a snapshot, where the repository's key is and something was written since the last one, and drops the
    /// operations before the latest snapshot that all devices have.
    ///
    /// # Errors
    /// When the log cannot be read or written.
    pub async fn compact(
        &self,
        did: &Did,
        policy: CompactPolicy,
    ) -> Result<Compacted, ReplicasError> {
        let mut out = Compacted::default();
        if let Ok(root) = self.root_key(did) {
            let records = self.records_root(did);
            self.change(did, |replica, rows, change| {
                if replica.has_news(rows)? {
                    let records = records()?;
                    replica.sign_snapshot(rows, records, now_ms(), &root, change)?;
                    out.signed = Some(replica.clock().get(crate::clock::ROOT));
                }
                Ok(())
            })
            .await?;
        }
        let before = match policy.now {
            true => u64::MAX,
            false => now_ms().saturating_sub(policy.away_ms),
        };
        self.change(did, |replica, rows, change| {
            let stable = replica.stable(rows, before)?;
            if let Some(snapshot) = stable.snapshot {
                let pruned = replica.prune(rows, snapshot, change)?;
                pruned.map_err(|refused| ReplicaError::Damaged {
                    repo: did.clone(),
                    what: refused.to_string(),
                })?;
            }
            out.begins_at = replica.floor();
            if stable.snapshot != stable.latest || stable.latest.is_none() {
                out.waiting_for = stable.waiting_for;
            }
            Ok(())
        })
        .await?;
        loop {
            let mut dropped = 0;
            self.change(did, |replica, rows, change| {
                dropped = replica.sweep(rows, SLICE, change)?;
                Ok(())
            })
            .await?;
            out.dropped += dropped as u64;
            if dropped < SLICE {
                return Ok(out);
            }
        }
    }

    /// Takes in a snapshot of somebody who no longer has single operations that are lacking here. `false` if none is.
    ///
    /// # Errors
    /// [`ReplicasError::Refused`] when it is not what the root signed; nothing has changed then.
    pub async fn rebase(&self, did: &Did, archive: Bytes) -> Result<bool, ReplicasError> {
        let archive = SnapshotArchive::read(archive)?;
        let store = self.store().clone();
        let mut outcome = Ok(false);
        self.change(did, |replica, rows, change| {
            let block = |cid: &ues_data::Cid| Ok(store.block(cid.hash())?);
            let (snapshot, blocks) = (&archive.snapshot, &archive.blocks);
            outcome = replica.rebase(rows, snapshot, blocks, &block, change)?;
            Ok(())
        })
        .await?;
        Ok(outcome?)
    }

    /// Notes that a device has all that is here.
    ///
    /// # Errors
    /// When it cannot be written.
    pub async fn acknowledge(&self, did: &Did, did_key: &str) -> Result<(), ReplicasError> {
        let shared = self.needed(did)?;
        let replica = std::sync::Arc::clone(&shared.state.borrow().replica);
        let mut change = crate::log::Change::default();
        replica.acknowledge(&self.rows(shared.owner), did_key, &mut change)?;
        if change.is_empty() {
            return Ok(());
        }
        self.change(did, |replica, rows, change| {
            replica.acknowledge(rows, did_key, change)
        })
        .await
    }
}
