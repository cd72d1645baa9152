//! Going through a log in an order in which it could have come.

use crate::clock::VectorClock;
use crate::operation::Operation;

use super::replica::{Replica, ReplicaError};
use super::rows::{Rows, operation_key};

/// Operations that are read at a time.
const PIECE: usize = 256;

impl Replica {
    /// Hands out the operations behind a clock, each after those that it had seen.
    pub(super) fn replay(
        &self,
        rows: &dyn Rows,
        behind: VectorClock,
        each: &mut dyn FnMut(&Operation),
    ) -> Result<(), ReplicaError> {
        let mut done = behind;
        loop {
            let missing = self.missing(rows, &mut done, PIECE)?;
            for outgoing in missing.operations {
                each(&self.decode(outgoing.block)?);
            }
            if !missing.more {
                break;
            }
        }
        // What claims to have seen something that nobody has.
        for (number, writer) in self.roster.iter() {
            let from = operation_key(number, done.get(number).saturating_add(1));
            let to = operation_key(number, writer.seq().saturating_add(1));
            if from < to {
                for row in rows.range(&from, &to) {
                    each(&self.decode(row?.1)?);
                }
            }
        }
        Ok(())
    }
}
