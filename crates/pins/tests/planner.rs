//! The planner as a function: which workers a pin goes to, when it moves, and when it does not.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

use std::collections::{BTreeMap, BTreeSet};

use proptest::prelude::*;
use ues_data::{Cid, raw_cid};
use ues_pins::planner::{Plan, Policy, Task, plan};
use ues_pins::{
    Fleet, PeerId, Pin, PinOptions, PinRecord, PinRequest, Placement, PlacementState, Wanted,
    Worker,
};

const NOW: u64 = 1_800_000_000_000;

fn peer(number: usize) -> PeerId {
    PeerId::from_ed25519(&[u8::try_from(number).unwrap(); 32])
}

fn worker(number: usize, region: &str, free_gb: u64) -> Worker {
    Worker {
        id: peer(number),
        name: format!("w{number}"),
        seen_ms: NOW,
        free: free_gb << 30,
        used: 0,
        pins: None,
        tags: BTreeMap::from([("region".to_owned(), region.to_owned())]),
        concurrency: 1,
        draining: false,
        failing: None,
        content: 1,
        exclusive: true,
        ipfs_id: String::new(),
        ipfs_addresses: Vec::new(),
        agent: String::new(),
    }
}

fn fleet(count: usize) -> Vec<Worker> {
    let region = |i: usize| ["eu", "us", "asia"][i % 3];
    (1..=count).map(|i| worker(i, region(i), 100)).collect()
}

fn record(cid: Cid, min: i32, max: i32, user: &[usize]) -> PinRecord {
    let options = PinOptions {
        replication_min: min,
        replication_max: max,
        user_allocations: user.iter().map(|i| peer(*i)).collect(),
        ..PinOptions::default()
    };
    let request = PinRequest {
        owner: "ann".parse().unwrap(),
        pin: Pin::new(cid, options, NOW / 1000),
        tags: Vec::new(),
        created_ms: NOW,
    };
    PinRecord {
        cid,
        wanted: Some(Wanted::of(request)),
        placements: Vec::new(),
    }
}

fn apply(record: &mut PinRecord, plan: &Plan) {
    for (id, placement) in &plan.changes {
        record.placements.retain(|(known, _)| known != id);
        record
            .placements
            .extend(placement.clone().map(|p| (id.clone(), p)));
    }
    record.placements.sort_by(|a, b| a.0.cmp(&b.0));
}

fn desired(record: &PinRecord) -> BTreeSet<PeerId> {
    let wanted = record.placements.iter().filter(|(_, p)| p.desired);
    wanted.map(|(id, _)| id.clone()).collect()
}

/// All workers do what they are told.
fn obey(record: &mut PinRecord) {
    for (_, placement) in &mut record.placements {
        placement.state = if placement.desired {
            PlacementState::Pinned
        } else {
            PlacementState::Unpinned
        };
        placement.content = 1;
        placement.next_ms = NOW + 1_000_000;
    }
}

fn step(record: &mut PinRecord, workers: &[Worker]) -> Plan {
    let plan = plan(
        record,
        &Fleet::new(workers.to_vec()),
        &Policy::default(),
        NOW,
    );
    apply(record, &plan);
    plan
}

fn placed(number: u64, min: i32, max: i32, workers: &[Worker]) -> PinRecord {
    let mut record = record(raw_cid(&number.to_be_bytes()), min, max, &[]);
    step(&mut record, workers);
    obey(&mut record);
    record
}

fn fail(record: &mut PinRecord, id: &PeerId, attempt: u32, terminal: bool) {
    let (_, placement) = record.placements.iter_mut().find(|(p, _)| p == id).unwrap();
    placement.state = PlacementState::Error;
    (placement.attempt, placement.terminal) = (attempt, terminal);
    placement.next_ms = NOW + 1_000_000;
}

proptest! {
    #[test]
    fn copies_are_as_many_as_wanted_and_stay(seed: u64, count in 1usize..12, min in 1i32..5, more in 0i32..4) {
        let (workers, max) = (fleet(count), min + more);
        let mut record = record(raw_cid(&seed.to_be_bytes()), min, max, &[]);
        let first = step(&mut record, &workers);
        let expected = count.min(usize::try_from(max).unwrap());
        prop_assert_eq!(desired(&record).len(), expected);
        prop_assert_eq!(first.tasks.len(), expected);
        prop_assert_eq!(first.missing, u32::try_from(min).unwrap().saturating_sub(u32::try_from(count).unwrap()));
        // Nothing more to do, neither while they are at it nor when it is done, whatever space they have then.
        prop_assert_eq!(step(&mut record, &workers), Plan { missing: first.missing, ..Plan::default() });
        obey(&mut record);
        let mut fuller = workers.clone();
        for (i, worker) in fuller.iter_mut().enumerate() {
            worker.free = (u64::try_from(i).unwrap() * 7919) << 20;
        }
        fuller.push(worker(100, "mars", 10_000));
        if expected >= usize::try_from(min).unwrap() {
            prop_assert_eq!(step(&mut record, &fuller), Plan::default());
        }
    }

    #[test]
    fn a_lost_worker_moves_its_own_and_nothing_else(seed: u64, count in 4usize..12, copies in 1i32..4) {
        let mut workers = fleet(count);
        let mut record = placed(seed, copies, copies, &workers);
        let before = desired(&record);
        let lost = peer(1 + usize::try_from(seed % u64::try_from(count).unwrap()).unwrap());
        workers.iter_mut().find(|w| w.id == lost).unwrap().seen_ms = NOW - 400_000;
        // Its copy counts until the others have theirs: it may come back.
        step(&mut record, &workers);
        obey(&mut record);
        step(&mut record, &workers);
        let after = desired(&record);
        prop_assert!(!after.contains(&lost));
        prop_assert_eq!(after.len(), before.len());
        prop_assert!(before.difference(&after).all(|id| *id == lost));
    }

    #[test]
    fn a_drained_worker_lets_go_only_when_others_have_it(seed: u64, count in 2usize..8) {
        let mut workers = fleet(count);
        let mut record = placed(seed, 1, 1, &workers);
        let holder = desired(&record).into_iter().next().unwrap();
        workers.iter_mut().find(|w| w.id == holder).unwrap().draining = true;
        let plan = step(&mut record, &workers);
        prop_assert!(plan.tasks.iter().all(|(id, task)| *task == Task::Pin && *id != holder));
        prop_assert_eq!(desired(&record).len(), 2);
        obey(&mut record);
        let plan = step(&mut record, &workers);
        prop_assert_eq!(plan.tasks, vec![(holder, Task::Unpin)]);
    }

    #[test]
    fn copies_go_to_different_regions(seed: u64, count in 3usize..12) {
        let workers = fleet(count);
        let record = placed(seed, 3, 3, &workers);
        let ids = desired(&record);
        let regions: BTreeSet<_> = workers.iter().filter(|w| ids.contains(&w.id)).map(|w| &w.tags["region"]).collect();
        prop_assert_eq!(regions.len(), 3);
    }

    #[test]
    fn whom_the_user_names_comes_first(seed: u64, named in 1usize..8) {
        let workers = fleet(8);
        let mut record = record(raw_cid(&seed.to_be_bytes()), 2, 3, &[named]);
        step(&mut record, &workers);
        prop_assert!(desired(&record).contains(&peer(named)));
    }

    #[test]
    fn what_one_worker_cannot_do_another_does(seed: u64, count in 3usize..8, terminal: bool) {
        let workers = fleet(count);
        let mut record = placed(seed, 1, 1, &workers);
        let stuck = desired(&record).into_iter().next().unwrap();
        fail(&mut record, &stuck, 3, false);
        prop_assert_eq!(step(&mut record, &workers), Plan::default(), "it may still work");
        fail(&mut record, &stuck, 4, terminal);
        let plan = step(&mut record, &workers);
        prop_assert_eq!(plan.tasks.len(), 1);
        let (helper, task) = plan.tasks[0].clone();
        prop_assert_eq!(task, Task::Pin);
        prop_assert_ne!(&helper, &stuck);
        let (_, helped) = record.placements.iter_mut().find(|(id, _)| *id == helper).unwrap();
        *helped = Placement { state: PlacementState::Pinned, content: 1, next_ms: NOW + 1_000_000, ..helped.clone() };
        let plan = step(&mut record, &workers);
        prop_assert_eq!(plan.tasks, vec![(stuck, Task::Unpin)]);
        prop_assert_eq!(desired(&record), BTreeSet::from([helper]));
    }

    #[test]
    fn what_nobody_can_do_is_not_asked_of_all(seed: u64) {
        let workers = fleet(20);
        let mut record = placed(seed, 1, 1, &workers);
        for _ in 0..20 {
            for id in desired(&record) {
                fail(&mut record, &id, 9, false);
            }
            step(&mut record, &workers);
        }
        prop_assert_eq!(desired(&record).len(), 3);
    }
}

#[test]
fn each_worker_gets_its_share_by_free_space() {
    let workers: Vec<Worker> = [10, 20, 30, 40]
        .into_iter()
        .enumerate()
        .map(|(i, gb)| worker(i + 1, "eu", gb))
        .collect();
    let mut counts = BTreeMap::new();
    for number in 0..10_000 {
        for id in desired(&placed(number, 1, 1, &workers)) {
            *counts.entry(id).or_insert(0u32) += 1;
        }
    }
    for (i, share) in [1000, 2000, 3000, 4000].into_iter().enumerate() {
        let count = counts[&peer(i + 1)];
        assert!(count.abs_diff(share) < 200, "{count} of {share}");
    }
}

#[test]
fn nobody_wants_it_and_all_let_go() {
    let workers = fleet(4);
    let mut record = placed(1, 2, 3, &workers);
    record.wanted = None;
    let plan = step(&mut record, &workers);
    assert_eq!(plan.tasks.len(), 3);
    assert!(plan.tasks.iter().all(|(_, task)| *task == Task::Unpin));
}

#[test]
fn everywhere_is_every_worker() {
    let mut workers = fleet(5);
    workers[4].draining = true;
    let mut record = record(raw_cid(b"x"), -1, -1, &[]);
    step(&mut record, &workers);
    assert_eq!(desired(&record), (1..5).map(peer).collect());
    obey(&mut record);
    workers.push(worker(9, "eu", 1));
    step(&mut record, &workers);
    assert_eq!(desired(&record).len(), 5);
}
