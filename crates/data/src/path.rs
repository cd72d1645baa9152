//! Paths through values and across links.
//!
//! A path such as `/posts/3/author` names map keys and list positions. Where it meets a link, the block behind the
//! link is loaded and the path goes on in it.

use std::collections::BTreeMap;

use bytes::Bytes;
use cid::Cid;
use ipld_core::ipld::Ipld;

use crate::Limits;
use crate::block::{self, CodecError};
use crate::content_id::{DAG_PB, HashMismatch, IDENTITY, verify};
use crate::source::{BlockSource, BlockSourceError};

/// Bounds on a path.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct PathLimits {
    /// How many segments a path may have.
    pub max_segments: usize,
    /// How many blocks may be loaded on the way.
    pub max_blocks: usize,
    /// Bounds on each of these blocks.
    pub block: Limits,
}

impl Default for PathLimits {
    /// 256 segments, 256 blocks of 4 MiB.
    fn default() -> Self {
        Self {
            max_segments: 256,
            max_blocks: 256,
            block: Limits {
                max_bytes: 4 << 20,
                ..Limits::GENERAL
            },
        }
    }
}

/// What a path leads to.
#[derive(Debug, Clone, PartialEq)]
pub struct Resolved {
    /// The block in which the value stands.
    pub cid: Cid,
    /// The rest of the path, within that block.
    pub within: String,
    /// The value. A link at the end of the path is not followed.
    pub value: Ipld,
}

/// Why a path leads nowhere.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum PathError {
    /// More segments than allowed.
    #[error("a path has at most {max} segments, found {found}")]
    TooLong {
        /// The limit.
        max: usize,
        /// How many there are.
        found: usize,
    },
    /// More links on the way than allowed.
    #[error("the path crosses more than {0} blocks")]
    TooManyBlocks(usize),
    /// A block is not there.
    #[error("block {0} is missing")]
    Missing(Cid),
    /// The source failed.
    #[error(transparent)]
    Source(#[from] BlockSourceError),
    /// The source gave other bytes than the CID names.
    #[error(transparent)]
    Hash(#[from] HashMismatch),
    /// A block cannot be read.
    #[error("block {cid} cannot be read: {reason}")]
    Codec {
        /// The block.
        cid: Cid,
        /// What is wrong with it.
        #[source]
        reason: CodecError,
    },
    /// The value has no such key or position.
    #[error("block {cid} has nothing at {at:?}")]
    NotFound {
        /// The block in which the path ends.
        cid: Cid,
        /// The segment that leads nowhere.
        at: String,
    },
}

/// Follows `path` from the block `root`.
///
/// Segments are divided by `/`; empty ones are passed over. Every block is checked against its CID. In DAG-PB nodes
/// a segment may also be the name of a link.
pub fn resolve(
    source: &(impl BlockSource + ?Sized),
    root: &Cid,
    path: &str,
    limits: PathLimits,
) -> Result<Resolved, PathError> {
    let segments: Vec<&str> = path.split('/').filter(|s| !s.is_empty()).collect();
    if segments.len() > limits.max_segments {
        return Err(PathError::TooLong {
            max: limits.max_segments,
            found: segments.len(),
        });
    }
    let mut cid = *root;
    let mut within = String::new();
    let mut value = load(source, &cid, limits.block)?;
    let mut blocks = 1;
    for segment in segments {
        if let Ipld::Link(link) = value {
            blocks += 1;
            if blocks > limits.max_blocks {
                return Err(PathError::TooManyBlocks(limits.max_blocks));
            }
            cid = link;
            within.clear();
            value = load(source, &cid, limits.block)?;
        }
        let node = cid.codec() == DAG_PB && within.is_empty();
        value = step(value, segment, node).ok_or_else(|| PathError::NotFound {
            cid,
            at: segment.chars().take(64).collect(),
        })?;
        if !within.is_empty() {
            within.push('/');
        }
        within.push_str(segment);
    }
    Ok(Resolved { cid, within, value })
}

/// Loads the value of a block, checked against its CID.
pub fn load(
    source: &(impl BlockSource + ?Sized),
    cid: &Cid,
    limits: Limits,
) -> Result<Ipld, PathError> {
    let bytes = if cid.hash().code() == IDENTITY {
        Bytes::copy_from_slice(cid.hash().digest())
    } else {
        source.block(cid)?.ok_or(PathError::Missing(*cid))?
    };
    verify(cid, &bytes)?;
    block::decode(cid.codec(), &bytes, limits)
        .map_err(|reason| PathError::Codec { cid: *cid, reason })
}

fn step(value: Ipld, segment: &str, node: bool) -> Option<Ipld> {
    match value {
        Ipld::Map(mut map) => match map.remove(segment) {
            Some(item) => Some(item),
            None if node => named_link(&map, segment),
            None => None,
        },
        Ipld::List(mut items) => {
            let index: usize = segment.parse().ok()?;
            let canonical = segment == "0" || !segment.starts_with(['0', '+']);
            (canonical && index < items.len()).then(|| items.swap_remove(index))
        }
        _ => None,
    }
}

/// The link of a DAG-PB node that has this name.
fn named_link(map: &BTreeMap<String, Ipld>, segment: &str) -> Option<Ipld> {
    let Some(Ipld::List(links)) = map.get("Links") else {
        return None;
    };
    links.iter().find_map(|link| match link {
        Ipld::Map(link) if link.get("Name") == Some(&Ipld::String(segment.to_owned())) => {
            match link.get("Hash") {
                Some(hash @ Ipld::Link(_)) => Some(hash.clone()),
                _ => None,
            }
        }
        _ => None,
    })
}
