//! The last events of the log, for people.

use std::collections::VecDeque;

use ues_repo::repo::event::LogEvent;
use ues_repo::syntax::Did;

use crate::context::Context;
use crate::xrpc::XrpcError;

/// Events read at a time.
const PIECE: usize = 2_000;
/// Bytes read at a time.
const PIECE_BYTES: usize = 8 << 20;

/// Events with their numbers, oldest first.
pub type Events = Vec<(u64, LogEvent)>;

/// A piece of the log behind a number; empty at its end. Blocks on the disk.
///
/// # Errors
/// When the log cannot be read.
pub fn events_after(ctx: &Context, after: u64) -> Result<Events, XrpcError> {
    let events = ctx.store.log().read(after, PIECE, PIECE_BYTES);
    let decoded = events.map_err(XrpcError::internal)?.into_iter().map(|e| {
        let event = LogEvent::decode(&e.payload).map_err(XrpcError::internal)?;
        Ok((e.seq, event))
    });
    decoded.collect()
}

/// The last events before a number (or of all), at most `limit`, of one account or of all. Looking for one account's reads
/// the log backwards until there are as many. Blocks on the disk.
///
/// # Errors
/// When the log cannot be read.
pub fn last_events(
    ctx: &Context,
    before: Option<u64>,
    limit: usize,
    did: Option<&Did>,
) -> Result<Events, XrpcError> {
    let log = ctx.store.log();
    let (first, last) = (log.first_seq(), log.last_durable());
    let mut end = before.unwrap_or(u64::MAX).min(last.saturating_add(1));
    let mut events = VecDeque::new();
    let step = if did.is_some() { PIECE } else { limit } as u64;
    while end > first && events.len() < limit {
        let start = end.saturating_sub(step).max(first);
        let (mut found, mut at) = (Vec::new(), start.saturating_sub(1));
        while at + 1 < end {
            let piece = events_after(ctx, at)?;
            if piece.is_empty() {
                break;
            }
            for (seq, event) in piece {
                at = seq;
                if seq < end && did.is_none_or(|did| event.did() == did) {
                    found.push((seq, event));
                }
            }
        }
        for event in found.into_iter().rev() {
            if events.len() < limit {
                events.push_front(event);
            }
        }
        end = start;
    }
    Ok(events.into())
}
