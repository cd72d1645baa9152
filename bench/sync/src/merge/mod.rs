//! Two people change one document at the same time; a third machine merges what both have done.

mod automerges;
mod loros;
mod ours;

use anyhow::bail;

use crate::clock::Numbers;

/// Characters or values at the beginning.
const BASE: usize = 10_000;
/// Edits of each of the two.
const EDITS: usize = 5_000;
/// Runs of each library, in turn; the best counts.
const RUNS: usize = 5;

/// One edit: so many elements deleted at a position, then others put in there.
struct Change {
    position: usize,
    deleted: usize,
    inserted: Vec<u8>,
}

/// Where edits happen.
#[derive(Clone, Copy, PartialEq)]
enum Manner {
    /// Anywhere.
    Anywhere,
    /// As people type: a character after the other, at a new place after every fifty.
    Typing,
}

/// What one of the two does, with positions as that one sees them.
fn plan(seed: u64, manner: Manner) -> Vec<Change> {
    let mut numbers = Numbers(seed);
    let (mut length, mut cursor) = (BASE, 0);
    let mut changes = Vec::new();
    for number in 0..EDITS {
        let change = match manner {
            Manner::Anywhere if numbers.below(4) == 0 => {
                let deleted = 1 + numbers.below(8);
                Change {
                    position: numbers.below(length - deleted),
                    deleted,
                    inserted: Vec::new(),
                }
            }
            Manner::Anywhere => {
                let count = 1 + numbers.below(8);
                Change {
                    position: numbers.below(length + 1),
                    deleted: 0,
                    inserted: (0..count).map(|_| b'a' + numbers.below(26) as u8).collect(),
                }
            }
            Manner::Typing => {
                cursor = if number % 50 == 0 {
                    numbers.below(length + 1)
                } else {
                    cursor + 1
                };
                Change {
                    position: cursor,
                    deleted: 0,
                    inserted: vec![b'a' + numbers.below(26) as u8],
                }
            }
        };
        length = length - change.deleted + change.inserted.len();
        changes.push(change);
    }
    changes
}

fn base() -> Vec<u8> {
    (0..BASE).map(|n| b'a' + (n % 26) as u8).collect()
}

/// What a library needed.
struct Outcome {
    /// Processor time to read and merge the edits of both, and to give out the whole document.
    seconds: f64,
    /// Length of the document in the end.
    length: usize,
    /// Bytes of all edits.
    edits: usize,
    /// Bytes of the stored document.
    stored: usize,
}

type Side = fn(&[Vec<Change>; 2]) -> anyhow::Result<Outcome>;

pub fn text() -> anyhow::Result<()> {
    let sides: [(&str, Side); 4] = [
        ("ours", ours::text),
        ("loro 1.17", loros::text),
        ("automerge 0.12", automerges::text),
        ("automerge 0.12, one change each", automerges::text_at_once),
    ];
    compare("text", &sides)
}

pub fn list() -> anyhow::Result<()> {
    let sides: [(&str, Side); 4] = [
        ("ours", ours::list),
        ("loro 1.17", loros::list),
        ("automerge 0.12", automerges::list),
        ("automerge 0.12, one change each", automerges::list_at_once),
    ];
    compare("list", &sides)
}

fn compare(kind: &str, sides: &[(&str, Side)]) -> anyhow::Result<()> {
    println!(
        "\n{kind}: {} edits of two replicas, on {BASE} elements",
        2 * EDITS
    );
    println!("| edits | library | merge | edits, bytes | stored, bytes |");
    println!("|---|---|---:|---:|---:|");
    for (manner, name) in [(Manner::Anywhere, "anywhere"), (Manner::Typing, "typed")] {
        let plans = [plan(1, manner), plan(2, manner)];
        let mut best: Vec<Option<Outcome>> = sides.iter().map(|_| None).collect();
        for _ in 0..RUNS {
            for ((_, side), best) in sides.iter().zip(&mut best) {
                let outcome = side(&plans)?;
                if best
                    .as_ref()
                    .is_none_or(|best| outcome.seconds < best.seconds)
                {
                    *best = Some(outcome);
                }
            }
        }
        let mut lengths = Vec::new();
        for ((library, _), outcome) in sides.iter().zip(best.iter().flatten()) {
            let Outcome {
                seconds,
                edits,
                stored,
                ..
            } = outcome;
            let milliseconds = seconds * 1e3;
            println!("| {name} | {library} | {milliseconds:.1} ms | {edits} | {stored} |");
            lengths.push(outcome.length);
        }
        lengths.dedup();
        if lengths.len() != 1 {
            bail!("the documents have different lengths: {lengths:?}");
        }
    }
    Ok(())
}
