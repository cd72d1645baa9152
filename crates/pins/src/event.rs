//! What changes, for whoever watches.

use ues_data::Cid;

use crate::model::PeerId;
use crate::placement::PlacementState;

/// How far a placement is, as a word for people.
pub fn state_word(desired: bool, state: PlacementState) -> &'static str {
    match (desired, state) {
        (_, PlacementState::Unpinned) => "unpinned",
        (true, PlacementState::Queued) => "queued",
        (true, PlacementState::Pinning) => "pinning",
        (true, PlacementState::Pinned) => "pinned",
        (true, PlacementState::Error) => "failed",
        (false, _) => "unpinning",
    }
}

/// A change of one placement.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PinEvent {
    /// What.
    pub cid: Cid,
    /// Where.
    pub peer: PeerId,
    /// Whether it should be there.
    pub desired: bool,
    /// How far it is; `None` when the placement is gone.
    pub state: Option<PlacementState>,
    /// Why it failed; empty when it did not.
    pub error: String,
    /// When, in milliseconds since the Unix epoch.
    pub at_ms: u64,
}
