//! What a walk over all records counts: totals that cannot drift, because they are counted anew each time.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::metrics::Tenants;
use crate::placement::{PinRecord, PlacementState};
use crate::shard::Shard;
use crate::store::{StateError, StateStore};

/// Counts of all pins.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
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
    /// When the newest of the counts was made, in milliseconds since the Unix epoch; 0: none was made yet.
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

    pub(super) fn counted(&self) -> Vec<(Shard, Totals)> {
        let tallies = self.0.iter();
        tallies
            .map(|(shard, tally)| (*shard, tally.totals))
            .collect()
    }
}

/// The note in the state store that tells the other processes what was counted in a shard.
pub(super) fn note_name(shard: Shard) -> String {
    format!("totals-{}", shard.0)
}

/// What was counted in a shard, by whichever process.
pub(crate) async fn read_note(store: &dyn StateStore, shard: Shard) -> Result<Totals, StateError> {
    let Some(note) = store.note(&note_name(shard)).await? else {
        return Ok(Totals::default());
    };
    serde_json::from_slice(&note).map_err(|e| StateError::Damaged(format!("totals: {e}")))
}

impl Tally {
    pub(super) fn totals(&self) -> &Totals {
        &self.totals
    }
}

impl Totals {
    /// Whether it says the same, whenever it was counted.
    pub(super) fn says_same(&self, other: &Self) -> bool {
        let counted_ms = other.counted_ms;
        Self {
            counted_ms,
            ..*self
        } == *other
    }

    /// Its note.
    pub(super) fn to_note(self) -> Vec<u8> {
        serde_json::to_vec(&self).unwrap_or_default()
    }
}

impl std::iter::Sum for Totals {
    fn sum<I: Iterator<Item = Self>>(all: I) -> Self {
        all.fold(Self::default(), |sum, one| Self {
            wanted: sum.wanted + one.wanted,
            requests: sum.requests + one.requests,
            drifting: sum.drifting + one.drifting,
            desired: sum.desired + one.desired,
            pinned: sum.pinned + one.pinned,
            underway: sum.underway + one.underway,
            failed: sum.failed + one.failed,
            surplus: sum.surplus + one.surplus,
            bytes: sum.bytes.saturating_add(one.bytes),
            counted_ms: sum.counted_ms.max(one.counted_ms),
        })
    }
}
