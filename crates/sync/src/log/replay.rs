//! Going through a log in an order that is the same on all devices that merge.
//!
//! Operations come in the layers that the root's snapshots make: first what the first snapshot counts, then what the next
//! one counts besides, and so on. Within a layer each comes after those that it names. The layers matter where something
//! counts that did not when somebody who had seen it was counted by a snapshot: it then comes behind, also on devices
//! whose log begins at that snapshot.

use std::collections::BTreeSet;

use ues_repo::repo::write::RecordPath;

use crate::clock::{ROOT, VectorClock};
use crate::operation::{Operation, SnapshotSums};

use super::replica::{Replica, ReplicaError};
use super::rows::{Rows, operation_key};

impl Replica {
    /// Hands out all operations on records behind the place where the log begins.
    pub(super) fn replay(
        &self,
        rows: &dyn Rows,
        each: &mut dyn FnMut(&Operation),
    ) -> Result<(), ReplicaError> {
        let mut done = self.floor_clock(rows)?;
        let here = self.clock();
        for seq in self.floor + 1..=here.get(ROOT) {
            if let Some(sums) = self.snapshot_sums(rows, seq)? {
                self.replay_layer(rows, &sums.clock(), &mut done, each)?;
            }
        }
        self.replay_layer(rows, &here, &mut done, each)?;
        // What claims to have seen something that nobody has.
        for (number, last) in here.iter().filter(|(number, _)| *number != ROOT) {
            let from = operation_key(number, done.get(number).saturating_add(1));
            let to = operation_key(number, last.saturating_add(1));
            if from < to {
                for row in rows.range(&from, &to) {
                    each(&self.decode(row?.1)?);
                }
            }
        }
        Ok(())
    }

    fn replay_layer(
        &self,
        rows: &dyn Rows,
        layer: &VectorClock,
        done: &mut VectorClock,
        each: &mut dyn FnMut(&Operation),
    ) -> Result<(), ReplicaError> {
        let here = self.clock();
        let last = |number| layer.get(number).min(here.get(number));
        let mut progress = true;
        while std::mem::take(&mut progress) {
            for (number, _) in layer.iter().filter(|(number, _)| *number != ROOT) {
                let next = done.get(number).saturating_add(1);
                let (from, to) = (
                    operation_key(number, next),
                    operation_key(number, last(number).saturating_add(1)),
                );
                if from >= to {
                    continue;
                }
                for row in rows.range(&from, &to) {
                    let operation = self.decode(row?.1)?;
                    let mut deps = operation.payload.deps.iter();
                    // The root writes no records, and what is in no layer yet is not waited for.
                    if !deps.all(|(w, seq)| w == ROOT || done.get(w) >= seq.min(last(w))) {
                        break;
                    }
                    done.set(number, operation.payload.seq);
                    each(&operation);
                    progress = true;
                }
            }
        }
        Ok(())
    }

    /// The records in which operations come behind others that had seen them, because a snapshot does not count them.
    pub(super) fn put_behind(
        &self,
        rows: &dyn Rows,
        sums: &SnapshotSums,
    ) -> Result<BTreeSet<RecordPath>, ReplicaError> {
        let counted = sums.clock();
        let mut named = VectorClock::default();
        for tip in &sums.tips {
            // A writer's last operation names all that the ones before did.
            if let Some(operation) = self.operation(rows, tip.writer, tip.seq)? {
                named.merge(&operation.payload.deps);
            }
        }
        let mut out = BTreeSet::new();
        for (number, seq) in named.iter().filter(|(number, _)| *number != ROOT) {
            let (from, to) = (
                operation_key(number, counted.get(number).saturating_add(1)),
                operation_key(number, seq.saturating_add(1)),
            );
            if from < to {
                for row in rows.range(&from, &to) {
                    let action = self.decode(row?.1)?.payload.action;
                    out.extend(action.merge().and(action.target()).cloned());
                }
            }
        }
        Ok(out)
    }
}
