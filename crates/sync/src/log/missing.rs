//! What somebody lacks, in an order in which it can be taken in.

use bytes::Bytes;
use ues_data::Cid;

use crate::clock::{ROOT, VectorClock, WriterId};

use super::replica::{Replica, ReplicaError};
use super::rows::{Rows, operation_key};

/// An operation for somebody else.
#[derive(Clone, Debug)]
pub struct Outgoing {
    /// Its block.
    pub block: Bytes,
    /// The record that goes with it.
    pub value: Option<Cid>,
}

/// Some of what somebody lacks.
#[derive(Clone, Debug, Default)]
pub struct Missing {
    /// Each after all that it builds on.
    pub operations: Vec<Outgoing>,
    /// Whether there is more.
    pub more: bool,
    /// Whether something is lacking that is no longer in the log here.
    pub gone: bool,
}

impl Replica {
    /// The next operations, at most `max`, that are here and not known to somebody who has `theirs`; it is advanced by
    /// what is handed out.
    pub fn missing(
        &self,
        rows: &dyn Rows,
        theirs: &mut VectorClock,
        max: usize,
    ) -> Result<Missing, ReplicaError> {
        let mut out = Missing::default();
        let floor = self.floor_clock(rows)?;
        let behind: Vec<(WriterId, u64)> = self
            .clock()
            .iter()
            .filter(|(writer, seq)| theirs.get(*writer) < *seq)
            .collect();
        let mut progress = true;
        while progress {
            progress = false;
            for (writer, last) in &behind {
                let next = theirs.get(*writer) + 1;
                if next > *last {
                    continue;
                }
                // The root's chain is kept whole.
                if *writer != ROOT && floor.covers(*writer, next) {
                    out.gone = true;
                    continue;
                }
                let (from, to) = (
                    operation_key(*writer, next),
                    operation_key(*writer, last + 1),
                );
                let mut expected = next;
                for row in rows.range(&from, &to) {
                    if out.operations.len() >= max {
                        out.more = true;
                        return Ok(out);
                    }
                    let operation = self.decode(row?.1)?;
                    if operation.payload.seq != expected {
                        out.gone = true;
                        break;
                    }
                    if !self.is_ready(&operation.payload.deps, theirs) {
                        break;
                    }
                    theirs.set(*writer, expected);
                    expected += 1;
                    progress = true;
                    out.operations.push(Outgoing {
                        block: operation.block().clone(),
                        value: operation.payload.action.value().copied(),
                    });
                }
                if expected == next && rows.get(&from)?.is_none() {
                    out.gone = true;
                }
            }
        }
        Ok(out)
    }

    /// Whether somebody who has `theirs` can take in what builds on `deps`. Nobody needs what a writer signed from its
    /// fork on.
    fn is_ready(&self, deps: &VectorClock, theirs: &VectorClock) -> bool {
        deps.iter().all(|(writer, seq)| {
            let last = self.roster.get(writer).map_or(0, super::Writer::seq);
            theirs.get(writer) >= seq.min(last)
        })
    }
}
