//! How far the limits of others move with an operation, and taking in what waited behind them.
//!
//! Who signs an operation without knowing of a revocation vouches for all that it had seen of the revoked writer; the
//! root vouches for all that a snapshot names.

use std::collections::BTreeMap;

use crate::clock::{ROOT, WriterId};
use crate::operation::{Action, Operation};

use super::admit::{Admitted, Refused};
use super::change::Change;
use super::replica::{Replica, ReplicaError};
use super::roster::Writer;
use super::rows::Rows;

/// What must happen before an operation can be appended.
#[derive(Debug, Default)]
pub(super) struct Plan {
    reach: BTreeMap<WriterId, u64>,
    pins: BTreeMap<WriterId, u64>,
    /// Up to where the waiting operations of a writer come in.
    upto: BTreeMap<WriterId, u64>,
}

/// Why what waited could not come in.
enum Stopped {
    /// It may later.
    Early(Refused),
    /// What waits under a number never will.
    Never(WriterId, u64, Refused),
    /// The writer's chain here is another one at this number or before.
    Diverged(WriterId, u64),
}

impl Plan {
    pub fn is_empty(&self) -> bool {
        self.reach.is_empty() && self.upto.is_empty()
    }

    fn limit(&self, number: WriterId, writer: &Writer) -> u64 {
        let reach = self.reach.get(&number).copied().unwrap_or(0);
        let pinned = self.pins.get(&number).copied().unwrap_or(0);
        let known = writer.revoked.map_or(0, |r| r.reach);
        writer.limit_with(known.max(reach)).max(pinned)
    }
}

impl Replica {
    /// What must happen before an operation can be appended; refused if something that it builds on is not here.
    ///
    /// What lies beyond the limit of its writer even then is void for everyone, so nobody needs it.
    pub(super) fn plan(&self, operation: &Operation) -> Result<Plan, Refused> {
        let mut plan = Plan::default();
        let mut queue = vec![operation];
        if let Action::Snapshot(sums) = &operation.payload.action {
            for tip in &sums.tips {
                let Some(writer) = self.roster.get(tip.writer) else {
                    return Err(Refused::UnknownWriter(tip.writer));
                };
                if tip.seq <= writer.seq() {
                    continue;
                }
                let last = self.beyond.get(tip.writer, tip.seq);
                if last.is_none_or(|last| last.operation.id() != tip.id) {
                    return Err(Refused::Missing {
                        writer: tip.writer,
                        seq: tip.seq,
                    });
                }
                plan.pins.insert(tip.writer, tip.seq);
                self.want(&mut plan, &mut queue, (tip.writer, writer), tip.seq)?;
            }
        }
        while let Some(operation) = queue.pop() {
            let payload = &operation.payload;
            for (number, seq) in payload.deps.iter() {
                let Some(writer) = self.roster.get(number) else {
                    return Err(Refused::Missing {
                        writer: number,
                        seq,
                    });
                };
                let mut limit = plan.limit(number, writer);
                if seq > limit && payload.writer != ROOT && writer.is_unknown_to(&payload.deps) {
                    let before = plan.reach.insert(number, seq);
                    let raised = plan.limit(number, writer);
                    if raised == limit {
                        match before {
                            Some(before) => plan.reach.insert(number, before),
                            None => plan.reach.remove(&number),
                        };
                    }
                    limit = raised;
                }
                let needed = seq.min(limit);
                if needed > writer.seq() {
                    self.want(&mut plan, &mut queue, (number, writer), needed)?;
                }
            }
        }
        Ok(plan)
    }

    /// Adds the waiting operations of a writer to a plan.
    fn want<'a>(
        &'a self,
        plan: &mut Plan,
        queue: &mut Vec<&'a Operation>,
        (number, writer): (WriterId, &Writer),
        to: u64,
    ) -> Result<(), Refused> {
        let from = plan.upto.get(&number).copied().unwrap_or(writer.seq());
        for seq in from + 1..=to {
            match self.beyond.get(number, seq) {
                Some(waiting) => queue.push(&waiting.operation),
                None => {
                    return Err(Refused::Missing {
                        writer: number,
                        seq,
                    });
                }
            }
        }
        plan.upto.insert(number, to.max(from));
        Ok(())
    }

    /// Carries a plan out, all of it or nothing. Answers a writer whose chain here is another one than what waits, and
    /// where.
    pub(super) fn carry_out(
        &mut self,
        rows: &dyn Rows,
        plan: &Plan,
        now_ms: u64,
        change: &mut Change,
    ) -> Result<Result<Option<(WriterId, u64)>, Refused>, ReplicaError> {
        if plan.is_empty() {
            return Ok(Ok(None));
        }
        let before = (self.clone(), change.clone());
        for (number, reach) in &plan.reach {
            if let Some(r) = self
                .roster
                .get_mut(*number)
                .and_then(|w| w.revoked.as_mut())
            {
                r.reach = r.reach.max(*reach);
            }
            self.keep_writer(*number, change);
        }
        for (number, seq) in &plan.pins {
            self.pin(*number, *seq);
        }
        let stopped = match self.admit_waiting(rows, &plan.upto, now_ms, change)? {
            Ok(()) => return Ok(Ok(None)),
            Err(stopped) => stopped,
        };
        (*self, *change) = before;
        match stopped {
            Stopped::Early(refused) => Ok(Err(refused)),
            Stopped::Never(writer, seq, refused) => {
                self.beyond.remove(writer, seq);
                Ok(Err(refused))
            }
            Stopped::Diverged(writer, seq) => {
                self.beyond.remove(writer, seq + 1);
                Ok(Ok(Some((writer, seq))))
            }
        }
    }

    /// Takes in what waited, each after what it builds on.
    fn admit_waiting(
        &mut self,
        rows: &dyn Rows,
        upto: &BTreeMap<WriterId, u64>,
        now_ms: u64,
        change: &mut Change,
    ) -> Result<Result<(), Stopped>, ReplicaError> {
        loop {
            let (mut progress, mut lacking) = (false, None);
            for (&number, &to) in upto {
                loop {
                    let seq = self.roster.get(number).map_or(0, Writer::seq) + 1;
                    if seq > to {
                        break;
                    }
                    let missing = Refused::Missing {
                        writer: number,
                        seq,
                    };
                    let Some(waiting) = self.beyond.remove(number, seq) else {
                        return Ok(Err(Stopped::Early(missing)));
                    };
                    match self.admit_ready(rows, waiting.clone(), now_ms, change)? {
                        Ok(Admitted::New) => progress = true,
                        Err(Refused::Missing { .. }) => {
                            self.beyond.insert(waiting);
                            lacking = Some(missing);
                            break;
                        }
                        Ok(Admitted::Diverged { writer, seq }) => {
                            return Ok(Err(Stopped::Diverged(writer, seq)));
                        }
                        Err(refused @ Refused::Ahead(_)) => {
                            return Ok(Err(Stopped::Early(refused)));
                        }
                        _ => return Ok(Err(Stopped::Never(number, seq, missing))),
                    }
                }
            }
            match lacking {
                None => return Ok(Ok(())),
                Some(missing) if !progress => return Ok(Err(Stopped::Early(missing))),
                Some(_) => {}
            }
        }
    }

    pub(super) fn pin(&mut self, number: WriterId, seq: u64) {
        if let Some(writer) = self.roster.get_mut(number) {
            writer.pinned = writer.pinned.max(seq);
        }
    }
}
