//! What a walk over all records counts: totals that cannot drift, because they are counted anew each time.

use std::collections::BTreeMap;

use crate::metrics::Tenants;
use crate::placement::{PinRecord, PlacementState};
use crate::shard::Shard;

/// Counts of all pins.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Totals {
    /// CIDs that somebody wants.
    pub wanted: u64,
    /// Requests.
    pub requests: u64,
    /// CIDs whose placements are not as they should be.
    pub drifting: u64,
    /// Copies that should be there.
    pub desired: u64,
    /// Copies that are there.
    pub pinned: u64,
    /// Copies that wait or are under way.
    pub underway: u64,
    /// Copies that failed, to be tried again or not.
    pub failed: u64,
    /// Copies that are to be taken away.
    pub surplus: u64,
    /// Bytes of the copies that are there, as far as their size is known.
    pub bytes: u64,
    /// When the oldest of the counts was made, in milliseconds since the Unix epoch; 0: not all were made yet.
    pub counted_ms: u64,
}

impl Totals {
    /// The share of wanted CIDs whose placements are not as they should be, from 0 to 1.
    pub fn drift(&self) -> f64 {
        if self.wanted == 0 {
            return f64::from(u8::from(self.drifting > 0));
        }
        (self.drifting as f64 / self.wanted as f64).min(1.0)
    }
}

/// The count of one walk.
#[derive(Debug, Default)]
pub(super) struct Tally {
    totals: Totals,
    tenants: Tenants,
}

impl Tally {
    pub(super) fn add(&mut self, record: &PinRecord, now_ms: u64) {
        self.tenants.add(record);
        let t = &mut self.totals;
        t.counted_ms = now_ms;
        t.wanted += u64::from(record.wanted.is_some());
        t.requests += record.wanted.as_ref().map_or(0, |w| w.requests);
        let mut drifts = record.wanted.is_some();
        for (_, p) in &record.placements {
            if !p.desired {
                let gone = p.state == PlacementState::Unpinned;
                t.surplus += u64::from(!gone);
                drifts |= !gone;
                continue;
            }
            t.desired += 1;
            match p.state {
                PlacementState::Pinned => {
                    t.pinned += 1;
                    t.bytes = t.bytes.saturating_add(p.bytes);
                }
                PlacementState::Error => t.failed += 1,
                _ => t.underway += 1,
            }
        }
        let mut desired = record
            .placements
            .iter()
            .filter(|(_, p)| p.desired)
            .peekable();
        let placed = desired.peek().is_some();
        let all_there = placed && desired.all(|(_, p)| p.is_pinned());
        let surplus = record
            .placements
            .iter()
            .any(|(_, p)| !p.desired && p.state != PlacementState::Unpinned);
        if all_there {
            drifts = surplus;
        }
        t.drifting += u64::from(drifts);
    }
}

/// The newest count of each shard.
#[derive(Debug, Default)]
pub(super) struct Board(BTreeMap<Shard, Tally>);

impl Board {
    pub(super) fn put(&mut self, shard: Shard, tally: Tally) {
        self.0.insert(shard, tally);
    }

    /// Forgets the count of a shard that another planner has now, and counts.
    pub(super) fn remove(&mut self, shard: Shard) {
        self.0.remove(&shard);
    }

    pub(super) fn tenants(&self) -> Tenants {
        let mut sum = Tenants::default();
        for tally in self.0.values() {
            sum.join(&tally.tenants);
        }
        sum
    }

    pub(super) fn sum(&self) -> Totals {
        let mut sum = Totals::default();
        for Tally { totals, .. } in self.0.values() {
            sum.wanted += totals.wanted;
            sum.requests += totals.requests;
            sum.drifting += totals.drifting;
            sum.desired += totals.desired;
            sum.pinned += totals.pinned;
            sum.underway += totals.underway;
            sum.failed += totals.failed;
            sum.surplus += totals.surplus;
            sum.bytes = sum.bytes.saturating_add(totals.bytes);
            sum.counted_ms = sum.counted_ms.max(totals.counted_ms);
        }
        sum
    }
}
