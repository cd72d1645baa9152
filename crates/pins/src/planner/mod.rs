//! What has to be done so that what is wanted and what is there agree. Pure functions of a record, the fleet and the
//! time: no IO, so that a simulator can replay every decision.

mod allocate;
mod plan;
mod report;

use crate::model::PeerId;
use crate::placement::Placement;

pub use plan::plan;
pub use report::{Report, Word, apply_report};

/// How the planner decides.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Policy {
    /// Fewest copies where a request says 0; -1: everywhere.
    pub replication_min: i32,
    /// Most copies where a request says 0; -1: everywhere.
    pub replication_max: i32,
    /// A worker that was not heard for so long is away: nothing new goes there. Milliseconds.
    pub away_ms: u64,
    /// A worker that was not heard for so long is lost: its pins go elsewhere. Milliseconds.
    pub lost_ms: u64,
    /// An assignment that nothing was heard of is sent again after so long; twice as long each time. Milliseconds.
    pub resend_ms: u64,
    /// The longest pause between two sendings. Milliseconds.
    pub resend_max_ms: u64,
    /// A pinned copy is looked at again after so long. Milliseconds.
    pub verify_ms: u64,
    /// The tag of workers that names what fails together: copies go to different ones where possible.
    pub domain_tag: String,
    /// A worker with less free space gets nothing new. Bytes.
    pub reserve: u64,
    /// A worker that failed at something so often is no longer waited for: another one is asked too.
    pub patience: u32,
    /// Tasks that are sent in a second for all CIDs whose hashes begin with the same two bytes; 0: any number.
    pub prefix_rate: u32,
}

impl Default for Policy {
    fn default() -> Self {
        Self {
            replication_min: 1,
            replication_max: 1,
            away_ms: 30_000,
            lost_ms: 300_000,
            resend_ms: 60_000,
            resend_max_ms: 3_600_000,
            verify_ms: 86_400_000,
            domain_tag: "region".to_owned(),
            reserve: 64 << 20,
            patience: 4,
            prefix_rate: 1000,
        }
    }
}

/// What a worker is told to do.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Task {
    /// Fetch and protect.
    Pin,
    /// Give up.
    Unpin,
}

/// What follows from a record: new placements, which must be stored first, and tasks to send.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Plan {
    /// Placements as they are from now on; `None` removes one.
    pub changes: Vec<(PeerId, Option<Placement>)>,
    /// Tasks to send.
    pub tasks: Vec<(PeerId, Task)>,
    /// Copies that are wanted and have no worker that could take them.
    pub missing: u32,
}

/// The pause before sending number `attempt + 1`, in milliseconds.
fn pause(policy: &Policy, attempt: u32) -> u64 {
    let doubled = policy
        .resend_ms
        .saturating_mul(1 << attempt.saturating_sub(1).min(20));
    doubled.min(policy.resend_max_ms)
}
