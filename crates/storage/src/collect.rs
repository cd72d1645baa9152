//! Frees the blocks that nobody references any more.
//!
//! Releasing a block only queues it in `retired`. The collector walks that queue in slices: it looks in a snapshot
//! which of the queued blocks still have a reference row, then asks the committer to delete the others. A block may
//! have been stored or released again in between, and the committer must not spend time on reads; therefore it
//! remembers, from before the snapshot until the deletion, which digests had references written, and the collector
//! leaves those for its next round.

use std::ops::Bound;

use bytes::Bytes;

use crate::Multihash;
use crate::batch::Batch;
use crate::committer::Moving;
use crate::engine::Reads;
use crate::error::StorageError;
use crate::format::{DIGEST_PREFIX, digest_prefix, ks, prefix_end};
use crate::store::Shared;

/// Queue rows that one slice takes.
const SLICE: usize = 4096;
/// What a round of collecting did.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
#[non_exhaustive]
pub struct Collected {
    /// Queue rows that were looked at.
    pub examined: u64,
    /// Blocks that were deleted.
    pub freed: u64,
    /// Whether the whole queue was walked.
    pub finished: bool,
}

/// Walks on in the queue from where the last call ended, looking at about `max_rows` rows at most.
pub(crate) fn collect(shared: &Shared, max_rows: u64) -> Result<Collected, StorageError> {
    // Holding the place also keeps a second collector out, since the committer remembers for one only.
    let mut place = shared.collecting.lock();
    let mut done = Collected::default();
    while done.examined < max_rows && !shared.log.is_closed() {
        let slice = usize::try_from(max_rows - done.examined)
            .unwrap_or(SLICE)
            .min(SLICE);
        *place = collect_slice(shared, place.as_deref(), slice, &mut done)?;
        if place.is_none() {
            done.finished = true;
            break;
        }
    }
    Ok(done)
}

/// Handles one slice and returns its last key; `None` when the end of the queue was reached.
fn collect_slice(
    shared: &Shared,
    after: Option<&[u8]>,
    max: usize,
    done: &mut Collected,
) -> Result<Option<Bytes>, StorageError> {
    let from = after.map_or(Bound::Unbounded, Bound::Excluded);
    if shared
        .engine
        .scan(ks::RETIRED, from, Bound::Unbounded)
        .next()
        .transpose()?
        .is_none()
    {
        return Ok(None);
    }
    let begun = shared.queue.submit_task(
        // References that wait in the nursery must be seen as well.
        Moving::Now,
        Box::new(|between| {
            between.touched.start();
            Batch::new()
        }),
    )?;
    begun.wait()?;
    let snapshot = shared.engine.snapshot();
    let mut rows = Vec::with_capacity(max);
    for row in snapshot.scan(ks::RETIRED, from, Bound::Unbounded).take(max) {
        rows.push(row?.0);
    }
    let last = rows.last().filter(|_| rows.len() == max).cloned();
    done.examined += rows.len() as u64;
    let mut candidates = Vec::with_capacity(rows.len());
    for row in rows {
        let mh = Multihash::from_bytes(&row).map_err(|e| StorageError::Damaged {
            keyspace: "retired",
            what: format!("a multihash expected, found {} bytes: {e}", row.len()),
        })?;
        let digest = digest_prefix(&mh);
        candidates.push((row, digest, is_referenced(&*snapshot, &digest)?));
    }
    let (tell, freed) = std::sync::mpsc::channel();
    let ended = shared.queue.submit_task(
        Moving::IfFull,
        Box::new(move |between| {
            let mut batch = Batch::with_capacity(candidates.len() * 2, candidates.len() * 80);
            let mut freed = 0;
            for (row, digest, referenced) in candidates {
                if between.touched.contains(&digest) {
                    continue;
                }
                batch.delete_row(ks::RETIRED, &row);
                if !referenced {
                    batch.delete_row(ks::BLOCKS, &row);
                    freed += 1;
                }
            }
            between.touched.stop();
            // The receiver is gone only when the collector's thread died.
            let _ = tell.send(freed);
            batch
        }),
    )?;
    ended.wait()?;
    done.freed += freed.try_recv().unwrap_or(0u64);
    Ok(last)
}

/// Whether a reference row with this digest prefix exists. The narrow range spares the engine the rows around it,
/// most of which are tombstones of references released lately.
fn is_referenced(reads: &dyn Reads, digest: &[u8; DIGEST_PREFIX]) -> Result<bool, StorageError> {
    let end = prefix_end(digest);
    let to = end.as_deref().map_or(Bound::Unbounded, Bound::Excluded);
    Ok(reads
        .scan(ks::REFS, Bound::Included(digest), to)
        .next()
        .transpose()?
        .is_some())
}
