//! What all devices have: up to there nobody asks for single operations any more.

use crate::clock::{ROOT, WriterId};

use super::change::Change;
use super::replica::{Replica, ReplicaError};
use super::roster::Writer;
use super::rows::{Rows, acknowledged_key};

/// How far the log could be pruned, and what holds it up.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Stable {
    /// Number of the latest snapshot of the root that all devices have, if the log does not begin there yet.
    pub snapshot: Option<u64>,
    /// Number of the latest snapshot of the root.
    pub latest: Option<u64>,
    /// Writers that are not known to have the latest one.
    pub waiting_for: Vec<WriterId>,
}

impl Replica {
    /// Notes that a device has all that is here now. Nothing of it is signed or passed on.
    pub fn acknowledge(
        &self,
        rows: &dyn Rows,
        did_key: &str,
        change: &mut Change,
    ) -> Result<(), ReplicaError> {
        let Some(number) = self.roster.find(did_key) else {
            return Ok(());
        };
        let Some(latest) = self.snapshots_after_floor(rows)?.first().copied() else {
            return Ok(());
        };
        // Between two snapshots it makes no difference.
        if self.acknowledged(rows, number)? < latest {
            let seq = self.clock().get(ROOT);
            change.put(acknowledged_key(number), seq.to_be_bytes().to_vec());
        }
        Ok(())
    }

    /// How much of the root a writer is known to have: what it said in its operations, or had when it was last met.
    pub fn acknowledged(&self, rows: &dyn Rows, number: WriterId) -> Result<u64, ReplicaError> {
        let tip = self.roster.get(number).and_then(|w| w.tip.as_ref());
        let said = tip.map_or(0, |tip| tip.deps.get(ROOT));
        let row = rows.get(&acknowledged_key(number))?;
        let met = row.and_then(|row| Some(u64::from_be_bytes(row[..].try_into().ok()?)));
        Ok(said.max(met.unwrap_or(0)))
    }

    /// How far the log may be pruned. Devices that may not write any more do not count, nor does one that has not
    /// shown itself since before a snapshot that was signed before `away_before_ms`.
    pub fn stable(&self, rows: &dyn Rows, away_before_ms: u64) -> Result<Stable, ReplicaError> {
        let snapshots = self.snapshots_after_floor(rows)?;
        let mut out = Stable {
            latest: snapshots.first().copied(),
            ..Stable::default()
        };
        let mut known = Vec::new();
        for (number, writer) in self.roster.iter() {
            let here = *writer.did_key == *self.device_name();
            let waited_for = |w: &Writer| w.is_active() && number != ROOT && !here;
            if waited_for(writer) {
                known.push((number, self.acknowledged(rows, number)?));
            }
        }
        for seq in snapshots {
            let lacking = known.iter().filter(|(_, acknowledged)| *acknowledged < seq);
            let lacking: Vec<WriterId> = lacking.map(|(number, _)| *number).collect();
            let signed = self.operation(rows, ROOT, seq)?;
            let is_old = signed.is_some_and(|op| op.payload.time.ms() < away_before_ms);
            let stable = lacking.is_empty() || is_old;
            if out.latest == Some(seq) {
                out.waiting_for = lacking;
            }
            if stable {
                out.snapshot = Some(seq);
                break;
            }
        }
        Ok(out)
    }

    /// Whether anybody has written since the latest snapshot, or there is none.
    pub fn has_news(&self, rows: &dyn Rows) -> Result<bool, ReplicaError> {
        let latest = self.snapshots_after_floor(rows)?.first().copied();
        let seq = latest.unwrap_or(self.floor);
        let counted = match self.snapshot_sums(rows, seq)? {
            Some(sums) => sums.clock(),
            None => crate::clock::VectorClock::default(),
        };
        let mut writers = self.roster.iter().filter(|(number, _)| *number != ROOT);
        Ok(writers.any(|(number, writer)| writer.seq() > counted.get(number)))
    }

    /// Numbers of the root's snapshots behind the one where the log begins, the latest first.
    fn snapshots_after_floor(&self, rows: &dyn Rows) -> Result<Vec<u64>, ReplicaError> {
        let mut out = Vec::new();
        for seq in (self.floor + 1..=self.clock().get(ROOT)).rev() {
            if self.snapshot_sums(rows, seq)?.is_some() {
                out.push(seq);
            }
        }
        Ok(out)
    }
}
