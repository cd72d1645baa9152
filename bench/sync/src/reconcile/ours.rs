//! Coded symbols.

use std::sync::Arc;

use anyhow::bail;
use ues_sync::reconcile::{Difference, Inquiry, Item, Key, Sketch, Step};

use super::{Cost, Sets};
use crate::clock::Clock;

const KEY: Key = Key(*b"bench of symbols");

/// Symbols that both sides keep.
const KEPT: usize = 1 << 16;

/// A request as it would be sent: two numbers.
const REQUEST: usize = 8;

pub fn sketch(items: &[Item]) -> Sketch {
    let mut sketch = Sketch::new(KEY, KEPT);
    for item in items {
        sketch.add(*item);
    }
    sketch
}

/// Finds the difference; gives round trips and bytes too.
pub fn inquire(
    local: Arc<Sketch>,
    remote: &Sketch,
    estimate: Option<u64>,
) -> anyhow::Result<(Difference, u32, usize)> {
    let (mut rounds, mut bytes) = (0, 0);
    let (mut inquiry, mut step) = Inquiry::new(local, estimate, KEPT);
    loop {
        step = match step {
            Step::Ask(request) => {
                rounds += 1;
                let answer = remote.batch(request.start, request.count).encode();
                bytes += answer.len() + REQUEST;
                inquiry.answer(&answer)?
            }
            Step::Done(difference) => return Ok((difference, rounds, bytes)),
            Step::Grow(length) => bail!("{length} symbols needed, {KEPT} are kept"),
        };
    }
}

pub fn run(sets: &Sets, estimate: Option<u64>) -> anyhow::Result<Cost> {
    let mut cost = Cost::default();
    let clock = Clock::start()?;
    let local = Arc::new(sketch(&sets.local));
    let remote = sketch(&sets.remote);
    cost.prepare = clock.seconds()?;
    let clock = Clock::start()?;
    let (difference, rounds, bytes) = inquire(local, &remote, estimate)?;
    cost.seconds = clock.seconds()?;
    (cost.rounds, cost.bytes) = (rounds, bytes);
    cost.only_local = difference.only_local.into_iter().collect();
    cost.only_remote = difference.only_remote.into_iter().collect();
    Ok(cost)
}
