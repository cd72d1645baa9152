//! Workers in a closed loop, and what they measured.

use std::future::Future;
use std::time::{Duration, Instant};

use anyhow::{Result, ensure};
use futures::future::try_join_all;

/// Operations in a span of time, with the latency of each.
pub struct Measured {
    latencies: Vec<Duration>,
    span: Duration,
}

impl Measured {
    /// Sorts the latencies of all workers.
    pub fn new(mut latencies: Vec<Duration>, span: Duration) -> Self {
        latencies.sort_unstable();
        Self { latencies, span }
    }

    /// Operations per second.
    pub fn rate(&self) -> f64 {
        self.latencies.len() as f64 / self.span.as_secs_f64()
    }

    /// The latency that this share of the operations (0 to 1) did not exceed, in milliseconds.
    pub fn percentile(&self, share: f64) -> f64 {
        let last = self.latencies.len().saturating_sub(1);
        let at = (last as f64 * share).round() as usize;
        self.latencies
            .get(at)
            .map_or(f64::NAN, |l| l.as_secs_f64() * 1e3)
    }
}

/// Runs one task per worker, each repeating its operation until the time is up. Operations that end after the
/// limit are not counted.
pub async fn closed_loop<W, F, Fut>(workers: Vec<W>, seconds: f64, operation: F) -> Result<Measured>
where
    F: Fn(W, u64) -> Fut + Copy,
    Fut: Future<Output = Result<W>>,
{
    let begun = Instant::now();
    let limit = Duration::from_secs_f64(seconds);
    let all = try_join_all(workers.into_iter().map(|mut worker| async move {
        let mut latencies = Vec::new();
        for turn in 0.. {
            let started = begun.elapsed();
            if started >= limit {
                break;
            }
            worker = operation(worker, turn).await?;
            let ended = begun.elapsed();
            if ended <= limit {
                latencies.push(ended - started);
            }
        }
        anyhow::Ok(latencies)
    }))
    .await?;
    let latencies = all.concat();
    ensure!(
        !latencies.is_empty(),
        "no operation ended within {seconds} s"
    );
    Ok(Measured::new(latencies, limit))
}
