//! Negentropy: fingerprints of ranges.

use std::collections::HashMap;

use negentropy::{Id, Negentropy, NegentropyStorageVector};
use ues_sync::reconcile::Item;

use super::{Cost, Lie, Sets};
use crate::clock::Clock;

/// An identifier of 32 bytes, as it wants them.
fn id(item: &Item) -> Id {
    Id::from_byte_array(*blake3_of(item).as_bytes())
}

fn blake3_of(item: &Item) -> blake3::Hash {
    blake3::hash(&item.0)
}

fn storage(items: &[Item], lie: Lie) -> anyhow::Result<NegentropyStorageVector> {
    let mut storage = NegentropyStorageVector::with_capacity(items.len());
    for (time, item) in items.iter().enumerate() {
        let [a, b, c, d, ..] = item.0;
        let time = match lie {
            Lie::Anywhere => u32::from_le_bytes([a, b, c, d]).into(),
            Lie::Newest => time as u64,
        };
        storage.insert(time, id(item))?;
    }
    storage.seal()?;
    Ok(storage)
}

pub fn run(sets: &Sets, lie: Lie) -> anyhow::Result<Cost> {
    let mut cost = Cost::default();
    let clock = Clock::start()?;
    let local = storage(&sets.local, lie)?;
    let remote = storage(&sets.remote, lie)?;
    cost.prepare = clock.seconds()?;
    let clock = Clock::start()?;
    let mut client = Negentropy::borrowed(&local, 0)?;
    let mut server = Negentropy::borrowed(&remote, 0)?;
    let (mut have, mut need) = (Vec::new(), Vec::new());
    let mut message = client.initiate()?;
    loop {
        let answer = server.reconcile(&message)?;
        cost.rounds += 1;
        cost.bytes += message.len() + answer.len();
        match client.reconcile_with_ids(&answer, &mut have, &mut need)? {
            Some(next) => message = next,
            None => break,
        }
    }
    cost.seconds = clock.seconds()?;
    let all = sets.local.iter().chain(&sets.remote);
    let names: HashMap<Id, Item> = all.map(|item| (id(item), *item)).collect();
    let named = |ids: Vec<Id>| ids.iter().filter_map(|id| names.get(id).copied()).collect();
    cost.only_local = named(have);
    cost.only_remote = named(need);
    Ok(cost)
}
