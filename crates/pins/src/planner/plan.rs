//! The plan for one record.

use super::allocate::{Allocation, allocate};
use super::{Plan, Policy, Task, pause};
use crate::fleet::{Fleet, Worker};
use crate::model::PeerId;
use crate::placement::{PinRecord, Placement, PlacementState};

/// What has to be done about a record. Nothing when all is as it should be, or is under way.
///
/// A copy is taken away only when enough others are there: nothing that is wanted is ever below its minimum because
/// of a move.
pub fn plan(record: &PinRecord, fleet: &Fleet, policy: &Policy, now_ms: u64) -> Plan {
    let mut plan = Plan::default();
    let allocation = match &record.wanted {
        Some(wanted) => allocate(record, wanted, fleet, policy, now_ms),
        None => Allocation {
            workers: Vec::new(),
            min: 0,
            missing: 0,
        },
    };
    plan.missing = u32::try_from(allocation.missing).unwrap_or(u32::MAX);
    let mut desk = Desk {
        fleet,
        policy,
        now_ms,
        plan: &mut plan,
    };
    for id in &allocation.workers {
        desk.keep(id, record.placement(id));
    }
    // Copies that stay and are there now; those that go may go only when these are enough.
    let there = allocation
        .workers
        .iter()
        .filter_map(|id| record.placement(id))
        .filter(|p| p.is_pinned())
        .count();
    let enough = there >= allocation.min;
    for (id, placement) in &record.placements {
        if !allocation.workers.contains(id) {
            let last_resort = placement.is_pinned() && !enough;
            desk.give_up(id, placement, last_resort);
        }
    }
    plan
}

/// Where decisions are written down.
struct Desk<'a> {
    fleet: &'a Fleet,
    policy: &'a Policy,
    now_ms: u64,
    plan: &'a mut Plan,
}

impl Desk<'_> {
    /// A worker should have it.
    fn keep(&mut self, id: &PeerId, placement: Option<&Placement>) {
        match placement {
            Some(p) if p.desired => match p.state {
                PlacementState::Pinned => {
                    // What a backend holds that does not answer is not known, and no reason to begin anew.
                    let knows = |w: &&Worker| self.is_heard(w) && w.failing.is_none();
                    let Some(worker) = self.fleet.get(id).filter(knows) else {
                        return;
                    };
                    if worker.content != p.content {
                        let heard = p.heard;
                        self.assign(id, true, heard);
                    } else if self.now_ms >= p.next_ms {
                        self.verify(id, p);
                    }
                }
                PlacementState::Error if p.terminal => {}
                _ => self.repeat(id, p),
            },
            _ => self.assign(id, true, placement.map_or(0, |p| p.heard)),
        }
    }

    /// A worker should not have it.
    fn give_up(&mut self, id: &PeerId, placement: &Placement, last_resort: bool) {
        if last_resort {
            return;
        }
        if placement.desired {
            self.assign(id, false, placement.heard);
        } else if placement.state == PlacementState::Unpinned {
            // Kept for a while, so that a late word of the worker finds it.
            if self.now_ms >= placement.next_ms {
                self.plan.changes.push((id.clone(), None));
            }
        } else if self.fleet.get(id).is_none() {
            self.plan.changes.push((id.clone(), None));
        } else {
            self.repeat(id, placement);
        }
    }

    fn assign(&mut self, id: &PeerId, desired: bool, heard: u64) {
        let next_ms = self.now_ms + pause(self.policy, 1);
        let placement = Placement::assigned(desired, self.now_ms, next_ms);
        self.send(id, Placement { heard, ..placement });
    }

    /// Asks a worker whether what it pinned is still there; the placement counts as pinned meanwhile.
    fn verify(&mut self, id: &PeerId, placement: &Placement) {
        let next_ms = self.now_ms + self.policy.verify_ms;
        let asked = Placement {
            next_ms,
            ..placement.clone()
        };
        self.send(id, asked);
    }

    /// Sends the same task again when it is time and the worker can be heard.
    fn repeat(&mut self, id: &PeerId, placement: &Placement) {
        let heard = self.fleet.get(id).is_some_and(|w| self.is_heard(w));
        if self.now_ms < placement.next_ms || !heard {
            return;
        }
        let attempt = placement.attempt.saturating_add(1);
        let next_ms = self.now_ms + pause(self.policy, attempt);
        let again = Placement {
            attempt,
            next_ms,
            ..placement.clone()
        };
        self.send(id, again);
    }

    fn send(&mut self, id: &PeerId, placement: Placement) {
        let task = if placement.desired {
            Task::Pin
        } else {
            Task::Unpin
        };
        self.plan.changes.push((id.clone(), Some(placement)));
        self.plan.tasks.push((id.clone(), task));
    }

    fn is_heard(&self, worker: &Worker) -> bool {
        self.now_ms.saturating_sub(worker.seen_ms) <= self.policy.away_ms
    }
}
