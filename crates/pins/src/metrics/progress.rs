//! How long workers take: from the assignment of a placement to the word that it is done.

use std::collections::HashMap;

use ues_data::Cid;

use super::{Op, Source};
use crate::model::PeerId;
use crate::placement::{PinRecord, Placement, PlacementState};

/// Placements that are followed at one time. Of those beyond, only the time since their last change is known.
const FOLLOWED: usize = 65_536;
/// An assignment so soon after a request is there because of that request.
const PROMPT_MS: u64 = 60_000;

/// Placements that workers have begun with, and not ended.
#[derive(Debug, Default)]
pub struct Progress(HashMap<(Cid, PeerId), Begun>);

/// A placement when the first was heard of it.
#[derive(Clone, Copy, Debug)]
struct Begun {
    desired: bool,
    assigned_ms: u64,
    /// Whether the worker never said anything about it before.
    unheard: bool,
}

/// A worker's word that something is done.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Confirmed {
    /// Who caused it.
    pub source: Source,
    /// What.
    pub op: Op,
    /// When the wish for it was accepted, in milliseconds since the Unix epoch.
    pub accepted_ms: u64,
    /// When it was assigned, in milliseconds since the Unix epoch.
    pub assigned_ms: u64,
}

impl Progress {
    /// Takes in that a placement of a record, which is as it was before, becomes a new one.
    pub fn change(
        &mut self,
        record: &PinRecord,
        peer: &PeerId,
        new: &Placement,
    ) -> Option<Confirmed> {
        // What nobody asked for was not assigned.
        let old = record.placement(peer)?;
        let key = (record.cid, peer.clone());
        let known = self.0.get(&key).copied();
        let begun = known
            .filter(|b| b.desired == old.desired && old.state != PlacementState::Queued)
            .unwrap_or(Begun {
                desired: old.desired,
                assigned_ms: old.changed_ms,
                unheard: old.state == PlacementState::Queued && old.heard == 0,
            });
        let op = match (new.desired, new.state) {
            (true, PlacementState::Pinned) => Op::Pin,
            (false, PlacementState::Unpinned) => Op::Unpin,
            (_, PlacementState::Queued) => {
                self.0.remove(&key);
                return None;
            }
            _ => {
                if known.is_some() || self.0.len() < FOLLOWED {
                    self.0.insert(key, begun);
                }
                return None;
            }
        };
        self.0.remove(&key);
        if (old.desired, old.state) == (new.desired, new.state) {
            return None;
        }
        Some(confirmed(record, peer, op, begun))
    }
}

fn confirmed(record: &PinRecord, peer: &PeerId, op: Op, begun: Begun) -> Confirmed {
    let assigned_ms = begun.assigned_ms;
    // What the service does on its own begins with the assignment: the request may be years old.
    let own = Confirmed {
        source: Source::Reconciler,
        op,
        accepted_ms: assigned_ms,
        assigned_ms,
    };
    match (op, &record.wanted) {
        (Op::Pin, Some(wanted)) => {
            let there = |(id, p): &(PeerId, Placement)| id != peer && p.is_pinned();
            let prompt = assigned_ms.saturating_sub(wanted.created_ms) < PROMPT_MS;
            let first = !record.placements.iter().any(there) && (begun.unheard || prompt);
            if !first {
                return own;
            }
            Confirmed {
                source: Source::Api,
                accepted_ms: wanted.created_ms,
                ..own
            }
        }
        // Nothing is kept of a request that was removed; it is planned at once.
        (Op::Unpin, None) => Confirmed {
            source: Source::Api,
            ..own
        },
        _ => own,
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;
    use crate::{Pin, PinOptions, Wanted};

    fn record(created_ms: u64, placements: Vec<(PeerId, Placement)>) -> PinRecord {
        let cid = ues_data::content_id::raw_cid(b"x");
        let wanted = Wanted {
            pin: Pin::new(cid, PinOptions::default(), created_ms / 1000),
            requests: 1,
            created_ms,
            owner: crate::Owner::default_owner(),
        };
        PinRecord {
            cid,
            wanted: Some(wanted),
            placements,
        }
    }

    fn peer(n: u8) -> PeerId {
        PeerId::from_ed25519(&[n; 32])
    }

    fn step(old: &Placement, state: PlacementState, changed_ms: u64) -> Placement {
        Placement {
            state,
            changed_ms,
            heard: old.heard + 1,
            ..old.clone()
        }
    }

    #[test]
    fn the_first_copy_counts_from_the_request_and_its_assignment() {
        let mut progress = Progress::default();
        let queued = Placement::assigned(true, 200_000, 0);
        let pinning = step(&queued, PlacementState::Pinning, 300_000);
        let pinned = step(&pinning, PlacementState::Pinned, 400_000);
        let before = record(1000, vec![(peer(1), queued)]);
        assert_eq!(progress.change(&before, &peer(1), &pinning), None);
        let before = record(1000, vec![(peer(1), pinning)]);
        let done = progress.change(&before, &peer(1), &pinned).unwrap();
        assert_eq!((done.source, done.op), (Source::Api, Op::Pin));
        assert_eq!((done.accepted_ms, done.assigned_ms), (1000, 200_000));
        let before = record(1000, vec![(peer(1), pinned.clone())]);
        assert_eq!(progress.change(&before, &peer(1), &pinned), None);
        assert!(progress.0.is_empty());
    }

    #[test]
    fn further_and_repaired_copies_are_the_services_own() {
        let mut progress = Progress::default();
        let there = step(&Placement::assigned(true, 0, 0), PlacementState::Pinned, 0);
        let queued = Placement::assigned(true, 900_000, 0);
        let pinned = step(&queued, PlacementState::Pinned, 950_000);
        let further = record(1000, vec![(peer(1), there), (peer(2), queued.clone())]);
        let lost = Placement { heard: 7, ..queued };
        let repaired = record(1000, vec![(peer(2), lost)]);
        for before in [further, repaired] {
            let done = progress.change(&before, &peer(2), &pinned).unwrap();
            assert_eq!(done.source, Source::Reconciler);
            assert_eq!((done.accepted_ms, done.assigned_ms), (900_000, 900_000));
        }
    }
}
