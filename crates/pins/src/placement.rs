//! A placement: one CID on one worker, as it should be and as it is.

use ues_data::Cid;

use crate::model::PeerId;
use crate::request::Wanted;

/// How far a worker has come. The numbers are those that are stored.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[repr(u8)]
pub enum PlacementState {
    /// Assigned; the worker has not said anything.
    Queued = 0,
    /// The worker is at it.
    Pinning = 1,
    /// It is there and protected.
    Pinned = 2,
    /// It failed; it is tried again unless [`terminal`](Placement::terminal).
    Error = 3,
    /// It is gone.
    Unpinned = 4,
}

impl PlacementState {
    /// From its number.
    pub fn from_code(code: u32) -> Option<Self> {
        Some(match code {
            0 => Self::Queued,
            1 => Self::Pinning,
            2 => Self::Pinned,
            3 => Self::Error,
            4 => Self::Unpinned,
            _ => return None,
        })
    }
}

/// One CID on one worker. Written by the planner alone.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Placement {
    /// Whether the worker should have it.
    pub desired: bool,
    /// How far it is, towards what is desired.
    pub state: PlacementState,
    /// How many times it was assigned since the desire last changed.
    pub attempt: u32,
    /// When desire or state last changed, in milliseconds since the Unix epoch.
    pub changed_ms: u64,
    /// When to assign it again if nothing is heard, in milliseconds since the Unix epoch.
    pub next_ms: u64,
    /// The worker's own count of reports at the newest one that was believed: older ones say nothing any more.
    pub heard: u64,
    /// Size of the content in bytes, 0 for unknown.
    pub bytes: u64,
    /// Hash of the worker's content id when it was pinned: another one means that it may be lost.
    pub content: u32,
    /// Whether the worker says that trying again does not help.
    pub terminal: bool,
    /// Why it failed last; empty when it did not.
    pub error: String,
}

impl Placement {
    /// A fresh assignment.
    pub fn assigned(desired: bool, now_ms: u64, next_ms: u64) -> Self {
        Self {
            desired,
            state: PlacementState::Queued,
            attempt: 1,
            changed_ms: now_ms,
            next_ms,
            heard: 0,
            bytes: 0,
            content: 0,
            terminal: false,
            error: String::new(),
        }
    }

    /// Whether it is there as it should be.
    pub fn is_pinned(&self) -> bool {
        self.desired && self.state == PlacementState::Pinned
    }
}

/// Everything about one CID: what is wanted, and where it is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PinRecord {
    /// The CID.
    pub cid: Cid,
    /// The union of its requests; `None` when nobody wants it any more.
    pub wanted: Option<Wanted>,
    /// Its placements, in the order of the workers' ids.
    pub placements: Vec<(PeerId, Placement)>,
}

impl PinRecord {
    /// The placement on a worker.
    pub fn placement(&self, peer: &PeerId) -> Option<&Placement> {
        self.placements
            .iter()
            .find_map(|(id, placement)| (id == peer).then_some(placement))
    }
}
