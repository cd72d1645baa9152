//! How far a pin is, as its owner sees it.

use crate::model::PeerId;
use crate::placement::{PinRecord, Placement, PlacementState};
use crate::planner::Policy;
use crate::request::PinRequest;
use crate::request_id::RequestId;

/// How far a pin is as a whole; the words of the Pinning Service API.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Overall {
    /// Nobody is at it yet.
    Queued,
    /// A worker is at it.
    Pinning,
    /// There are enough copies.
    Pinned,
    /// It failed for good, unless it is asked to be tried again.
    Failed,
}

impl Overall {
    /// The word.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Queued => "queued",
            Self::Pinning => "pinning",
            Self::Pinned => "pinned",
            Self::Failed => "failed",
        }
    }

    /// From the word.
    pub fn from_word(word: &str) -> Option<Self> {
        [Self::Queued, Self::Pinning, Self::Pinned, Self::Failed]
            .into_iter()
            .find(|overall| overall.as_str() == word)
    }
}

/// How far a record is.
pub fn overall(record: &PinRecord, policy: &Policy) -> Overall {
    let least = record.wanted.as_ref().map_or(1, |wanted| {
        let asked = wanted.pin.options.replication_min;
        if asked == 0 {
            policy.replication_min
        } else {
            asked
        }
    });
    let desired = || {
        record
            .placements
            .iter()
            .map(|(_, p)| p)
            .filter(|p| p.desired)
    };
    let count = |is: fn(&Placement) -> bool| desired().filter(|p| is(p)).count();
    let pinned = count(Placement::is_pinned);
    let enough = match usize::try_from(least) {
        Ok(least) => pinned >= least.max(1),
        // Everywhere.
        Err(_) => pinned > 0 && pinned == desired().count(),
    };
    if enough {
        Overall::Pinned
    } else if count(|p| p.state == PlacementState::Error && p.terminal) > 0 {
        Overall::Failed
    } else if pinned > 0 || count(|p| p.state == PlacementState::Pinning) > 0 {
        Overall::Pinning
    } else {
        Overall::Queued
    }
}

/// An owner's request with how far it is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PinView {
    /// The request.
    pub request: PinRequest,
    /// How far it is.
    pub overall: Overall,
    /// Where it is, or should be.
    pub placements: Vec<(PeerId, Placement)>,
}

impl PinView {
    /// From the request and everything about its CID.
    pub fn new(request: PinRequest, record: &PinRecord, policy: &Policy) -> Self {
        Self {
            request,
            overall: overall(record, policy),
            placements: record.placements.clone(),
        }
    }

    /// A request that was accepted just now.
    pub fn accepted(request: PinRequest) -> Self {
        Self {
            request,
            overall: Overall::Queued,
            placements: Vec::new(),
        }
    }

    /// Its id.
    pub fn id(&self) -> RequestId {
        RequestId::of(&self.request)
    }

    /// Why it fails, if it does.
    pub fn error(&self) -> Option<&str> {
        let failing = |p: &&Placement| p.desired && p.state == PlacementState::Error;
        let placements = self.placements.iter().map(|(_, p)| p);
        placements.filter(failing).map(|p| p.error.as_str()).next()
    }
}
