//! What a worker says, taken into the record.

use super::{Policy, pause};
use crate::model::PeerId;
use crate::placement::{PinRecord, Placement, PlacementState};

/// What a worker says about one CID.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Report {
    /// The worker's own count of reports, which rises: tells late ones from new ones.
    pub count: u64,
    /// What it says.
    pub word: Word,
}

/// How far a worker is with one CID.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Word {
    /// It is at it.
    Pinning,
    /// It is there and protected.
    Pinned {
        /// Size in bytes, 0 for unknown.
        bytes: u64,
        /// Hash of the name of what the backend holds.
        content: u32,
    },
    /// It is not there, or not protected any more.
    Unpinned,
    /// It failed.
    Failed {
        /// Whether trying again does not help.
        terminal: bool,
        /// Why.
        reason: String,
    },
}

/// Longest reason that is kept, in bytes.
const MAX_REASON: usize = 500;

/// The placement that follows from a report; `None` when it says nothing new.
///
/// A report may be doubled, late or out of order. What it says is believed only as far as it fits with what is
/// desired; otherwise the task is sent anew, and the next report tells.
pub fn apply_report(
    record: &PinRecord,
    peer: &PeerId,
    report: &Report,
    policy: &Policy,
    now_ms: u64,
) -> Option<Placement> {
    let count = report.count;
    let Some(old) = record.placement(peer) else {
        // Nobody asked for it: let go of it.
        let there = matches!(report.word, Word::Pinned { .. } | Word::Pinning);
        return there.then(|| anew(false, count, now_ms));
    };
    if count < old.heard {
        return None;
    }
    let heard = Placement {
        heard: count,
        ..old.clone()
    };
    let placement = if old.desired {
        wanted(&heard, &report.word, policy, now_ms)
    } else {
        unwanted(&heard, &report.word, policy, now_ms)
    };
    // The count alone is no news worth a write.
    placement.filter(|new| *new != heard)
}

/// A report about something that the worker should have.
fn wanted(old: &Placement, word: &Word, policy: &Policy, now_ms: u64) -> Option<Placement> {
    Some(match word {
        Word::Pinned { bytes, content } => {
            let same = old.is_pinned() && old.content == *content;
            Placement {
                state: PlacementState::Pinned,
                attempt: 0,
                bytes: if *bytes == 0 { old.bytes } else { *bytes },
                content: *content,
                terminal: false,
                error: String::new(),
                changed_ms: if same { old.changed_ms } else { now_ms },
                next_ms: if same {
                    old.next_ms
                } else {
                    now_ms + policy.verify_ms
                },
                ..old.clone()
            }
        }
        Word::Pinning if old.state != PlacementState::Pinned => Placement {
            state: PlacementState::Pinning,
            changed_ms: if old.state == PlacementState::Pinning {
                old.changed_ms
            } else {
                now_ms
            },
            next_ms: now_ms + pause(policy, old.attempt),
            ..old.clone()
        },
        Word::Pinning => return None,
        Word::Unpinned => anew(true, old.heard, now_ms),
        Word::Failed { .. } if old.state == PlacementState::Pinned => anew(true, old.heard, now_ms),
        Word::Failed { terminal, reason } => failed(old, *terminal, reason, policy, now_ms),
    })
}

/// A report about something that the worker should not have.
fn unwanted(old: &Placement, word: &Word, policy: &Policy, now_ms: u64) -> Option<Placement> {
    Some(match word {
        Word::Unpinned if old.state == PlacementState::Unpinned => return None,
        Word::Unpinned => Placement {
            state: PlacementState::Unpinned,
            error: String::new(),
            changed_ms: now_ms,
            next_ms: now_ms + policy.resend_max_ms,
            ..old.clone()
        },
        Word::Pinned { .. } | Word::Pinning if old.state == PlacementState::Unpinned => {
            anew(false, old.heard, now_ms)
        }
        Word::Pinned { .. } | Word::Pinning => return None,
        Word::Failed { .. } if old.state == PlacementState::Unpinned => return None,
        // An unpinning is never given up.
        Word::Failed { reason, .. } => failed(old, false, reason, policy, now_ms),
    })
}

fn failed(
    old: &Placement,
    terminal: bool,
    reason: &str,
    policy: &Policy,
    now_ms: u64,
) -> Placement {
    let mut end = reason.len().min(MAX_REASON);
    while !reason.is_char_boundary(end) {
        end -= 1;
    }
    Placement {
        state: PlacementState::Error,
        terminal,
        error: reason.get(..end).unwrap_or_default().to_owned(),
        changed_ms: now_ms,
        next_ms: now_ms + pause(policy, old.attempt),
        ..old.clone()
    }
}

/// To be assigned at the next planning.
fn anew(desired: bool, heard: u64, now_ms: u64) -> Placement {
    Placement {
        attempt: 0,
        heard,
        ..Placement::assigned(desired, now_ms, now_ms)
    }
}
