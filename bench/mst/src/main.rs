//! Runs our tree and shrike's on the same keys, each side in a process of its own, checks that the roots are equal, and
//! prints what each took.
//!
//! `bench-mst [COUNT…]`, by default 10000, 100000 and 1000000 keys. Each work is done several times, the two sides in
//! turn, and the best of each counts. Time is time on the processor.

mod keys;
mod ours;
mod report;
mod shrikes;

use anyhow::{Context, bail};

#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

/// What is measured.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Work {
    /// Put all keys in random order, then flush.
    Random,
    /// Put all keys in rising order, then flush.
    Sorted,
    /// Build from a sorted list (shrike: as `Sorted`, it has no other way).
    Bulk,
    /// Put one new key into a tree in memory, flush; per commit, keys anywhere.
    Commit,
    /// The same with keys that come after all others, as posts do.
    Append,
    /// The same as `Commit`, while a clone of the tree before is kept (shrike: as `Commit`, it has no clones).
    Fork,
    /// Memory that the process holds after a random build and its flush.
    Memory,
}

impl Work {
    const ALL: [(Self, &'static str); 7] = [
        (Self::Random, "random"),
        (Self::Sorted, "sorted"),
        (Self::Bulk, "bulk"),
        (Self::Commit, "commit"),
        (Self::Append, "append"),
        (Self::Fork, "fork"),
        (Self::Memory, "memory"),
    ];

    fn parse(name: &str) -> anyhow::Result<Self> {
        let found = Self::ALL.iter().find(|(_, n)| *n == name);
        Ok(found.with_context(|| format!("no such work: {name}"))?.0)
    }
}

/// What one side found: seconds per unit or bytes, and the root at the end.
struct Outcome {
    figure: f64,
    root: String,
}

fn main() -> anyhow::Result<()> {
    let args: Vec<String> = std::env::args().skip(1).collect();
    if let [side, work, count] = args.as_slice()
        && (side == "ours" || side == "shrike")
    {
        let (work, count) = (Work::parse(work)?, count.parse()?);
        let outcome = if side == "ours" {
            ours::run(work, count)?
        } else {
            shrikes::run(work, count)?
        };
        println!("{} {}", outcome.figure, outcome.root);
        return Ok(());
    }
    let mut counts: Vec<u32> = Vec::new();
    for arg in &args {
        counts.push(
            arg.parse()
                .with_context(|| format!("not a number of keys: {arg}"))?,
        );
    }
    if counts.is_empty() {
        counts = vec![10_000, 100_000, 1_000_000];
    }
    if counts.contains(&0) {
        bail!("at least one key is needed");
    }
    report::compare(&counts)
}
