//! What a session says of a copy, and how it cuts what it sends.

use std::collections::BTreeMap;

use bytes::Bytes;

use crate::clock::WriterId;
use crate::log::Replica;
use crate::operation::OperationId;

use super::frame::{HeadFrame, MAX_FRAME_BYTES, OperationFrame, Operations};
use super::session::Copy;

/// The fingerprint of the log, and the beginning of the record tree's root.
pub(super) fn marks(copy: &dyn Copy) -> (Bytes, Bytes) {
    let log = copy
        .replica()
        .map(|replica| replica.summary().fingerprint());
    let records = copy.records();
    let first = records.and_then(|cid| cid.hash().digest().get(..8).map(Bytes::copy_from_slice));
    (
        log.map(|log| Bytes::copy_from_slice(&log))
            .unwrap_or_default(),
        first.unwrap_or_default(),
    )
}

pub(super) fn forks(replica: &Replica) -> BTreeMap<WriterId, u64> {
    let forks = replica.roster().iter();
    forks
        .filter_map(|(n, writer)| Some((n, writer.fork?)))
        .collect()
}

/// How far each writer counts: when that changes, the other must hear it.
pub(super) fn limits(replica: &Replica) -> Vec<(WriterId, u64)> {
    let writers = replica.roster().iter();
    let short = writers.filter(|(_, writer)| !writer.is_active());
    short.map(|(n, writer)| (n, writer.limit())).collect()
}

/// How far each writer has come.
pub(super) fn write_heads(replica: &Replica) -> Vec<HeadFrame> {
    let heads = replica.summary().heads.into_iter();
    let frame = |head: crate::log::Head| HeadFrame {
        writer: head.writer,
        seq: head.seq,
        id: match head.seq {
            0 => Bytes::new(),
            _ => Bytes::copy_from_slice(&head.id.0),
        },
        fork: head.fork.unwrap_or(0),
    };
    heads.map(frame).collect()
}

pub(super) fn read_head(head: &HeadFrame) -> Option<crate::log::Head> {
    let id = match head.seq {
        0 => [0; 32],
        _ => head.id[..].try_into().ok()?,
    };
    Some(crate::log::Head {
        writer: head.writer,
        seq: head.seq,
        id: OperationId(id),
        fork: (head.fork > 0).then_some(head.fork),
    })
}

/// Cuts what is too large for one frame.
pub(super) fn split(frame: Operations) -> Vec<Operations> {
    let size = |op: &OperationFrame| op.block.len() + op.value.len() + 32;
    let mut out = vec![Operations::default()];
    let mut bytes = 0;
    for operation in frame.operations {
        if bytes + size(&operation) > MAX_FRAME_BYTES / 2 && bytes > 0 {
            out.push(Operations::default());
            bytes = 0;
        }
        bytes += size(&operation);
        if let Some(last) = out.last_mut() {
            last.operations.push(operation);
        }
    }
    out
}
