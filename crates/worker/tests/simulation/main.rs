//! Planners, workers, store, bus and clock in one deterministic run: the real code, a seed, and everything that can
//! go wrong. `UES_SEEDS=100000` runs more seeds, `UES_SEED=42` one; a seed that fails prints itself, and the
//! shortest run that fails with it.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

mod audit;
mod backend;
mod bus;
mod chance;
mod store;
mod world;

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

use world::run;

/// Steps of a whole run.
const STEPS: u32 = 120;

#[test]
fn what_is_wanted_is_kept_whatever_happens() {
    if let Some(seed) = env("UES_SEED") {
        run(seed, STEPS).unwrap_or_else(|why| panic!("seed {seed}: {why}"));
        return;
    }
    let seeds = env("UES_SEEDS").unwrap_or(2000);
    let first = env("UES_FIRST_SEED").unwrap_or(1);
    let (next, failed) = (AtomicU64::new(first), AtomicBool::new(false));
    let threads = std::thread::available_parallelism().map_or(1, usize::from);
    let failures: Vec<(u64, String)> = std::thread::scope(|scope| {
        let worker = || {
            while !failed.load(Ordering::Relaxed) {
                let seed = next.fetch_add(1, Ordering::Relaxed);
                if seed >= first + seeds {
                    return None;
                }
                if let Err(why) = run(seed, STEPS) {
                    failed.store(true, Ordering::Relaxed);
                    return Some((seed, why));
                }
            }
            None
        };
        let handles: Vec<_> = (0..threads).map(|_| scope.spawn(worker)).collect();
        handles
            .into_iter()
            .filter_map(|h| h.join().unwrap())
            .collect()
    });
    if let Some((seed, why)) = failures.first() {
        let (steps, why) = shortest(*seed).unwrap_or((STEPS, why.clone()));
        panic!("seed {seed} fails after {steps} steps: {why}\nUES_SEED={seed} runs it alone");
    }
}

/// The fewest steps with which a seed fails.
fn shortest(seed: u64) -> Option<(u32, String)> {
    (1..=STEPS).find_map(|steps| run(seed, steps).err().map(|why| (steps, why)))
}

#[test]
fn a_seed_runs_the_same_every_time() {
    for seed in [1, 2, 3] {
        assert_eq!(
            world::trace(seed, STEPS),
            world::trace(seed, STEPS),
            "seed {seed}"
        );
    }
}

fn env(name: &str) -> Option<u64> {
    std::env::var(name)
        .ok()
        .map(|text| text.parse().expect("a number"))
}
