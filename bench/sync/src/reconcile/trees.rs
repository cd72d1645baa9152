//! A walk down the tree of the other side, level by level, to the nodes that one does not have.

use std::collections::HashMap;

use anyhow::Context;
use bytes::Bytes;
use ues_data::mst::{Tree, build_sorted, diff};
use ues_data::source::Layered;
use ues_data::{Cid, Ipld, dag_cbor, raw_cid};
use ues_sync::reconcile::Item;

use super::{Cost, Lie, Sets};
use crate::clock::Clock;

/// Bytes of a CID in a request.
const CID: usize = 36;

type Blocks = HashMap<Cid, Bytes>;

fn key(item: &Item, time: usize, lie: Lie) -> String {
    let item = u128::from_be_bytes(item.0);
    match lie {
        Lie::Anywhere => format!("op/{item:032x}"),
        Lie::Newest => format!("op/{time:012}-{item:032x}"),
    }
}

fn item(key: &[u8]) -> anyhow::Result<Item> {
    let key = std::str::from_utf8(key)?;
    let digits = key.rsplit(['/', '-']).next().context("a key of an item")?;
    let number = u128::from_str_radix(digits, 16)?;
    Ok(Item(number.to_be_bytes()))
}

fn tree(items: &[Item], lie: Lie) -> anyhow::Result<(Cid, Blocks)> {
    let mut entries: Vec<(String, Cid)> = items
        .iter()
        .enumerate()
        .map(|(time, item)| (key(item, time, lie), raw_cid(&item.0)))
        .collect();
    entries.sort_unstable();
    let mut blocks = Blocks::new();
    let root = build_sorted(entries, |cid, bytes| {
        blocks.insert(cid, bytes);
    })?;
    Ok((root, blocks))
}

/// The nodes below a node.
fn children(block: &[u8]) -> anyhow::Result<Vec<Cid>> {
    let Ipld::Map(node) = dag_cbor::decode(block)? else {
        return Ok(Vec::new());
    };
    let mut children = Vec::new();
    if let Some(Ipld::Link(left)) = node.get("l") {
        children.push(*left);
    }
    if let Some(Ipld::List(entries)) = node.get("e") {
        for entry in entries {
            if let Ipld::Map(entry) = entry
                && let Some(Ipld::Link(right)) = entry.get("t")
            {
                children.push(*right);
            }
        }
    }
    Ok(children)
}

pub fn run(sets: &Sets, lie: Lie) -> anyhow::Result<Cost> {
    let mut cost = Cost::default();
    let clock = Clock::start()?;
    let (local_root, local) = tree(&sets.local, lie)?;
    let (remote_root, remote) = tree(&sets.remote, lie)?;
    cost.prepare = clock.seconds()?;
    let clock = Clock::start()?;
    // The root comes with the first answer.
    (cost.rounds, cost.bytes) = (1, CID);
    let mut fetched = Blocks::new();
    let mut level = vec![remote_root];
    level.retain(|cid| !local.contains_key(cid));
    while !level.is_empty() {
        cost.rounds += 1;
        let mut below = Vec::new();
        for cid in level {
            let block = remote.get(&cid).context("a node of the other side")?;
            cost.bytes += CID + block.len();
            below.extend(children(block)?);
            fetched.insert(cid, block.clone());
        }
        below.retain(|cid| !local.contains_key(cid));
        level = below;
    }
    let changes = diff(
        &Tree::load(local_root),
        &local,
        &Tree::load(remote_root),
        Layered(&fetched, &local),
    )?;
    cost.seconds = clock.seconds()?;
    for change in changes.changes {
        let side = match change.before {
            Some(_) => &mut cost.only_local,
            None => &mut cost.only_remote,
        };
        side.insert(item(&change.key)?);
    }
    Ok(cost)
}
