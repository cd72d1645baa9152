//! Requests that end: removes them when their time has come, and tells the planner.

use std::sync::Arc;
use std::time::Duration;

use tokio_util::sync::CancellationToken;

use super::{ReconcileError, Shared, pause};
use crate::announce;
use crate::store::{RemoveIf, RequestChange};

/// How often the queue of ends is looked at.
const LOOK: Duration = Duration::from_secs(1);
/// Ends that are handled at a time.
const PIECE: usize = 1000;

/// Removes requests whose time has come, until it is stopped. After a pause of any length it catches up.
pub(super) async fn run(shared: Arc<Shared>, stop: CancellationToken) {
    loop {
        let more = match piece(&shared).await {
            Ok(more) => more,
            Err(error) => {
                shared.count(&error);
                tracing::warn!(%error, "requests that ended cannot be removed yet");
                false
            }
        };
        let time = if more { Duration::ZERO } else { LOOK };
        if !pause(&stop, time).await || stop.is_cancelled() {
            return;
        }
    }
}

/// Handles the oldest ends; says whether there may be more.
async fn piece(shared: &Shared) -> Result<bool, ReconcileError> {
    let parts = &shared.parts;
    let now_s = parts.clock.now_ms() / 1000;
    let ends = parts.store.ends(now_s, PIECE).await?;
    if ends.is_empty() {
        return Ok(false);
    }
    let changes = ends
        .iter()
        .map(|end| RequestChange::Remove {
            owner: end.owner.clone(),
            cid: end.cid,
            only: RemoveIf::EndedBy(now_s),
        })
        .collect();
    // The condition is judged where the request lies: one that was extended stays.
    parts.store.change_requests(changes, Vec::new()).await?;
    let ended: Vec<_> = ends.iter().map(|end| (end.cid, None)).collect();
    announce::publish(&*parts.store, &*parts.bus, parts.shards, &ended, false).await?;
    let more = ends.len() == PIECE;
    parts.store.settle_ends(ends).await?;
    Ok(more)
}
