//! Where a log begins that does not have all operations: at a snapshot of the root.

use crate::clock::{ROOT, VectorClock};
use crate::operation::{Action, SnapshotSums};

use super::replica::{Replica, ReplicaError};
use super::roster::Writer;
use super::rows::{Rows, floors, operation_key, path_of};
use super::snapshot::Snapshot;
use ues_repo::repo::write::RecordPath;

impl SnapshotSums {
    /// What the snapshot counts, besides the operations of the root.
    pub fn clock(&self) -> VectorClock {
        self.tips.iter().map(|tip| (tip.writer, tip.seq)).collect()
    }
}

impl Replica {
    /// Number of the root's snapshot where the log begins; `None` if it has all operations from the first on.
    pub fn floor(&self) -> Option<u64> {
        (self.floor > 0).then_some(self.floor)
    }

    /// What a snapshot of the root says.
    pub fn snapshot_sums(
        &self,
        rows: &dyn Rows,
        root_seq: u64,
    ) -> Result<Option<SnapshotSums>, ReplicaError> {
        let operation = self.operation(rows, ROOT, root_seq)?;
        Ok(operation.and_then(|op| match op.payload.action {
            Action::Snapshot(sums) => Some(sums),
            _ => None,
        }))
    }

    /// What somebody must have for the rest to be in the log here: the clock of the snapshot where it begins.
    pub fn floor_clock(&self, rows: &dyn Rows) -> Result<VectorClock, ReplicaError> {
        if self.floor == 0 {
            return Ok(VectorClock::default());
        }
        let sums = self.snapshot_sums(rows, self.floor)?;
        let sums = sums.ok_or_else(|| self.damaged("the snapshot where it begins is gone"))?;
        let mut clock = sums.clock();
        clock.set(ROOT, self.floor);
        Ok(clock)
    }

    /// The snapshot where the log begins, for somebody who lacks what is before it; `None` if nothing is.
    pub fn floor_snapshot(&self, rows: &dyn Rows) -> Result<Option<Snapshot>, ReplicaError> {
        if self.floor == 0 {
            return Ok(None);
        }
        let sums = self.snapshot_sums(rows, self.floor)?;
        let sums = sums.ok_or_else(|| self.damaged("the snapshot where it begins is gone"))?;
        let mut snapshot = Snapshot {
            root_chain: Vec::new(),
            tips: Vec::new(),
            proofs: Vec::new(),
            states: Vec::new(),
            records: sums.records,
        };
        let block = |writer, seq| {
            rows.get(&operation_key(writer, seq))?
                .ok_or_else(|| self.damaged(format!("operation {seq} of writer {writer} is gone")))
        };
        for seq in 1..=self.floor {
            snapshot.root_chain.push(block(ROOT, seq)?);
        }
        for tip in &sums.tips {
            snapshot.tips.push(block(tip.writer, tip.seq)?);
        }
        let granted = |(number, _): &(u32, &Writer)| u64::from(*number) <= self.floor;
        for (number, _) in self.roster.iter().filter(granted) {
            snapshot.proofs.extend(self.proof(rows, number)?);
        }
        let (from, to) = floors();
        for row in rows.range(&from, &to) {
            let (key, state) = row?;
            let path = path_of(&key).and_then(|path| RecordPath::parse(path).ok());
            let path = path.ok_or_else(|| self.damaged("a state where it begins"))?;
            snapshot.states.push((path, state));
        }
        Ok(Some(snapshot))
    }
}
