//! Coded symbols are a matter of chance: what they take over many differences.

use std::sync::Arc;

use ues_sync::reconcile::{Item, Sketch};

use super::ours::{inquire, sketch};
use crate::clock::Numbers;

/// Adds half of the items that differ to each side.
fn differ(base: &Sketch, differences: usize, numbers: &mut Numbers) -> (Arc<Sketch>, Sketch) {
    let (mut local, mut remote) = (base.clone(), base.clone());
    for number in 0..differences {
        let item = Item::of(&numbers.next().to_le_bytes());
        if number < differences / 2 {
            local.add(item);
        } else {
            remote.add(item);
        }
    }
    (Arc::new(local), remote)
}

/// Reconciles sets of so many items with many differences of each size.
pub fn run(items: usize) -> anyhow::Result<()> {
    let mut numbers = Numbers(1);
    let common: Vec<Item> = (0..items)
        .map(|_| Item::of(&numbers.next().to_le_bytes()))
        .collect();
    let base = sketch(&common);
    println!("\nours, many differences: {items} items and those that differ");
    println!(
        "| differences | known | cases | more than 2 round trips | round trips, most | bytes a difference, mean | most |"
    );
    println!("|---:|---|---:|---:|---:|---:|---:|");
    for (differences, cases) in [
        (1, 1000),
        (10, 1000),
        (100, 1000),
        (1000, 200),
        (10_000, 40),
    ] {
        let known = differences as u64;
        for (name, estimate) in [
            ("all", Some(known)),
            ("half", Some(known / 2)),
            ("nothing", None),
        ] {
            let (mut many, mut most_rounds, mut most_bytes, mut all_bytes) = (0, 0, 0, 0);
            for _ in 0..cases {
                let (local, remote) = differ(&base, differences, &mut numbers);
                let (found, rounds, bytes) = inquire(local, &remote, estimate)?;
                anyhow::ensure!(found.len() == differences, "{} found", found.len());
                many += usize::from(rounds > 2);
                most_rounds = rounds.max(most_rounds);
                most_bytes = bytes.max(most_bytes);
                all_bytes += bytes;
            }
            let each = |bytes: usize| bytes as f64 / differences as f64;
            let mean = each(all_bytes) / f64::from(cases);
            println!(
                "| {differences} | {name} | {cases} | {many} | {most_rounds} | {mean:.1} | {:.1} |",
                each(most_bytes)
            );
        }
    }
    Ok(())
}
