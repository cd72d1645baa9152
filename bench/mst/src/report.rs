//! Runs both sides and prints them side by side.

use std::process::Command;

use anyhow::{Context, bail};

use crate::Work;

/// Runs of each side; the best counts.
const RUNS: u32 = 3;

/// Compares the sides at each number of keys.
pub fn compare(counts: &[u32]) -> anyhow::Result<()> {
    println!("| keys | work | ours | shrike 0.8.2 | ratio |");
    println!("|---|---|---|---|---|");
    for &count in counts {
        for (work, name) in Work::ALL {
            let mut best = [f64::INFINITY; 2];
            let mut roots: Vec<String> = Vec::new();
            for _ in 0..RUNS {
                for (side, best) in ["ours", "shrike"].iter().zip(&mut best) {
                    let (figure, root) = one(side, name, count)?;
                    // The system's account of time moves in ticks: what fits between two of them says nothing.
                    if figure > 0.0 {
                        *best = best.min(figure);
                    }
                    roots.push(root);
                }
            }
            roots.dedup();
            if roots.len() != 1 {
                bail!("{name} of {count} keys: the roots differ: {roots:?}");
            }
            let [ours, shrike] = best;
            let ratio = shrike / ours;
            println!(
                "| {count} | {} | {} | {} | {ratio:.2} |",
                label(work),
                shown(work, ours),
                shown(work, shrike)
            );
        }
    }
    Ok(())
}

fn one(side: &str, work: &str, count: u32) -> anyhow::Result<(f64, String)> {
    let program = std::env::current_exe()?;
    let output = Command::new(program)
        .args([side, work, &count.to_string()])
        .output()?;
    if !output.status.success() {
        bail!(
            "{side} {work} {count}: {}",
            String::from_utf8_lossy(&output.stderr)
        );
    }
    let text = String::from_utf8(output.stdout)?;
    let (figure, root) = text.trim().split_once(' ').context("a figure and a root")?;
    Ok((figure.parse()?, root.to_owned()))
}

fn label(work: Work) -> &'static str {
    match work {
        Work::Random => "random build",
        Work::Sorted => "sorted build, key by key",
        Work::Bulk => "sorted build, at once",
        Work::Commit => "one-op commit, warm",
        Work::Append => "one-op commit, warm, newest key",
        Work::Fork => "one-op commit, warm, old tree kept",
        Work::Memory => "memory",
    }
}

fn shown(work: Work, figure: f64) -> String {
    match work {
        Work::Random | Work::Sorted | Work::Bulk => format!("{:.1} ms", figure * 1e3),
        Work::Commit | Work::Append | Work::Fork => format!("{:.2} µs", figure * 1e6),
        Work::Memory => format!("{:.1} MB", figure / 1e6),
    }
}
