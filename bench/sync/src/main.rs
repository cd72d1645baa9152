//! What sync is made of, and the same work by the libraries that others use for it.
//!
//! `bench-sync text`, `bench-sync list`: two people change one document ten thousand times; how long it takes to merge
//! that, against Loro and Automerge. `bench-sync reconcile [ITEMS]`: two sets of a million items, or so many, that differ
//! in some; bytes, round trips and time, against Negentropy and a walk down two Merkle Search Trees. Without a word, all
//! of them. Time is time on the processor.

mod clock;
mod merge;
mod reconcile;

use anyhow::{Context, bail};

#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

fn main() -> anyhow::Result<()> {
    let args: Vec<String> = std::env::args().skip(1).collect();
    let words: Vec<&str> = args.iter().map(String::as_str).collect();
    match words.as_slice() {
        [] => {
            merge::text()?;
            merge::list()?;
            reconcile::run(1_000_000)
        }
        ["text"] => merge::text(),
        ["list"] => merge::list(),
        ["reconcile"] => reconcile::run(1_000_000),
        ["reconcile", items] => {
            let items = items.parse();
            reconcile::run(items.context("not a number of items")?)
        }
        other => bail!("text, list or reconcile expected, found {other:?}"),
    }
}
