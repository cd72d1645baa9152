//! The header of an archive.

use cid::Cid;

use super::CarError;
use crate::dag_cbor::{Limits, Reader, Writer};

/// What the header says: the CIDs at which reading begins.
///
/// The specification asks for one root at least; archives without roots exist and are accepted.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct CarHeader {
    /// The roots, in order.
    pub roots: Vec<Cid>,
}

impl CarHeader {
    /// Reads a header block, without the length in front of it.
    pub(super) fn decode(bytes: &[u8]) -> Result<Self, CarError> {
        let mut reader = Reader::with_limits(bytes, Limits::GENERAL);
        let mut previous = None;
        let mut roots = None;
        let mut version = None;
        for _ in 0..reader.map()? {
            match reader.key(&mut previous)? {
                "roots" => {
                    let len = reader.array()?;
                    let mut list = Vec::with_capacity(len.min(16));
                    for _ in 0..len {
                        list.push(reader.link()?);
                    }
                    roots = Some(list);
                }
                "version" => {
                    let found = reader.uint()?;
                    if found != 1 {
                        return Err(CarError::Version(found));
                    }
                    version = Some(found);
                }
                other => return Err(CarError::HeaderField(other.chars().take(64).collect())),
            }
        }
        reader.finish()?;
        match (roots, version) {
            (Some(roots), Some(_)) => Ok(Self { roots }),
            (None, _) => Err(CarError::HeaderField("no roots".to_owned())),
            (_, None) => Err(CarError::HeaderField("no version".to_owned())),
        }
    }

    /// The header block, without the length in front of it.
    pub(super) fn encode(roots: &[Cid]) -> Vec<u8> {
        let mut writer = Writer::with_capacity(32 + 44 * roots.len());
        writer.map(2);
        writer.text("roots");
        writer.array(roots.len() as u64);
        for root in roots {
            writer.link(root);
        }
        writer.text("version");
        writer.uint(1);
        writer.into_bytes()
    }
}
