//! Two sets that differ in some items, and three ways to find out in which.

mod many;
mod negentropies;
mod ours;
mod trees;

use std::collections::BTreeSet;

use anyhow::bail;
use ues_sync::reconcile::Item;

use crate::clock::Numbers;

/// How many items differ, half of them on each side.
const DIFFERENCES: [usize; 4] = [0, 1, 100, 10_000];

/// Where the items that differ lie in the order of all. Coded symbols know no order.
#[derive(Clone, Copy)]
enum Lie {
    Anywhere,
    Newest,
}

/// The sets of both sides, what they share first.
struct Sets {
    local: Vec<Item>,
    remote: Vec<Item>,
}

fn sets(items: usize, differences: usize) -> Sets {
    let mut numbers = Numbers(differences as u64);
    let mut item = || Item::of(&numbers.next().to_le_bytes());
    let only_local = differences / 2;
    let common: Vec<Item> = (0..items - differences.div_ceil(2))
        .map(|_| item())
        .collect();
    let mut local = common.clone();
    local.extend((0..only_local).map(|_| item()));
    let mut remote = common;
    remote.extend((only_local..differences).map(|_| item()));
    Sets { local, remote }
}

/// What one way took.
#[derive(Default)]
struct Cost {
    rounds: u32,
    /// Bytes both ways.
    bytes: usize,
    /// Processor time of both sides to get ready, from the bare items: what one does once and then keeps.
    prepare: f64,
    /// Processor time of both sides.
    seconds: f64,
    /// The items found that only the local and only the remote side has.
    only_local: BTreeSet<Item>,
    only_remote: BTreeSet<Item>,
}

pub fn run(items: usize) -> anyhow::Result<()> {
    println!("\nreconcile: {items} items on each side");
    println!("| differences | way | round trips | bytes | a difference | once | each time |");
    println!("|---:|---|---:|---:|---:|---:|---:|");
    for differences in DIFFERENCES.into_iter().filter(|count| *count < items) {
        let sets = sets(items, differences);
        let local: BTreeSet<Item> = sets.local.iter().copied().collect();
        let remote: BTreeSet<Item> = sets.remote.iter().copied().collect();
        let found = local.symmetric_difference(&remote).count() as u64;
        let ways = [
            ("ours, difference known", ours::run(&sets, Some(found))?),
            ("ours, half of it known", ours::run(&sets, Some(found / 2))?),
            ("ours, nothing known", ours::run(&sets, None)?),
            (
                "negentropy 0.5.3, they lie anywhere",
                negentropies::run(&sets, Lie::Anywhere)?,
            ),
            (
                "negentropy 0.5.3, they are the newest",
                negentropies::run(&sets, Lie::Newest)?,
            ),
            (
                "Merkle Search Tree, they lie anywhere",
                trees::run(&sets, Lie::Anywhere)?,
            ),
            (
                "Merkle Search Tree, they are the newest",
                trees::run(&sets, Lie::Newest)?,
            ),
        ];
        for (name, cost) in ways {
            if !cost.only_local.iter().eq(local.difference(&remote))
                || !cost.only_remote.iter().eq(remote.difference(&local))
            {
                bail!("{name} did not find the difference of {differences}");
            }
            println!(
                "| {found} | {name} | {} | {} | {} | {:.0} ms | {:.1} ms |",
                cost.rounds,
                cost.bytes,
                match found {
                    0 => "".to_owned(),
                    found => format!("{:.1}", cost.bytes as f64 / found as f64),
                },
                cost.prepare * 1e3,
                cost.seconds * 1e3,
            );
        }
    }
    many::run(items)
}
