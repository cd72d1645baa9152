//! What travels over the bus, as JSON: readable by an operator, and by programs of others.

use bytes::Bytes;
use serde::{Deserialize, Serialize};
use ues_data::Cid;

use crate::model::{PeerId, PinMode};
use crate::planner::{Report, Task, Word};

/// Most things that one message is about.
pub const MAX_ITEMS: usize = 500;

/// Why a message cannot be read.
#[derive(Debug, thiserror::Error)]
#[error("not a message of this kind: {0}")]
pub struct MessageError(String);

/// `pin.request.SHARD`: the requests for these CIDs changed.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Changed {
    /// The CIDs, as text.
    pub cids: Vec<String>,
    /// Whether what failed for good is to be tried again.
    #[serde(default, skip_serializing_if = "is_false")]
    pub recover: bool,
}

/// `pin.assign.WORKER`: what a worker has to do.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Assign {
    /// The shard to report to.
    pub shard: u32,
    /// The tasks.
    pub tasks: Vec<Assigned>,
}

/// One task.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Assigned {
    /// What.
    pub cid: String,
    /// `pin` or `unpin`.
    pub op: Op,
    /// The block alone, not what it links to.
    #[serde(default, skip_serializing_if = "is_false")]
    pub direct: bool,
    /// Multiaddrs of peers that have it.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub origins: Vec<String>,
    /// When it was assigned, in milliseconds since the Unix epoch.
    pub at: u64,
    /// How many times it was assigned, this one included; 0 if that is not counted.
    #[serde(default)]
    pub attempt: u32,
}

/// What to do.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Op {
    /// Fetch and protect.
    Pin,
    /// Give up.
    Unpin,
}

impl From<Task> for Op {
    fn from(task: Task) -> Self {
        match task {
            Task::Pin => Self::Pin,
            Task::Unpin => Self::Unpin,
        }
    }
}

/// `pin.status.SHARD`: what a worker says.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Status {
    /// The worker.
    pub peer: PeerId,
    /// What it says.
    pub reports: Vec<Reported>,
}

/// What a worker says of one CID.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Reported {
    /// What.
    pub cid: String,
    /// The worker's count of reports.
    pub count: u64,
    /// How far it is.
    pub state: State,
    /// Size in bytes, 0 for unknown.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub bytes: u64,
    /// Hash of the name of what the backend holds.
    #[serde(default)]
    pub content: u32,
    /// Whether trying again does not help.
    #[serde(default, skip_serializing_if = "is_false")]
    pub terminal: bool,
    /// Why it failed.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub error: String,
}

/// How far a worker is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum State {
    /// At it.
    Pinning,
    /// There and protected.
    Pinned,
    /// Not there, or not protected.
    Unpinned,
    /// It failed.
    Failed,
}

/// Where workers tell what they have pinned.
pub const AUDIT: &str = "pin.audit";

/// `pin.audit`: some of what a worker has pinned, so that what nobody wants is found.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Holdings {
    /// The worker.
    pub peer: PeerId,
    /// The worker's count of reports.
    pub count: u64,
    /// The CIDs, as text.
    pub cids: Vec<String>,
}

impl Assigned {
    /// A task for a worker, assigned for the first time.
    pub fn new(cid: &Cid, task: Task, mode: PinMode, origins: Vec<String>, at: u64) -> Self {
        Self {
            cid: cid.to_string(),
            op: task.into(),
            direct: mode == PinMode::Direct,
            origins,
            at,
            attempt: 1,
        }
    }
}

impl Reported {
    /// A report about a CID.
    pub fn new(cid: String, report: Report) -> Self {
        let mut reported = Self {
            cid,
            count: report.count,
            state: State::Pinning,
            bytes: 0,
            content: 0,
            terminal: false,
            error: String::new(),
        };
        match report.word {
            Word::Pinning => {}
            Word::Pinned { bytes, content } => {
                reported.state = State::Pinned;
                reported.bytes = bytes;
                reported.content = content;
            }
            Word::Unpinned => reported.state = State::Unpinned,
            Word::Failed { terminal, reason } => {
                reported.state = State::Failed;
                reported.terminal = terminal;
                reported.error = reason;
            }
        }
        reported
    }

    /// What it says.
    pub fn into_report(self) -> Report {
        let word = match self.state {
            State::Pinning => Word::Pinning,
            State::Pinned => Word::Pinned {
                bytes: self.bytes,
                content: self.content,
            },
            State::Unpinned => Word::Unpinned,
            State::Failed => Word::Failed {
                terminal: self.terminal,
                reason: self.error,
            },
        };
        Report {
            count: self.count,
            word,
        }
    }
}

/// The bytes of a message.
pub fn write<T: Serialize>(message: &T) -> Bytes {
    // Nothing of these types can fail to be JSON; an empty message would be refused by its reader.
    serde_json::to_vec(message).unwrap_or_default().into()
}

/// A message from its bytes.
///
/// # Errors
/// [`MessageError`] when it is not one of this kind, or about too many things.
pub fn read<'a, T: Deserialize<'a>>(bytes: &'a [u8]) -> Result<T, MessageError> {
    serde_json::from_slice(bytes).map_err(|e| MessageError(e.to_string()))
}

/// The CIDs of texts; those that are none are left out, with a warning.
pub fn cids<'a>(texts: impl IntoIterator<Item = &'a String>) -> Vec<Cid> {
    let mut cids = Vec::new();
    for text in texts {
        match ues_data::parse_cid(text) {
            Ok(cid) => cids.push(cid),
            Err(error) => tracing::warn!(%text, %error, "a message names something that is no CID"),
        }
    }
    cids
}

fn is_false(flag: &bool) -> bool {
    !*flag
}

fn is_zero(number: &u64) -> bool {
    *number == 0
}
