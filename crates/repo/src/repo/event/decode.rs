//! Reading log entries back, without copying what is large.

use bytes::Bytes;
use ues_data::Cid;
use ues_data::dag_cbor::{DecodeError, Reader};

use crate::syntax::{Did, Handle, Tid};

use super::super::layout::Status;
use super::{Action, CommitEvent, EventError, EventKind, LogEvent, RepoOp, split};

impl LogEvent {
    /// Reads a log entry back. The blocks of a commit share the entry's memory.
    pub fn decode(payload: &Bytes) -> Result<Self, EventError> {
        let mut read = Fields::default();
        let mut ops = Vec::new();
        let kind = fields(payload, |key, reader| match key {
            "ops" => {
                let count = reader.array()?;
                ops.reserve_exact(count.min(1024));
                for _ in 0..count {
                    ops.push(op(reader)?);
                }
                read.has_ops = true;
                Ok(())
            }
            _ => read.take(key, reader),
        })?;
        let blocks = |read: &Fields<'_>| match read.blocks {
            Some(blocks) => Ok(payload.slice_ref(blocks)),
            None => Err(missing("blocks")),
        };
        Ok(match kind {
            EventKind::Commit if !read.has_ops => return Err(missing("ops")),
            EventKind::Commit => Self::Commit(Box::new(CommitEvent {
                repo: did(read.repo, "repo")?,
                commit: read.commit.ok_or_else(|| missing("commit"))?,
                rev: tid(read.rev)?.ok_or_else(|| missing("rev"))?,
                since: tid(read.since)?,
                prev_data: read.prev_data,
                ops,
                blocks: blocks(&read)?,
                time: text(read.time, "time")?.to_owned(),
            })),
            EventKind::Sync => Self::Sync {
                did: did(read.did, "did")?,
                rev: tid(read.rev)?.ok_or_else(|| missing("rev"))?,
                blocks: blocks(&read)?,
                time: text(read.time, "time")?.to_owned(),
            },
            EventKind::Identity => Self::Identity {
                did: did(read.did, "did")?,
                handle: read
                    .handle
                    .map(|h| Handle::parse(h).map_err(|e| EventError(e.to_string())))
                    .transpose()?,
                time: text(read.time, "time")?.to_owned(),
            },
            EventKind::Account => Self::Account {
                did: did(read.did, "did")?,
                status: match read.status {
                    Some(name) => Status::from_name(name)
                        .ok_or_else(|| EventError(format!("unknown status {name:?}")))?,
                    None => Status::Active,
                },
                time: text(read.time, "time")?.to_owned(),
            },
        })
    }
}

/// What a commit did, in numbers.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CommitCounts {
    /// Account.
    pub repo: Did,
    /// The commit's revision.
    pub rev: Tid,
    /// Records that were not there before.
    pub created: u64,
    /// Records that are gone.
    pub deleted: u64,
}

/// The numbers of a commit; `None` for an entry of another kind.
///
/// Much cheaper than decoding the entry: nothing is kept but names and numbers.
pub fn commit_counts(payload: &[u8]) -> Result<Option<CommitCounts>, EventError> {
    if super::kind_of(payload)? != EventKind::Commit {
        return Ok(None);
    }
    let mut read = Fields::default();
    let (mut created, mut deleted) = (0, 0);
    fields(payload, |key, reader| match key {
        "ops" => {
            for _ in 0..reader.array()? {
                match action(reader)? {
                    Action::Create => created += 1,
                    Action::Delete => deleted += 1,
                    Action::Update => {}
                }
            }
            Ok(())
        }
        _ => read.take(key, reader),
    })?;
    Ok(Some(CommitCounts {
        repo: did(read.repo, "repo")?,
        rev: tid(read.rev)?.ok_or_else(|| missing("rev"))?,
        created,
        deleted,
    }))
}

/// The fields of an entry but its operations, as they stand in it.
#[derive(Default)]
struct Fields<'a> {
    did: Option<&'a str>,
    repo: Option<&'a str>,
    rev: Option<&'a str>,
    since: Option<&'a str>,
    time: Option<&'a str>,
    handle: Option<&'a str>,
    status: Option<&'a str>,
    blocks: Option<&'a [u8]>,
    commit: Option<Cid>,
    prev_data: Option<Cid>,
    has_ops: bool,
}

impl<'a> Fields<'a> {
    fn take(&mut self, key: &str, reader: &mut Reader<'a>) -> Result<(), EventError> {
        let text = match key {
            "did" => &mut self.did,
            "repo" => &mut self.repo,
            "rev" => &mut self.rev,
            "since" => &mut self.since,
            "time" => &mut self.time,
            "handle" => &mut self.handle,
            "status" => &mut self.status,
            "commit" | "prevData" => {
                let cid = link(reader)?;
                match key {
                    "commit" => self.commit = cid,
                    _ => self.prev_data = cid,
                }
                return Ok(());
            }
            "blocks" => {
                self.blocks = Some(reader.bytes()?);
                return Ok(());
            }
            _ => {
                reader.skip()?;
                return Ok(());
            }
        };
        if !reader.try_null()? {
            *text = Some(reader.text()?);
        }
        Ok(())
    }
}

/// Gives the fields of an entry's body but `seq` in their order, each with the reader before its value.
fn fields<'a>(
    payload: &'a [u8],
    mut field: impl FnMut(&str, &mut Reader<'a>) -> Result<(), EventError>,
) -> Result<EventKind, EventError> {
    let (kind, head, tail) = split(payload)?;
    let mut reader = Reader::new(head);
    reader.skip()?;
    let mut previous = None;
    for _ in 0..reader.map()? {
        let key = reader.key(&mut previous)?;
        if key == "seq" {
            reader.finish()?;
            reader = Reader::new(tail);
        } else {
            field(key, &mut reader)?;
        }
    }
    reader.finish()?;
    Ok(kind)
}

fn op(reader: &mut Reader<'_>) -> Result<RepoOp, EventError> {
    let (mut action, mut path, mut cid, mut prev) = (None, None, None, None);
    let mut previous = None;
    for _ in 0..reader.map()? {
        match reader.key(&mut previous)? {
            "action" => action = Some(action_of(reader.text()?)?),
            "path" => path = Some(reader.text()?.to_owned()),
            "cid" => cid = link(reader)?,
            "prev" => prev = link(reader)?,
            _ => {
                reader.skip()?;
            }
        }
    }
    Ok(RepoOp {
        action: action.ok_or_else(|| missing("action"))?,
        path: path.ok_or_else(|| missing("path"))?,
        cid,
        prev,
    })
}

/// The action of an operation, and nothing else of it.
fn action(reader: &mut Reader<'_>) -> Result<Action, EventError> {
    let mut action = None;
    let mut previous = None;
    for _ in 0..reader.map()? {
        if reader.key(&mut previous)? == "action" {
            action = Some(action_of(reader.text()?)?);
        } else {
            reader.skip()?;
        }
    }
    action.ok_or_else(|| missing("action"))
}

fn action_of(name: &str) -> Result<Action, EventError> {
    [Action::Create, Action::Update, Action::Delete]
        .into_iter()
        .find(|action| action.name() == name)
        .ok_or_else(|| EventError(format!("unknown action {name:?}")))
}

fn link(reader: &mut Reader<'_>) -> Result<Option<Cid>, EventError> {
    if reader.try_null()? {
        return Ok(None);
    }
    Ok(Some(reader.link()?))
}

fn missing(key: &str) -> EventError {
    EventError(format!("no {key}"))
}

fn text<'a>(value: Option<&'a str>, key: &str) -> Result<&'a str, EventError> {
    value.ok_or_else(|| missing(key))
}

fn did(value: Option<&str>, key: &str) -> Result<Did, EventError> {
    Did::parse(text(value, key)?).map_err(|e| EventError(e.to_string()))
}

fn tid(value: Option<&str>) -> Result<Option<Tid>, EventError> {
    value
        .map(|text| Tid::parse(text).map_err(|e| EventError(e.to_string())))
        .transpose()
}

impl From<DecodeError> for EventError {
    fn from(e: DecodeError) -> Self {
        Self(e.to_string())
    }
}
