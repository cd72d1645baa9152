//! Takes and renews the leases of shards, and runs the shards that it holds. Planners share the shards evenly: each
//! has a seat, and whoever sees so many seats taken holds no more than its part.

use std::sync::Arc;
use std::time::Duration;

use tokio_util::sync::CancellationToken;

use super::{ReconcileError, Shared, ends, pause, shard};
use crate::shard::{Shard, Shards};
use crate::store::Lease;
use crate::tasks::Tasks;

/// How long a lease holds without being renewed, and how often leases are renewed and tried for.
const TERM: Term = Term {
    lease_ms: 15_000,
    renew: Duration::from_secs(4),
};
/// The same for a planner that has nobody to share with: nobody waits for its leases.
const ALONE: Term = Term {
    lease_ms: 600_000,
    renew: Duration::from_secs(120),
};
/// After something could not be had.
const SOON: Duration = Duration::from_secs(2);
/// Fewest planners that can be told apart; more than there are shards, so that some may stand by.
const SEATS: u32 = 8;
/// The lease of whoever removes requests that ended.
const ENDS: &str = "ends";

struct Term {
    lease_ms: u64,
    renew: Duration,
}

/// What this planner holds.
struct Held {
    shared: Arc<Shared>,
    tasks: Tasks,
    seat: Option<u32>,
    shards: Vec<(Shard, CancellationToken)>,
    ends: Option<CancellationToken>,
    /// Whether something was not answered in this round.
    troubled: bool,
}

pub(super) async fn run(shared: Arc<Shared>, tasks: Tasks) {
    let term = if shared.parts.shared { TERM } else { ALONE };
    let mut held = Held {
        shared: Arc::clone(&shared),
        tasks,
        seat: None,
        shards: Vec::new(),
        ends: None,
        troubled: false,
    };
    loop {
        held.troubled = false;
        if held.agrees().await {
            held.round(term.lease_ms).await;
        } else {
            held.give_back().await;
        }
        let next = if held.troubled { SOON } else { term.renew };
        if !pause(&shared.stop, next).await {
            break;
        }
    }
    held.give_back().await;
}

fn seat_name(seat: u32) -> String {
    format!("planner-{seat}")
}

fn shard_name(shard: Shard) -> String {
    format!("shard-{}", shard.0)
}

impl Held {
    /// Whether the state is still divided as this process was told at its start.
    async fn agrees(&mut self) -> bool {
        let parts = &self.shared.parts;
        match Shards::noted(&*parts.store).await {
            Ok(Some(noted)) if noted != parts.shards => {
                let (noted, mine) = (noted.count(), parts.shards.count());
                tracing::error!(
                    "the pins are divided into {noted} shards now, not {mine}: start this process again"
                );
                false
            }
            Ok(_) => true,
            Err(error) => {
                self.trouble("shards", &error.into());
                true
            }
        }
    }

    async fn round(&mut self, lease_ms: u64) {
        let share = self.share(lease_ms).await;
        self.lessen(share).await;
        // Planners begin at different shards, so that they rarely want the same.
        let count = self.shared.parts.shards.count();
        let first = self.seat.unwrap_or(0) * count.div_ceil(SEATS);
        for number in 0..count {
            let shard = Shard((first + number) % count);
            let running = self.shards.iter().position(|(s, _)| *s == shard);
            if running.is_none() && self.shards.len() >= share {
                continue;
            }
            let held = self.hold(&shard_name(shard), lease_ms).await;
            match (held, running) {
                (true, None) => self.begin(shard),
                (false, Some(at)) => {
                    tracing::info!(shard = shard.0, "another planner has this shard now");
                    self.shards.swap_remove(at).1.cancel();
                }
                _ => {}
            }
        }
        match (self.hold(ENDS, lease_ms).await, self.ends.take()) {
            (true, Some(stop)) => self.ends = Some(stop),
            (true, None) => {
                let stop = self.shared.stop.child_token();
                let run = ends::run(Arc::clone(&self.shared), stop.clone());
                self.tasks.spawn(run);
                self.ends = Some(stop);
            }
            (false, Some(stop)) => stop.cancel(),
            (false, None) => {}
        }
    }

    fn begin(&mut self, shard: Shard) {
        let stop = self.shared.stop.child_token();
        let run = shard::run(Arc::clone(&self.shared), shard, stop.clone());
        self.tasks.spawn(run);
        self.shards.push((shard, stop));
    }

    /// How many shards are this planner's part. Takes a seat and counts the others.
    async fn share(&mut self, lease_ms: u64) -> usize {
        let count = self.shared.parts.shards.count();
        if !self.shared.parts.shared {
            return count as usize;
        }
        let mut others = 0u32;
        let mut mine = None;
        for seat in 0..count + SEATS {
            // A look at a seat that nobody has takes it for no time at all.
            let sits = self.seat == Some(seat) || (self.seat.is_none() && mine.is_none());
            let time = if sits { lease_ms } else { 0 };
            match self.wish(&seat_name(seat), time).await {
                Ok(true) if sits => mine = Some(seat),
                Ok(true) => {}
                Ok(false) => others += 1,
                Err(error) => self.trouble(&seat_name(seat), &error),
            }
        }
        self.seat = mine;
        count.div_ceil(others + 1) as usize
    }

    /// Lets go of what is more than its part.
    async fn lessen(&mut self, share: usize) {
        while self.shards.len() > share {
            if let Some((shard, stop)) = self.shards.pop() {
                tracing::info!(shard = shard.0, "this shard is left to another planner");
                stop.cancel();
                self.release(&shard_name(shard)).await;
            }
        }
    }

    /// Whether a lease is held from now on. When the store does not answer, it is not: another may have it.
    async fn hold(&mut self, name: &str, lease_ms: u64) -> bool {
        match self.wish(name, lease_ms).await {
            Ok(held) => held,
            Err(error) => {
                self.trouble(name, &error);
                false
            }
        }
    }

    fn trouble(&mut self, name: &str, error: &ReconcileError) {
        self.troubled = true;
        tracing::warn!(%error, name, "a lease cannot be had");
    }

    async fn wish(&self, name: &str, for_ms: u64) -> Result<bool, ReconcileError> {
        let parts = &self.shared.parts;
        let now_ms = parts.clock.now_ms();
        let wish = Lease {
            holder: parts.holder.clone(),
            until_ms: if for_ms == 0 { 0 } else { now_ms + for_ms },
        };
        let lease = parts.store.lease(name, wish, now_ms).await?;
        Ok(lease.holder == parts.holder)
    }

    async fn release(&self, name: &str) {
        if let Err(error) = self.wish(name, 0).await {
            tracing::debug!(%error, name, "a lease is left to run out");
        }
    }

    /// Lets others have everything at once.
    async fn give_back(&mut self) {
        for (shard, stop) in std::mem::take(&mut self.shards) {
            stop.cancel();
            self.release(&shard_name(shard)).await;
        }
        if self.ends.take().is_some() {
            self.release(ENDS).await;
        }
        if let Some(seat) = self.seat.take() {
            self.release(&seat_name(seat)).await;
        }
    }
}
