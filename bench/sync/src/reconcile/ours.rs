//! Coded symbols.

use std::sync::Arc;

use anyhow::Context;
use ues_sync::reconcile::{Inquiry, Item, Key, Sketch, Step};

use super::{Cost, Sets};
use crate::clock::Clock;

const KEY: Key = Key(*b"bench of symbols");

/// Symbols that both sides keep.
const KEPT: usize = 1 << 15;

/// A request as it would be sent: two numbers.
const REQUEST: usize = 8;

fn sketch(items: &[Item]) -> anyhow::Result<Sketch> {
    let mut sketch = Sketch::new(KEY, KEPT);
    for item in items {
        sketch.add(*item);
    }
    Ok(sketch)
}

pub fn run(sets: &Sets, estimate: Option<u64>) -> anyhow::Result<Cost> {
    let mut cost = Cost::default();
    let clock = Clock::start()?;
    let local = Arc::new(sketch(&sets.local)?);
    let remote = sketch(&sets.remote)?;
    cost.prepare = clock.seconds()?;
    let clock = Clock::start()?;
    let (mut inquiry, mut step) = Inquiry::new(local, estimate, KEPT);
    let difference = loop {
        step = match step {
            Step::Ask(request) => {
                cost.rounds += 1;
                let answer = remote.batch(request.start, request.count).encode();
                cost.bytes += answer.len() + REQUEST;
                inquiry.answer(&answer)?
            }
            Step::Done(difference) => break difference,
            Step::Grow(_) => None.context("more symbols than are kept")?,
        };
    };
    cost.seconds = clock.seconds()?;
    cost.only_local = difference.only_local.into_iter().collect();
    cost.only_remote = difference.only_remote.into_iter().collect();
    Ok(cost)
}
