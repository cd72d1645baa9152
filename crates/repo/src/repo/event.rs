//! The node's event log: what each entry holds, and how it becomes a firehose frame.
//!
//! An entry is the frame of `com.atproto.sync.subscribeRepos`, complete but for the sequence
//! number, which the log gives only when the entry becomes durable. It is cut at the place of the
//! number, so that a frame is made by copying: no decoding, no sorting, however old the cursor.

use bytes::{BufMut, Bytes, BytesMut};
use ues_data::dag_cbor::{Reader, Writer};
use ues_data::{Cid, Ipld};

use crate::syntax::{Did, Handle, Tid};

use super::layout::Status;

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

    /// Reads a log entry back.
    pub fn decode(payload: &Bytes) -> Result<Self, EventError> {
        let (kind, _, _) = split(payload)?;
        let frame = frame(0, payload)?;
        let damaged = |e: ues_data::dag_cbor::DecodeError| EventError(e.to_string());
        let mut header = Reader::new(&frame);
        header.skip().map_err(damaged)?;
        let Ipld::Map(mut map) = ues_data::dag_cbor::decode(header.remaining()).map_err(damaged)?
        else {
            return Err(EventError("body is not a map".into()));
        };
        let fields = &mut map;
        Ok(match kind {
            EventKind::Commit => {
                let ops = match fields.remove("ops") {
                    Some(Ipld::List(list)) => {
                        list.into_iter().map(read_op).collect::<Result<_, _>>()?
                    }
                    _ => return Err(EventError("no ops".into())),
                };
                Self::Commit(Box::new(CommitEvent {
                    repo: did(fields, "repo")?,
                    commit: link(fields, "commit")?
                        .ok_or_else(|| EventError("no commit".into()))?,
                    rev: tid(fields, "rev")?.ok_or_else(|| EventError("no rev".into()))?,
                    since: tid(fields, "since")?,
                    prev_data: link(fields, "prevData")?,
                    ops,
                    blocks: byte_string(fields, "blocks")?,
                    time: text(fields, "time")?,
                }))
            }
            EventKind::Sync => Self::Sync {
                did: did(fields, "did")?,
                rev: tid(fields, "rev")?.ok_or_else(|| EventError("no rev".into()))?,
                blocks: byte_string(fields, "blocks")?,
                time: text(fields, "time")?,
            },
            EventKind::Identity => Self::Identity {
                did: did(fields, "did")?,
                handle: match fields.remove("handle") {
                    Some(Ipld::String(h)) => {
                        Some(Handle::parse(&h).map_err(|e| EventError(e.to_string()))?)
                    }
                    _ => None,
                },
                time: text(fields, "time")?,
            },
            EventKind::Account => Self::Account {
                did: did(fields, "did")?,
                status: match fields.remove("status") {
                    Some(Ipld::String(s)) => Status::from_name(&s)
                        .ok_or_else(|| EventError(format!("unknown status {s:?}")))?,
                    _ => Status::Active,
                },
                time: text(fields, "time")?,
            },
        })
    }
}

/// The kind of an entry, without decoding it.
pub fn kind_of(payload: &[u8]) -> Result<EventKind, EventError> {
    split(payload).map(|(kind, _, _)| kind)
}

/// The firehose frame of an entry under its sequence number.
pub fn frame(seq: u64, payload: &[u8]) -> Result<Bytes, EventError> {
    let (_, cut, body) = split(payload)?;
    let (head, tail) = body
        .split_at_checked(cut)
        .ok_or_else(|| EventError("cut past the end".into()))?;
    let mut number = Writer::with_capacity(9);
    number.uint(seq);
    let number = number.into_bytes();
    let mut out = BytesMut::with_capacity(body.len() + number.len());
    out.put_slice(head);
    out.put_slice(&number);
    out.put_slice(tail);
    Ok(out.freeze())
}

fn split(payload: &[u8]) -> Result<(EventKind, usize, &[u8]), EventError> {
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
    Ok((kind, u32::from_be_bytes(cut) as usize, body))
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

type Fields = std::collections::BTreeMap<String, Ipld>;

fn read_op(ipld: Ipld) -> Result<RepoOp, EventError> {
    let Ipld::Map(mut map) = ipld else {
        return Err(EventError("op is not a map".into()));
    };
    Ok(RepoOp {
        action: match text(&mut map, "action")?.as_str() {
            "create" => Action::Create,
            "update" => Action::Update,
            "delete" => Action::Delete,
            other => return Err(EventError(format!("unknown action {other:?}"))),
        },
        path: text(&mut map, "path")?,
        cid: link(&mut map, "cid")?,
        prev: link(&mut map, "prev")?,
    })
}

fn text(map: &mut Fields, key: &str) -> Result<String, EventError> {
    match map.remove(key) {
        Some(Ipld::String(s)) => Ok(s),
        _ => Err(EventError(format!("no text in {key:?}"))),
    }
}

fn byte_string(map: &mut Fields, key: &str) -> Result<Bytes, EventError> {
    match map.remove(key) {
        Some(Ipld::Bytes(b)) => Ok(b.into()),
        _ => Err(EventError(format!("no bytes in {key:?}"))),
    }
}

fn link(map: &mut Fields, key: &str) -> Result<Option<Cid>, EventError> {
    match map.remove(key) {
        Some(Ipld::Link(cid)) => Ok(Some(cid)),
        Some(Ipld::Null) | None => Ok(None),
        Some(_) => Err(EventError(format!("no link in {key:?}"))),
    }
}

fn did(map: &mut Fields, key: &str) -> Result<Did, EventError> {
    Did::parse(&text(map, key)?).map_err(|e| EventError(e.to_string()))
}

fn tid(map: &mut Fields, key: &str) -> Result<Option<Tid>, EventError> {
    match map.remove(key) {
        Some(Ipld::String(s)) => Tid::parse(&s)
            .map(Some)
            .map_err(|e| EventError(e.to_string())),
        Some(Ipld::Null) | None => Ok(None),
        Some(_) => Err(EventError(format!("no revision in {key:?}"))),
    }
}
