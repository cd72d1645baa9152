//! What changes, for whoever watches.

use std::sync::Arc;

use tokio::sync::broadcast;
use tokio::sync::broadcast::error::RecvError;
use tokio_util::sync::CancellationToken;
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

/// Changes for one watcher, until the service ends them.
#[derive(Debug)]
pub struct Watch {
    pub(crate) events: broadcast::Receiver<Arc<PinEvent>>,
    pub(crate) end: CancellationToken,
}

impl Watch {
    /// The next change.
    ///
    /// # Errors
    /// [`RecvError::Lagged`] when the watcher was too slow and missed some; [`RecvError::Closed`] when the service ends.
    pub async fn recv(&mut self) -> Result<Arc<PinEvent>, RecvError> {
        tokio::select! {
            biased;
            () = self.end.cancelled() => Err(RecvError::Closed),
            event = self.events.recv() => event,
        }
    }
}
