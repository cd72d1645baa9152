//! Finding files and directories.

use bytes::Bytes;
use cid::Cid;

use super::message::{Message, MessageError, Type};
use super::{ExportError, shard};
use crate::content_id::{DAG_PB, IDENTITY, RAW, verify};
use crate::dag_pb::{self, Link};
use crate::source::BlockSource;

/// How many names a path may have.
const MAX_PATH: usize = 256;

/// What a CID or a path names.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum Entry {
    /// A file.
    File {
        /// Its root.
        cid: Cid,
        /// How many bytes it has, as its root says.
        size: u64,
    },
    /// A directory.
    Directory {
        /// Its block.
        cid: Cid,
    },
    /// A symbolic link.
    Symlink {
        /// Its block.
        cid: Cid,
        /// Where it points.
        target: String,
    },
}

/// A name in a directory.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DirEntry {
    /// The name.
    pub name: String,
    /// What it names.
    pub cid: Cid,
    /// The size of all blocks below, as the directory says.
    pub total_size: Option<u64>,
}

/// A block of a file or a directory, taken apart.
pub(super) enum Part {
    Raw(Bytes),
    Node(Message, Vec<Link>),
}

impl Part {
    /// What it is, for an error.
    pub(super) fn kind(&self) -> &'static str {
        match self {
            Self::Raw(_) => "a file",
            Self::Node(message, _) => message.kind.name(),
        }
    }
}

/// Finds what `path` names below `root`; names are divided by `/`, symbolic links are not followed.
pub fn open(
    source: &(impl BlockSource + ?Sized),
    root: &Cid,
    path: &str,
) -> Result<Entry, ExportError> {
    let mut cid = *root;
    for (i, name) in path.split('/').filter(|n| !n.is_empty()).enumerate() {
        if i >= MAX_PATH {
            return Err(ExportError::TooDeep(MAX_PATH));
        }
        let link = match directory(source, &cid)? {
            (message, links) if message.kind == Type::Shard => {
                shard::find(source, &cid, (message, links), name)?
            }
            (_, links) => links.into_iter().find(|l| l.name.as_deref() == Some(name)),
        };
        cid = match link {
            Some(link) => link.cid,
            None => {
                let name = name.chars().take(64).collect();
                return Err(ExportError::NotFound { cid, name });
            }
        };
    }
    Ok(match load(source, &cid)? {
        Part::Raw(bytes) => Entry::File {
            cid,
            size: bytes.len() as u64,
        },
        Part::Node(message, _) => match message.kind {
            Type::File | Type::Raw => {
                let inline = message.data.as_ref().map_or(0, |d| d.len() as u64);
                let size = message.file_size.unwrap_or(inline);
                Entry::File { cid, size }
            }
            Type::Directory | Type::Shard => Entry::Directory { cid },
            Type::Symlink => {
                let target = message.data.unwrap_or_default();
                let target = String::from_utf8_lossy(&target).into_owned();
                Entry::Symlink { cid, target }
            }
            kind @ Type::Metadata => {
                return Err(ExportError::Kind {
                    cid,
                    expected: "a file or a directory",
                    found: kind.name(),
                });
            }
        },
    })
}

/// The entries of a directory, in the order of their names.
pub fn list(
    source: &(impl BlockSource + ?Sized),
    directory: &Cid,
) -> Result<Vec<DirEntry>, ExportError> {
    let links = match self::directory(source, directory)? {
        (message, links) if message.kind == Type::Shard => {
            shard::entries(source, directory, (message, links))?
        }
        (_, links) => links,
    };
    Ok(links
        .into_iter()
        .map(|link| DirEntry {
            name: link.name.unwrap_or_default(),
            cid: link.cid,
            total_size: link.size,
        })
        .collect())
}

fn directory(
    source: &(impl BlockSource + ?Sized),
    cid: &Cid,
) -> Result<(Message, Vec<Link>), ExportError> {
    match load(source, cid)? {
        Part::Node(message, links) if matches!(message.kind, Type::Directory | Type::Shard) => {
            Ok((message, links))
        }
        other => Err(ExportError::Kind {
            cid: *cid,
            expected: "a directory",
            found: other.kind(),
        }),
    }
}

/// Loads a block, checked against its CID, and takes it apart.
pub(super) fn load(source: &(impl BlockSource + ?Sized), cid: &Cid) -> Result<Part, ExportError> {
    let bytes = if cid.hash().code() == IDENTITY {
        Bytes::copy_from_slice(cid.hash().digest())
    } else {
        source.block(cid)?.ok_or(ExportError::Missing(*cid))?
    };
    verify(cid, &bytes)?;
    match cid.codec() {
        RAW => Ok(Part::Raw(bytes)),
        DAG_PB => {
            let node =
                dag_pb::decode(&bytes).map_err(|reason| ExportError::Node { cid: *cid, reason })?;
            let wrong = |reason| ExportError::Message { cid: *cid, reason };
            let data = node.data.ok_or_else(|| wrong(MessageError::NoData))?;
            let message = Message::decode(&data).map_err(wrong)?;
            Ok(Part::Node(message, node.links))
        }
        codec => Err(ExportError::Codec { cid: *cid, codec }),
    }
}
