//! Taking over pins, comparing them, and writing them out again.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

use std::sync::Arc;

use futures::TryStreamExt;
use ues_bus::{EmbeddedBus, EmbeddedOptions};
use ues_data::Cid;
use ues_pins::migration::{PinSetDigest, export, read_pin};
use ues_pins::service::{Options, TakenOver, Wish};
use ues_pins::store::{MemoryStore, PlacementChange, StateStore};
use ues_pins::{Clock, Owner, PeerId, Pin, PinMode, PinOptions, Pins, Placement};
use ues_storage::engine::MemoryEngine;
use ues_storage::{Store, StoreOptions};

const NOW_MS: u64 = 1_700_000_000_500;
const NOW_S: u64 = NOW_MS / 1000;

fn service() -> (Arc<MemoryStore>, Pins) {
    let engine = Arc::new(MemoryEngine::new());
    let bus = Store::with_engine(engine, StoreOptions::default()).unwrap();
    let bus = EmbeddedBus::open(bus, EmbeddedOptions::default()).unwrap();
    let store = Arc::new(MemoryStore::default());
    let options = Options {
        clock: Clock::new(|| NOW_MS),
        plans: false,
        ..Options::new("test".to_owned())
    };
    (store.clone(), Pins::start(store, bus, options))
}

fn owner() -> Owner {
    "somebody".parse().unwrap()
}

fn cid(number: u64) -> Cid {
    ues_data::raw_cid(&number.to_be_bytes())
}

fn peer(number: u8) -> PeerId {
    PeerId::from_ed25519(&[number; 32])
}

fn pin(number: u64, timestamp: u64) -> Pin {
    let options = PinOptions {
        name: format!("pin {number}"),
        replication_min: 1,
        replication_max: 2,
        user_allocations: vec![peer(7)],
        ..PinOptions::default()
    };
    Pin {
        allocations: vec![peer(8)],
        ..Pin::new(cid(number), options, timestamp)
    }
}

fn digest<'a>(pins: impl IntoIterator<Item = &'a Pin>) -> PinSetDigest {
    let mut digest = PinSetDigest::default();
    pins.into_iter().for_each(|pin| digest.add(pin));
    digest
}

async fn take(service: &Pins, pins: Vec<Pin>) -> TakenOver {
    let taken = service.take_over(&owner(), "t", NOW_S, pins).await;
    taken.unwrap()
}

/// The digest of what is stored, read in parts of a size.
async fn held(pins: &Pins, horizon_s: u64, part: usize) -> PinSetDigest {
    let (mut all, mut cursor) = (PinSetDigest::default(), None);
    loop {
        let owner = owner();
        let page = pins.digest(&owner, "t", horizon_s, cursor, part);
        let page = page.await.unwrap();
        all.join(page.digest);
        cursor = page.cursor;
        if cursor.is_none() {
            return all;
        }
    }
}

#[tokio::test]
async fn pins_are_taken_over_as_they_are() {
    let (store, service) = service();
    let pins: Vec<Pin> = (0..2500).map(|n| pin(n, 1_000 + n / 10)).collect();
    let taken = take(&service, pins.clone()).await;
    assert_eq!(taken, Default::default());
    for part in [1, 1000, 10_000] {
        assert_eq!(held(&service, NOW_S, part).await, digest(&pins), "{part}");
    }
    let stored = store.request(&owner(), &cid(5)).await.unwrap().unwrap();
    assert_eq!(stored.pin, pins[5]);
    assert_eq!(
        (stored.created_ms, stored.tags),
        (1_000_000, vec!["t".to_owned()])
    );
}

#[tokio::test]
async fn what_was_there_is_told() {
    let (_, service) = service();
    let wish = Wish::default();
    service.add(&owner(), cid(1), wish).await.unwrap();
    let first = [pin(1, 5), pin(2, 5), pin(3, 5)];
    let taken = take(&service, first.to_vec()).await;
    assert_eq!(taken.replaced, 1);
    let mut other = pin(3, 5);
    other.options.name = "another".to_owned();
    let second = vec![pin(2, 5), other.clone(), pin(4, 5)];
    let taken = take(&service, second).await;
    assert_eq!(taken.replaced, 0);
    assert_eq!(taken.again, digest([&pin(2, 5)]));
    assert_eq!(taken.changed, digest([&pin(3, 5)]));
    let all = [&pin(1, 5), &pin(2, 5), &other, &pin(4, 5)];
    assert_eq!(held(&service, NOW_S, 10).await, digest(all));
}

#[tokio::test]
async fn unsound_pins_are_refused_alone() {
    let (_, service) = service();
    let mut long = pin(1, 5);
    long.options.name = "x".repeat(256);
    let mut crowded = pin(2, 5);
    crowded.allocations = vec![peer(1); 1001];
    let mut torn = pin(3, 5);
    torn.options.mode = PinMode::Direct;
    let mut ending = pin(5, 5);
    ending.options.expire_at = Some(NOW_S + 10);
    let all = vec![long, crowded, torn, pin(4, 0), ending.clone()];
    let taken = take(&service, all).await;
    let refused: Vec<_> = taken
        .refused
        .iter()
        .map(|r| (r.index, r.why.as_str()))
        .collect();
    assert_eq!(refused.len(), 3, "{refused:?}");
    for ((index, why), (place, said)) in
        refused
            .iter()
            .zip([(0, "255"), (1, "1000"), (2, "contradicts")])
    {
        assert!(*index == place && why.contains(said), "{index} {why}");
    }
    assert_eq!(
        held(&service, NOW_S, 10).await,
        digest([&pin(4, 0), &ending])
    );
    // What ends by the horizon is not compared.
    assert_eq!(held(&service, NOW_S + 10, 10).await, digest([&pin(4, 0)]));
    let undated = service
        .request(&owner(), &cid(4).to_string())
        .await
        .unwrap();
    assert_eq!(undated.created_ms, NOW_MS);
}

async fn exported(service: &Pins, owner: Option<Owner>) -> Vec<Pin> {
    let pieces: Vec<_> = export(service, owner).try_collect().await.unwrap();
    let mut pins: Vec<Pin> = pieces
        .concat()
        .split(|byte| *byte == b'\n')
        .filter(|line| !line.is_empty())
        .map(|line| read_pin(line).unwrap())
        .collect();
    pins.sort_by_key(|pin| pin.options.name.clone());
    pins
}

#[tokio::test]
async fn the_way_back() {
    let (store, service) = service();
    let mut over = pin(2, 5);
    over.options.expire_at = Some(NOW_S + 1);
    let taken = take(&service, vec![pin(1, 5), over]).await;
    assert!(taken.refused.is_empty());
    let options = PinOptions {
        name: "of another".to_owned(),
        ..PinOptions::default()
    };
    let wish = Wish {
        options,
        ..Wish::default()
    };
    let another: Owner = "another".parse().unwrap();
    service.add(&another, cid(3), wish.clone()).await.unwrap();
    let change = PlacementChange {
        cid: cid(3),
        peer: peer(9),
        placement: Some(Placement::assigned(true, NOW_MS, NOW_MS)),
    };
    store.change_placements(vec![change]).await.unwrap();

    let all = exported(&service, None).await;
    let names: Vec<_> = all.iter().map(|pin| pin.options.name.as_str()).collect();
    assert_eq!(names, ["of another", "pin 1", "pin 2"]);
    // The allocations of the cluster for what came from there, the workers for everything else.
    assert_eq!(all[0].allocations, [peer(9)]);
    assert_eq!(all[1].allocations, [peer(8)]);
    assert!(all[1].options.user_allocations.is_empty());
    let copies = (
        all[0].options.replication_min,
        all[0].options.replication_max,
    );
    let policy = service.policy();
    assert_eq!(copies, (policy.replication_min, policy.replication_max));
    let own = exported(&service, Some(owner())).await;
    assert_eq!(own, all[1..]);
}
