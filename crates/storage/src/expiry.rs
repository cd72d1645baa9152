//! Removes rows whose time has come.
//!
//! Readers skip an expired row by themselves; the sweeper frees its space. It finds due rows in the expiry index,
//! which is ordered by time, and lets the committer check each one again before it deletes: the key may have been
//! written anew, with another time or none.

use std::ops::Bound;

use bytes::Bytes;

use crate::batch::Batch;
use crate::committer::Moving;
use crate::engine::{KeyspaceId, Shape};
use crate::error::StorageError;
use crate::format::ks;
use crate::keyspace::value;
use crate::store::Shared;

/// Rows that one task checks, so that writers are not held up.
const SLICE: usize = 256;

/// Removes all rows that have expired by now and returns how many there were.
pub(crate) fn sweep(shared: &Shared) -> Result<u64, StorageError> {
    let now = shared.options.clock.now_ms();
    let due = now.saturating_add(1).to_be_bytes();
    let mut swept = 0;
    while !shared.log.is_closed() {
        let mut rows = Vec::new();
        for row in shared
            .engine
            .scan(ks::EXPIRY, Bound::Unbounded, Bound::Excluded(&due))
            .take(SLICE)
        {
            rows.push(parse(shared, row?.0)?);
        }
        if rows.is_empty() {
            break;
        }
        let (tell, count) = std::sync::mpsc::channel();
        let done = shared.queue.submit_task(
            Moving::IfFull,
            Box::new(move |between| {
                let mut batch = Batch::new();
                let mut swept = 0u64;
                for (index, ks, key) in rows {
                    batch.delete_row(ks::EXPIRY, &index);
                    // An unreadable row stays where it is; the next reader or a check reports it.
                    let row = between.engine.get(ks, &key).ok().flatten();
                    if row
                        .and_then(|row| value::expires_at(&row))
                        .is_some_and(|at| at <= now)
                    {
                        batch.delete_row(ks, &key);
                        swept += 1;
                    }
                }
                let _ = tell.send(swept);
                batch
            }),
        )?;
        done.wait()?;
        swept += count.try_recv().unwrap_or(0);
    }
    Ok(swept)
}

/// The index row itself, and the row that it speaks of.
fn parse(shared: &Shared, index: Bytes) -> Result<(Bytes, KeyspaceId, Bytes), StorageError> {
    let damaged = || StorageError::Damaged {
        keyspace: "expiry",
        what: format!("unreadable key {index:?}"),
    };
    let (_, name, key) = value::parse_expiry_key(&index).ok_or_else(damaged)?;
    let id = shared.engine.keyspace(name, Shape::Small)?;
    let key = index.slice_ref(key);
    Ok((index, id, key))
}
