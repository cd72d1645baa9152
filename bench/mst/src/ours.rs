//! Our side.

use ues_data::mst::Tree;
use ues_data::source::NoBlocks;
use ues_data::{Cid, dag_cbor_cid};

use crate::keys::{self, COMMITS, Clock};
use crate::{Outcome, Work};

fn value(key: &str) -> Cid {
    dag_cbor_cid(key.as_bytes())
}

/// Does the work with `count` keys.
pub fn run(work: Work, count: u32) -> anyhow::Result<Outcome> {
    match work {
        Work::Random => build(keys::shuffled(count)),
        Work::Sorted => build(keys::sorted(count)),
        Work::Bulk => bulk(count),
        Work::Commit => commits(count, |n| keys::random(count + n), false),
        Work::Append => commits(count, keys::after, false),
        Work::Fork => commits(count, |n| keys::random(count + n), true),
        Work::Memory => memory(count),
    }
}

fn build(keys: Vec<String>) -> anyhow::Result<Outcome> {
    let values: Vec<Cid> = keys.iter().map(|k| value(k)).collect();
    let start = Clock::start()?;
    let mut tree = Tree::empty();
    for (key, value) in keys.iter().zip(&values) {
        tree.put(&NoBlocks, key, value)?;
    }
    let flush = tree.flush();
    Ok(Outcome {
        figure: start.seconds()?,
        root: flush.root.to_string(),
    })
}

fn bulk(count: u32) -> anyhow::Result<Outcome> {
    let keys = keys::sorted(count);
    let values: Vec<Cid> = keys.iter().map(|k| value(k)).collect();
    let start = Clock::start()?;
    let mut tree = Tree::from_sorted(keys.iter().zip(values))?;
    let flush = tree.flush();
    Ok(Outcome {
        figure: start.seconds()?,
        root: flush.root.to_string(),
    })
}

fn commits(count: u32, key: impl Fn(u32) -> String, fork: bool) -> anyhow::Result<Outcome> {
    let mut tree = Tree::empty();
    for key in keys::shuffled(count) {
        tree.put(&NoBlocks, &key, &value(&key))?;
    }
    tree.flush();
    let new: Vec<(String, Cid)> = (0..COMMITS)
        .map(key)
        .map(|k| {
            let v = value(&k);
            (k, v)
        })
        .collect();
    let mut root = None;
    let start = Clock::start()?;
    for (key, value) in &new {
        let before = fork.then(|| tree.clone());
        tree.put(&NoBlocks, key, value)?;
        root = Some(tree.flush().root);
        drop(before);
    }
    let figure = start.seconds()? / f64::from(COMMITS);
    Ok(Outcome {
        figure,
        root: root.map(|r| r.to_string()).unwrap_or_default(),
    })
}

fn memory(count: u32) -> anyhow::Result<Outcome> {
    let before = keys::resident()?;
    let mut tree = Tree::empty();
    for n in 0..count {
        let key = keys::random(n);
        tree.put(&NoBlocks, &key, &value(&key))?;
    }
    let root = tree.flush().root;
    Ok(Outcome {
        figure: keys::resident()? - before,
        root: root.to_string(),
    })
}
