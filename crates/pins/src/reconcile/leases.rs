//! Takes and renews the leases of shards, and runs the shards that it holds.

use std::sync::Arc;
use std::time::Duration;

use tokio_util::sync::CancellationToken;

use super::{ReconcileError, Shared, ends, pause, shard};
use crate::shard::Shard;
use crate::store::Lease;
use crate::tasks::Tasks;

/// How long a lease holds without being renewed.
const LEASE_MS: u64 = 15_000;
/// How often leases are renewed and tried for.
const RENEW: Duration = Duration::from_secs(4);

/// The shards that run, each with what stops it.
type Running = Vec<(Shard, CancellationToken)>;

pub(super) async fn run(shared: Arc<Shared>, tasks: Tasks) {
    let mut running: Running = Vec::new();
    let mut ends: Option<CancellationToken> = None;
    loop {
        for shard in Shard::all() {
            let held = hold(&shared, &format!("shard-{}", shard.0)).await;
            let at = running.iter().position(|(s, _)| *s == shard);
            match (held, at) {
                (true, None) => {
                    let stop = shared.stop.child_token();
                    tasks.spawn(shard::run(Arc::clone(&shared), shard, stop.clone()));
                    running.push((shard, stop));
                }
                (false, Some(at)) => {
                    tracing::info!(shard = shard.0, "another planner has this shard now");
                    running.swap_remove(at).1.cancel();
                }
                _ => {}
            }
        }
        match (hold(&shared, "ends").await, &ends) {
            (true, None) => {
                let stop = shared.stop.child_token();
                tasks.spawn(ends::run(Arc::clone(&shared), stop.clone()));
                ends = Some(stop);
            }
            (false, Some(stop)) => {
                stop.cancel();
                ends = None;
            }
            _ => {}
        }
        if !pause(&shared.stop, RENEW).await {
            break;
        }
    }
    give_back(&shared, &running).await;
}

/// Whether a lease is held from now on. When the store does not answer, it is not: another may have it.
async fn hold(shared: &Shared, name: &str) -> bool {
    match wish(shared, name, LEASE_MS).await {
        Ok(held) => held,
        Err(error) => {
            tracing::warn!(%error, name, "a lease cannot be had");
            false
        }
    }
}

async fn wish(shared: &Shared, name: &str, for_ms: u64) -> Result<bool, ReconcileError> {
    let parts = &shared.parts;
    let now_ms = parts.clock.now_ms();
    let wish = Lease {
        holder: parts.holder.clone(),
        until_ms: now_ms + for_ms,
    };
    let lease = parts.store.lease(name, wish, now_ms).await?;
    Ok(lease.holder == parts.holder)
}

/// Lets others have the shards at once.
async fn give_back(shared: &Shared, running: &Running) {
    for (shard, stop) in running {
        stop.cancel();
        if let Err(error) = wish(shared, &format!("shard-{}", shard.0), 0).await {
            tracing::debug!(%error, "a lease is left to run out");
        }
    }
    if let Err(error) = wish(shared, "ends", 0).await {
        tracing::debug!(%error, "a lease is left to run out");
    }
}
