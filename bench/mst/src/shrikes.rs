//! The side of shrike 0.8.2.

use shrike::cbor::{Cid, Codec};
use shrike::mst::{DetachedTree, NoBlocks};

use crate::keys::{self, COMMITS, Clock};
use crate::{Outcome, Work};

fn value(key: &str) -> Cid {
    Cid::compute(Codec::Drisl, key.as_bytes())
}

/// Does the work with `count` keys.
pub fn run(work: Work, count: u32) -> anyhow::Result<Outcome> {
    match work {
        Work::Random => build(keys::shuffled(count)),
        Work::Sorted | Work::Bulk => build(keys::sorted(count)),
        Work::Commit | Work::Fork => commits(count, |n| keys::random(count + n)),
        Work::Append => commits(count, keys::after),
        Work::Memory => memory(count),
    }
}

fn build(keys: Vec<String>) -> anyhow::Result<Outcome> {
    let values: Vec<Cid> = keys.iter().map(|k| value(k)).collect();
    let start = Clock::start()?;
    let mut tree = DetachedTree::new();
    // The tree takes the strings over, so that no copy is on its account.
    for (key, value) in keys.into_iter().zip(values) {
        tree.insert(&NoBlocks, key, value)?;
    }
    let write = tree.flush()?;
    Ok(Outcome {
        figure: start.seconds()?,
        root: write.root.to_string(),
    })
}

fn commits(count: u32, key: impl Fn(u32) -> String) -> anyhow::Result<Outcome> {
    let mut tree = DetachedTree::new();
    for key in keys::shuffled(count) {
        let value = value(&key);
        tree.insert(&NoBlocks, key, value)?;
    }
    tree.flush()?;
    let new: Vec<(String, Cid)> = (0..COMMITS)
        .map(key)
        .map(|k| {
            let v = value(&k);
            (k, v)
        })
        .collect();
    let mut root = None;
    let start = Clock::start()?;
    for (key, value) in new {
        tree.insert(&NoBlocks, key, value)?;
        root = Some(tree.flush()?.root);
    }
    let figure = start.seconds()? / f64::from(COMMITS);
    Ok(Outcome {
        figure,
        root: root.map(|r| r.to_string()).unwrap_or_default(),
    })
}

fn memory(count: u32) -> anyhow::Result<Outcome> {
    let before = keys::resident()?;
    let mut tree = DetachedTree::new();
    for n in 0..count {
        let key = keys::random(n);
        let value = value(&key);
        tree.insert(&NoBlocks, key, value)?;
    }
    let root = tree.flush()?.root;
    Ok(Outcome {
        figure: keys::resident()? - before,
        root: root.to_string(),
    })
}
