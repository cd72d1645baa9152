//! The node's event log: what each entry holds, and how it becomes a firehose frame.
//!
//! An entry is the frame of `com.atproto.sync.subscribeRepos`, complete but for the sequence
//! number, which the log gives only when the entry becomes durable. It is cut at the place of the
//! number, so that a frame is made by copying: no decoding, no sorting, however old the cursor.

mod decode;
mod sync;

use bytes::{BufMut, Bytes, BytesMut};
use ues_data::Cid;
use ues_data::dag_cbor::Writer;

use crate::syntax::{Did, Handle, Tid};

use super::layout::Status;

pub use decode::{CommitCounts, commit_counts};

/// Version byte of a log entry.
const ENTRY_VERSION: u8 = 1;
const PREFIX_BYTES: usize = 6;

/// What an entry speaks of, readable without decoding it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum EventKind {
    /// A commit with its operations and blocks.
    Commit,
    /// The repository's state is what this commit says, whatever came before.
    Sync,
    /// The DID document or handle may have changed.
    Identity,
    /// The hosting status changed.
    Account,
}

impl EventKind {
    /// The `t` of the frame header.
    pub fn name(self) -> &'static str {
        match self {
            Self::Commit => "#commit",
            Self::Sync => "#sync",
            Self::Identity => "#identity",
            Self::Account => "#account",
        }
    }

    fn code(self) -> u8 {
        match self {
            Self::Commit => 0,
            Self::Sync => 1,
            Self::Identity => 2,
            Self::Account => 3,
        }
    }

    fn from_code(code: u8) -> Option<Self> {
        Some(match code {
            0 => Self::Commit,
            1 => Self::Sync,
            2 => Self::Identity,
            3 => Self::Account,
            _ => return None,
        })
    }
}

/// What happened to a record.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Action {
    /// It was not there before.
    Create,
    /// It was there with other content.
    Update,
    /// It is gone.
    Delete,
}

impl Action {
    /// The protocol's word.
    pub fn name(self) -> &'static str {
        match self {
            Self::Create => "create",
            Self::Update => "update",
            Self::Delete => "delete",
        }
    }
}

/// One record operation of a commit.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RepoOp {
    /// What happened.
    pub action: Action,
    /// `collection/rkey`.
    pub path: String,
    /// The record now; `None` when deleted.
    pub cid: Option<Cid>,
    /// The record before; `None` when created.
    pub prev: Option<Cid>,
}

/// A `#commit` event.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CommitEvent {
    /// Account.
    pub repo: Did,
    /// The commit.
    pub commit: Cid,
    /// Its revision.
    pub rev: Tid,
    /// Revision before.
    pub since: Option<Tid>,
    /// Root of the tree before.
    pub prev_data: Option<Cid>,
    /// Operations, in the order of the paths.
    pub ops: Vec<RepoOp>,
    /// CAR of the commit, the tree nodes that prove the operations, and the records.
    pub blocks: Bytes,
    /// When it was made, RFC 3339.
    pub time: String,
}

/// A decoded log entry.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum LogEvent {
    /// See [`EventKind::Commit`].
    Commit(Box<CommitEvent>),
    /// See [`EventKind::Sync`].
    Sync {
        /// Account.
        did: Did,
        /// Revision of the commit in `blocks`.
        rev: Tid,
        /// CAR with just the commit.
        blocks: Bytes,
        /// When, RFC 3339.
        time: String,
    },
    /// See [`EventKind::Identity`].
    Identity {
        /// Account.
        did: Did,
        /// Its handle now, if known.
        handle: Option<Handle>,
        /// When, RFC 3339.
        time: String,
    },
    /// See [`EventKind::Account`].
    Account {
        /// Account.
        did: Did,
        /// Hosting status now.
        status: Status,
        /// When, RFC 3339.
        time: String,
    },
}

/// A log entry that is not what this program writes.
#[derive(Debug, thiserror::Error)]
#[error("log entry is damaged: {0}")]
pub struct EventError(String);

impl LogEvent {
    /// The account that it is about.
    pub fn did(&self) -> &Did {
        match self {
            Self::Commit(c) => &c.repo,
            Self::Sync { did, .. } | Self::Identity { did, .. } | Self::Account { did, .. } => did,
        }
    }

    /// When it was made, RFC 3339.
    pub fn time(&self) -> &str {
        match self {
            Self::Commit(c) => &c.time,
            Self::Sync { time, .. } | Self::Identity { time, .. } | Self::Account { time, .. } => {
                time
            }
        }
    }

    /// Its kind.
    pub fn kind(&self) -> EventKind {
        match self {
            Self::Commit(_) => EventKind::Commit,
            Self::Sync { .. } => EventKind::Sync,
            Self::Identity { .. } => EventKind::Identity,
            Self::Account { .. } => EventKind::Account,
        }
    }

    /// The log entry.
    pub fn encode(&self) -> Bytes {
        let size = match self {
            Self::Commit(c) => 512 + c.ops.len() * 256 + c.blocks.len(),
            Self::Sync { blocks, .. } => 512 + blocks.len(),
            _ => 512,
        };
        let kind = self.kind();
        let mut w = Writer::with_capacity(size);
        w.map(2);
        w.text("t");
        w.text(kind.name());
        w.text("op");
        w.uint(1);
        // Keys stand in canonical order: shorter first, then bytewise. The cut falls after "seq".
        let cut;
        match self {
            Self::Commit(c) => {
                w.map(if c.prev_data.is_some() { 12 } else { 11 });
                w.text("ops");
                w.array(c.ops.len() as u64);
                for op in &c.ops {
                    write_op(&mut w, op);
                }
                w.text("rev");
                w.text(c.rev.as_str());
                w.text("seq");
                cut = w.as_bytes().len();
                w.text("repo");
                w.text(c.repo.as_str());
                w.text("time");
                w.text(&c.time);
                w.text("blobs");
                w.array(0);
                w.text("since");
                match &c.since {
                    Some(rev) => w.text(rev.as_str()),
                    None => w.null(),
                }
                w.text("blocks");
                w.bytes(&c.blocks);
                w.text("commit");
                w.link(&c.commit);
                w.text("rebase");
                w.bool(false);
                w.text("tooBig");
                w.bool(false);
                // Absent in the first commit: readers refuse null.
                if let Some(cid) = &c.prev_data {
                    w.text("prevData");
                    w.link(cid);
                }
            }
            Self::Sync {
                did,
                rev,
                blocks,
                time,
            } => {
                w.map(5);
                w.text("did");
                w.text(did.as_str());
                w.text("rev");
                w.text(rev.as_str());
                w.text("seq");
                cut = w.as_bytes().len();
                w.text("time");
                w.text(time);
                w.text("blocks");
                w.bytes(blocks);
            }
            Self::Identity { did, handle, time } => {
                w.map(if handle.is_some() { 4 } else { 3 });
                w.text("did");
                w.text(did.as_str());
                w.text("seq");
                cut = w.as_bytes().len();
                w.text("time");
                w.text(time);
                if let Some(handle) = handle {
                    w.text("handle");
                    w.text(handle.as_str());
                }
            }
            Self::Account { did, status, time } => {
                w.map(if status.is_active() { 4 } else { 5 });
                w.text("did");
                w.text(did.as_str());
                w.text("seq");
                cut = w.as_bytes().len();
                w.text("time");
                w.text(time);
                w.text("active");
                w.bool(status.is_active());
                if let Some(name) = status.name() {
                    w.text("status");
                    w.text(name);
                }
            }
        }
        let body = w.into_bytes();
        let mut out = BytesMut::with_capacity(PREFIX_BYTES + body.len());
        out.put_u8(ENTRY_VERSION);
        out.put_u8(kind.code());
        out.put_u32(cut as u32);
        out.put_slice(&body);
        out.freeze()
    }
}

/// The kind of an entry, without decoding it.
pub fn kind_of(payload: &[u8]) -> Result<EventKind, EventError> {
    split(payload).map(|(kind, _, _)| kind)
}

/// The firehose frame of an entry under its sequence number.
pub fn frame(seq: u64, payload: &[u8]) -> Result<Bytes, EventError> {
    let frame = Frame::new(seq, payload)?;
    let mut out = BytesMut::with_capacity(frame.len());
    frame.write(&mut out);
    Ok(out.freeze())
}

/// A firehose frame that is not put together yet, for outputs that need its length first.
#[derive(Clone, Copy, Debug)]
pub struct Frame<'a> {
    head: &'a [u8],
    seq: u64,
    tail: &'a [u8],
}

impl<'a> Frame<'a> {
    /// The frame of a log entry under its sequence number.
    pub fn new(seq: u64, payload: &'a [u8]) -> Result<Self, EventError> {
        let (_, head, tail) = split(payload)?;
        Ok(Self { head, seq, tail })
    }

    /// How long it is.
    #[expect(clippy::len_without_is_empty, reason = "no frame is empty")]
    pub fn len(&self) -> usize {
        let number = match self.seq {
            0..=0x17 => 1,
            0x18..=0xff => 2,
            0x100..=0xffff => 3,
            0x1_0000..=0xffff_ffff => 5,
            _ => 9,
        };
        self.head.len() + number + self.tail.len()
    }

    /// Appends it.
    pub fn write(&self, out: &mut BytesMut) {
        out.put_slice(self.head);
        match self.seq {
            small @ 0..=0x17 => out.put_u8(small as u8),
            n @ 0x18..=0xff => out.put_slice(&[0x18, n as u8]),
            n @ 0x100..=0xffff => {
                out.put_u8(0x19);
                out.put_u16(n as u16);
            }
            n @ 0x1_0000..=0xffff_ffff => {
                out.put_u8(0x1a);
                out.put_u32(n as u32);
            }
            n => {
                out.put_u8(0x1b);
                out.put_u64(n);
            }
        }
        out.put_slice(self.tail);
    }
}

/// The kind of an entry, and its frame before and after the sequence number.
fn split(payload: &[u8]) -> Result<(EventKind, &[u8], &[u8]), EventError> {
    let (prefix, body) = payload
        .split_at_checked(PREFIX_BYTES)
        .ok_or_else(|| EventError(format!("{} bytes, expected at least 6", payload.len())))?;
    let [version, kind, cut @ ..] = prefix else {
        return Err(EventError("no prefix".into()));
    };
    if *version != ENTRY_VERSION {
        return Err(EventError(format!(
            "version {version}, expected {ENTRY_VERSION}"
        )));
    }
    let kind =
        EventKind::from_code(*kind).ok_or_else(|| EventError(format!("unknown kind {kind}")))?;
    let cut: [u8; 4] = cut.try_into().map_err(|_| EventError("no cut".into()))?;
    let (head, tail) = body
        .split_at_checked(u32::from_be_bytes(cut) as usize)
        .ok_or_else(|| EventError("cut past the end".into()))?;
    Ok((kind, head, tail))
}

fn write_op(w: &mut Writer, op: &RepoOp) {
    w.map(if op.prev.is_some() { 4 } else { 3 });
    w.text("cid");
    match &op.cid {
        Some(cid) => w.link(cid),
        None => w.null(),
    }
    w.text("path");
    w.text(&op.path);
    if let Some(prev) = &op.prev {
        w.text("prev");
        w.link(prev);
    }
    w.text("action");
    w.text(op.action.name());
}
