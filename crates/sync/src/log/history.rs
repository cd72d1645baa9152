//! What the log has of one record: each version, who wrote it, and why it stands or not.

use ues_data::Cid;
use ues_repo::repo::write::RecordPath;

use crate::clock::WriterId;
use crate::hybrid_time::HybridTime;
use crate::operation::{Operation, OperationId};

use super::replica::{Replica, ReplicaError};
use super::rows::{Rows, operation_key, operations};
use super::state::{Candidate, TargetState};

/// Why one of several operations that did not know each other counts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Reason {
    /// It is a record, the other a deletion.
    Record,
    /// It is later.
    Later,
    /// Both have the same time, and its author's key is the greater one.
    Author,
    /// Both have the same time and author, and its name is the greater one.
    Name,
}

/// How a version stands.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Standing {
    /// It is what the record is.
    Won {
        /// The versions that it won over, which did not know it nor were known to it, and why.
        over: Vec<(WriterId, u64, Reason)>,
        /// The versions whose edits are merged into it, though they did not know it nor were known to it.
        with: Vec<(WriterId, u64)>,
    },
    /// It did not know the one that counts, nor was it known to it. What it changed in fields with a merge rule is in the
    /// record all the same; of other fields the other one's count.
    Merged {
        /// The one that counts.
        into: (WriterId, u64),
        /// Why.
        because: Reason,
    },
    /// It did not know the one that counts, nor was it known to it. It is kept until somebody writes who has seen it.
    Lost {
        /// The one that counts.
        to: (WriterId, u64),
        /// Why.
        because: Reason,
    },
    /// Whoever wrote a later one had seen it.
    Replaced {
        /// By the first that had; `None` if that one is no longer in the log.
        by: Option<(WriterId, u64)>,
    },
}

/// One version of a record.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Version {
    /// Who.
    pub writer: WriterId,
    /// The how-manieth operation of the writer.
    pub seq: u64,
    /// Its name.
    pub id: OperationId,
    /// When.
    pub time: HybridTime,
    /// `create`, `update` or `delete`; `None` where only the state is left, not the operation.
    pub action: Option<&'static str>,
    /// The record; `None` for a deletion.
    pub value: Option<Cid>,
    /// How it stands.
    pub standing: Standing,
}

impl TargetState {
    /// Why a candidate counts rather than another one.
    pub fn reason<'a>(
        winner: &Candidate,
        other: &Candidate,
        author: impl Fn(WriterId) -> &'a str,
    ) -> Reason {
        if winner.value.is_some() != other.value.is_some() {
            Reason::Record
        } else if winner.time != other.time {
            Reason::Later
        } else if author(winner.writer) != author(other.writer) {
            Reason::Author
        } else {
            Reason::Name
        }
    }

    /// How an operation on the target stands. `by` is what had seen it, if it is no candidate.
    fn standing<'a>(
        &self,
        writer: WriterId,
        seq: u64,
        by: impl FnOnce() -> Option<(WriterId, u64)>,
        author: impl Fn(WriterId) -> &'a str + Copy,
    ) -> Standing {
        let mine = self.candidates.iter();
        let mine = mine.clone().find(|c| (c.writer, c.seq) == (writer, seq));
        let (Some(winner), Some(mine)) = (self.winner(author), mine) else {
            return Standing::Replaced { by: by() };
        };
        let merges = |c: &Candidate| c.lineage.is_some() && c.lineage == winner.lineage;
        if winner == mine {
            let others = self.candidates.iter().filter(|c| *c != winner);
            let (with, over): (Vec<_>, Vec<_>) = others.partition(|c| merges(c));
            let over = over.into_iter();
            let over = over.map(|c| (c.writer, c.seq, Self::reason(winner, c, author)));
            Standing::Won {
                over: over.collect(),
                with: with.into_iter().map(|c| (c.writer, c.seq)).collect(),
            }
        } else if merges(mine) {
            Standing::Merged {
                into: (winner.writer, winner.seq),
                because: Self::reason(winner, mine, author),
            }
        } else {
            Standing::Lost {
                to: (winner.writer, winner.seq),
                because: Self::reason(winner, mine, author),
            }
        }
    }
}

impl Replica {
    /// All versions of a record that are in the log, by time. Reads the whole log.
    pub fn history(
        &self,
        rows: &dyn Rows,
        path: &RecordPath,
    ) -> Result<Vec<Version>, ReplicaError> {
        let Some(state) = self.state(rows, path)? else {
            return Ok(Vec::new());
        };
        let name = path.as_str().as_bytes();
        let mut found: Vec<Operation> = Vec::new();
        let (from, to) = operations();
        for row in rows.range(&from, &to) {
            let block = row?.1;
            // Most blocks need not be decoded.
            if !block.windows(name.len()).any(|window| window == name) {
                continue;
            }
            let operation = self.decode(block)?;
            if operation.payload.action.target() == Some(path) {
                found.push(operation);
            }
        }
        found.sort_by_key(|op| (op.payload.time, op.payload.writer));
        let author = |writer| self.roster.author(writer);
        let mut out = Vec::with_capacity(found.len());
        for operation in &found {
            let (writer, seq) = (operation.payload.writer, operation.payload.seq);
            let by = || {
                let mut later = found.iter().filter(|other| other.id() != operation.id());
                let first = later.find(|other| other.payload.clock().covers(writer, seq));
                first.map(|by| (by.payload.writer, by.payload.seq))
            };
            out.push(Version {
                action: Some(operation.payload.action.name()),
                standing: state.standing(writer, seq, by, author),
                ..version(&Candidate::of(operation))
            });
        }
        for candidate in &state.candidates {
            if !found.iter().any(|op| op.id() == candidate.id) {
                let (writer, seq) = (candidate.writer, candidate.seq);
                out.push(Version {
                    standing: state.standing(writer, seq, || None, author),
                    ..version(candidate)
                });
            }
        }
        out.sort_by_key(|version| (version.time, version.writer));
        Ok(out)
    }

    /// The last operations of all writers by time, at most `max`, with how each stands.
    pub fn recent(
        &self,
        rows: &dyn Rows,
        max: usize,
    ) -> Result<Vec<(Operation, Option<Standing>)>, ReplicaError> {
        let mut found = Vec::new();
        for (number, writer) in self.roster.iter() {
            let last = writer.seq();
            let first = last.saturating_sub(max as u64).saturating_add(1);
            let (from, to) = (
                operation_key(number, first),
                operation_key(number, last.saturating_add(1)),
            );
            for row in rows.range(&from, &to) {
                found.push(self.decode(row?.1)?);
            }
        }
        found.sort_by_key(|op| (op.payload.time, op.payload.writer));
        let skip = found.len().saturating_sub(max);
        let author = |writer| self.roster.author(writer);
        let mut out = Vec::with_capacity(found.len() - skip);
        for operation in found.drain(skip..) {
            let payload = &operation.payload;
            let standing = match payload.action.target() {
                Some(path) => {
                    let state = self.state(rows, path)?.unwrap_or_default();
                    Some(state.standing(payload.writer, payload.seq, || None, author))
                }
                None => None,
            };
            out.push((operation, standing));
        }
        Ok(out)
    }
}

fn version(candidate: &Candidate) -> Version {
    Version {
        writer: candidate.writer,
        seq: candidate.seq,
        id: candidate.id,
        time: candidate.time,
        action: None,
        value: candidate.value,
        standing: Standing::Replaced { by: None },
    }
}
