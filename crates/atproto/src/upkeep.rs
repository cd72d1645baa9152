//! What a node clears away by itself while it is served.

use std::fmt::Display;
use std::time::Duration;

use ues_repo::repo::event::LogEvent;
use ues_repo::repo::write::WriteError;
use ues_repo::syntax::Datetime;
use ues_storage::{EventLog, StorageError};

use crate::context::Context;
use crate::{lifecycle, mail};

/// How often the space of removed blobs is freed, and the memory of repositories to which nobody writes any more.
const FREE_EVERY: Duration = Duration::from_secs(60);
/// How often abandoned blobs are looked for.
const SWEEP_EVERY: Duration = Duration::from_secs(3600);

/// How often the event log is trimmed; what a projection holds back now goes the next time.
const TRIM_EVERY: Duration = Duration::from_secs(5);

/// How often accounts are looked for that are to be deleted.
const DELETE_EVERY: Duration = Duration::from_secs(600);

/// How often suspensions are looked for whose term is over.
const TERMS_EVERY: Duration = Duration::from_secs(2);

const HOUR_MS: u64 = 3_600_000;
const DAY_MS: u64 = 24 * HOUR_MS;

/// Starts the tasks; they end when the event stream is stopped.
pub(crate) fn start(ctx: &Context) {
    every(ctx, FREE_EVERY, "removed blobs cannot be freed", free_blobs);
    every(
        ctx,
        SWEEP_EVERY,
        "abandoned blobs cannot be removed",
        |ctx| async move { sweep_blobs(&ctx, ctx.now_ms()).await },
    );
    every(
        ctx,
        FREE_EVERY,
        "what imports have left cannot be freed",
        |ctx| async move { ctx.repos.free_left_content().await },
    );
    every(
        ctx,
        FREE_EVERY,
        "unused repositories cannot be forgotten",
        |ctx| async move { Ok::<_, std::convert::Infallible>(ctx.repos.forget_unused()) },
    );
    every(
        ctx,
        DELETE_EVERY,
        "accounts that are due cannot be deleted",
        |ctx| async move { lifecycle::delete_due(&ctx, ctx.now_ms()).await },
    );
    every(
        ctx,
        TERMS_EVERY,
        "suspensions cannot be ended",
        |ctx| async move { lifecycle::end_suspensions(&ctx, ctx.now_ms()).await },
    );
    mail::start(ctx);
    every(
        ctx,
        TRIM_EVERY,
        "the event log cannot be trimmed",
        |ctx| async move { trim_log(&ctx, ctx.now_ms()).await },
    );
}

/// Does some work now, and again and again.
fn every<W, F, T, E>(ctx: &Context, period: Duration, trouble: &'static str, work: W)
where
    W: Fn(Context) -> F + Send + 'static,
    F: Future<Output = Result<T, E>> + Send,
    E: Display,
{
    let ctx = ctx.clone();
    tokio::spawn(async move {
        loop {
            if let Err(cause) = work(ctx.clone()).await {
                tracing::error!(%cause, "{trouble}");
            }
            tokio::select! {
                () = ctx.hub.stopped() => return,
                () = tokio::time::sleep(period) => {}
            }
        }
    });
}

async fn free_blobs(ctx: Context) -> Result<usize, String> {
    let repos = ctx.repos.clone();
    tokio::task::spawn_blocking(move || repos.empty_blob_trash())
        .await
        .map_err(|e| e.to_string())?
        .map_err(|e| e.to_string())
}

/// Removes blobs that were uploaded longer ago than the configured time and that no record refers
/// to; gives how many. `now_ms` is the time, in milliseconds since 1970.
///
/// # Errors
/// When the store cannot be read.
pub async fn sweep_blobs(ctx: &Context, now_ms: u64) -> Result<usize, WriteError> {
    match ctx.config.upkeep.temporary_blob_hours {
        0 => Ok(0),
        hours => {
            let before = now_ms.saturating_sub(hours.saturating_mul(HOUR_MS));
            ctx.repos.sweep_all_blobs(before).await
        }
    }
}

/// Why the event log is not trimmed.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum TrimError {
    /// The store failed.
    #[error(transparent)]
    Storage(#[from] StorageError),
    /// An event does not say when it was.
    #[error("event {seq} cannot be read: {reason}")]
    Event {
        /// Its number.
        seq: u64,
        /// What is wrong.
        reason: String,
    },
    /// The work was broken off.
    #[error("it was broken off: {0}")]
    Stopped(#[from] tokio::task::JoinError),
}

/// Removes from the event log what is older than the configured time, or more than the configured
/// number; gives how many events that were. `now_ms` is the time, in milliseconds since 1970.
///
/// What a projection has not taken in stays, and so does the newest event.
///
/// # Errors
/// [`TrimError`].
pub async fn trim_log(ctx: &Context, now_ms: u64) -> Result<u64, TrimError> {
    let ctx = ctx.clone();
    tokio::task::spawn_blocking(move || trim(&ctx, now_ms)).await?
}

fn trim(ctx: &Context, now_ms: u64) -> Result<u64, TrimError> {
    let (log, keep) = (ctx.store.log(), &ctx.config.upkeep);
    let (first, last) = (log.first_seq(), log.last_durable());
    let mut before = first;
    if keep.event_days > 0 {
        let horizon = now_ms.saturating_sub(keep.event_days.saturating_mul(DAY_MS));
        before = first_since(log, horizon)?;
    }
    if keep.events > 0 {
        before = before.max((last + 1).saturating_sub(keep.events));
    }
    // Projections are built again from the repositories when they meet the first event after a gap.
    before = before.min(last);
    if let Some(taken_in) = ctx.log_readers.slowest() {
        before = before.min(taken_in.saturating_add(1));
    }
    if before <= first {
        return Ok(0);
    }
    Ok(log.trim(before)?)
}

/// The first event that is not older than a time. Times rise with the numbers, so it is found by
/// halving.
fn first_since(log: &EventLog, horizon_ms: u64) -> Result<u64, TrimError> {
    let (mut first, mut end) = (log.first_seq(), log.last_durable() + 1);
    while first < end {
        let seq = first + (end - first) / 2;
        let fault = |reason: String| TrimError::Event { seq, reason };
        let event = log.read(seq - 1, 1, 1)?.into_iter().next();
        let event = event.ok_or_else(|| fault("it is missing".to_owned()))?;
        let event = LogEvent::decode(&event.payload).map_err(|e| fault(e.to_string()))?;
        let time = Datetime::parse(event.time()).map_err(|e| fault(e.to_string()))?;
        if u64::try_from(time.unix_millis()).unwrap_or(0) < horizon_ms {
            first = seq + 1;
        } else {
            end = seq;
        }
    }
    Ok(first)
}
