//! Devices that write, meet, part, crash and lie, in one seeded run. Whatever happened, once they can all meet they
//! have the same log and the same records, and these are what a slow, obvious merge of all operations gives.
//!
//! `UES_SEEDS=100000 cargo test --release -p ues-sync --test simulation` runs more seeds, `UES_SEED=n` one of them.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    reason = "a test may panic"
)]
#![allow(dead_code, reason = "the support is shared")]

#[path = "support/merging.rs"]
mod merging;
#[path = "crdt/network.rs"]
mod network;
#[path = "crdt/reference.rs"]
mod reference;
mod support;

use std::collections::{BTreeMap, BTreeSet};
use std::sync::atomic::{AtomicU64, Ordering};

use support::{Device, Link, Rng, World, path, sheet};
use ues_data::Cid;
use ues_sync::clock::{ROOT, VectorClock, WriterId};
use ues_sync::log::{Change, Hold, Incoming, Replica};
use ues_sync::operation::{Action, Operation};
use ues_sync::protocol::file::Export;

/// All operations of a device's log, also those that are no longer there: each names the one before it.
fn operations(device: &Device) -> Vec<Operation> {
    let replica = device.replica.as_ref().unwrap();
    let mut out = Vec::new();
    for (number, writer) in replica.roster().iter() {
        let mut next = writer.tip.as_ref().map(|tip| tip.id);
        while let Some(id) = next {
            let (operation, _) = support::ever(id).expect("an operation that nobody ever had");
            let (writer, seq) = (operation.payload.writer, operation.payload.seq);
            let here = replica.operation(&device.rows, number, seq).unwrap();
            assert_eq!(writer, number);
            assert!(here.is_none_or(|here| here.id() == id), "a broken chain");
            next = operation.payload.prev;
            out.push(operation);
        }
    }
    out
}

/// Snapshots in a device's log that are after the place where it begins.
fn snapshots(device: &Device) -> Vec<u64> {
    let Some(replica) = &device.replica else {
        return Vec::new();
    };
    let last = replica.clock().get(ROOT);
    let first = replica.floor().unwrap_or(0) + 1;
    let is_one = |seq: &u64| replica.snapshot_sums(&device.rows, *seq).unwrap().is_some();
    (first..=last).filter(is_one).collect()
}

/// The merge as the rules say it: of all operations on a path, those that no other one had seen; of these, records
/// before deletions, then the latest, the greatest author, the greatest name. Where others did not know the winner and
/// fields have merge rules, all edits of these count.
fn reference(device: &Device, before: &BTreeMap<String, Cid>) -> BTreeMap<String, Cid> {
    let all = operations(device);
    let roster = device.replica.as_ref().unwrap().roster();
    let paths: BTreeSet<&str> = all
        .iter()
        .filter_map(|op| op.payload.action.target())
        .map(|path| path.as_str())
        .collect();
    let mut snapshots: Vec<(u64, VectorClock)> = all
        .iter()
        .filter_map(|op| match &op.payload.action {
            Action::Snapshot(sums) => Some((op.payload.seq, sums.clock())),
            _ => None,
        })
        .collect();
    snapshots.sort_by_key(|(seq, _)| *seq);
    let snapshots: Vec<VectorClock> = snapshots.into_iter().map(|(_, counted)| counted).collect();
    let mut out = before.clone();
    for path in paths {
        let on_path: Vec<&Operation> = all
            .iter()
            .filter(|op| {
                op.payload
                    .action
                    .target()
                    .is_some_and(|p| p.as_str() == path)
            })
            .collect();
        let seen = |op: &Operation| {
            on_path.iter().any(|other| {
                other.id() != op.id()
                    && other
                        .payload
                        .clock()
                        .covers(op.payload.writer, op.payload.seq)
            })
        };
        let candidates: Vec<&Operation> = on_path.iter().filter(|op| !seen(op)).copied().collect();
        let winner = candidates
            .iter()
            .max_by_key(|op| {
                let value = op.payload.action.value();
                let author = roster.author(op.payload.writer).to_owned();
                (value.is_some(), op.payload.time, author, op.id())
            })
            .unwrap();
        let author = |writer| roster.author(writer).to_owned();
        let merged = support::ever(winner.id()).unwrap().1.and_then(|own| {
            let count = candidates.len();
            merging::record(&on_path, &snapshots, count, winner, &own, &author)
        });
        if let Some(merged) = &merged {
            support::MERGED.fetch_add(1, Ordering::Relaxed);
            if std::env::var_os("UES_TRACE").is_some() {
                println!("{path}: {:?}", ues_data::dag_cbor::decode(merged));
            }
        }
        let merged = merged.map(|bytes| ues_data::dag_cbor_cid(&bytes));
        match merged.as_ref().or(winner.payload.action.value()) {
            Some(cid) => out.insert(path.to_owned(), *cid),
            None => out.remove(path),
        };
    }
    out
}

struct Run {
    rng: Rng,
    world: World,
    links: Vec<Link>,
    /// What each device had acknowledged, by its writer.
    acknowledged: Vec<u64>,
    before: BTreeMap<String, Cid>,
    base_blocks: BTreeMap<Cid, bytes::Bytes>,
    next_seed: u64,
    /// Writers that were made to lie, or lost their rights.
    ended: BTreeSet<WriterId>,
}

impl Run {
    fn new(seed: u64) -> Self {
        let mut rng = Rng::new(seed);
        let mut world = World::new(seed);
        let before = world.devices[0].records().clone();
        let base_blocks = world.devices[0].blocks.clone();
        let count = match rng.below(20) {
            0 => 11,
            _ => 1 + rng.below(4),
        };
        for n in 0..count {
            world.add(seed.wrapping_mul(1000) + 1 + n as u64);
        }
        for device in &mut world.devices {
            // Minutes that are within bounds, but for few.
            device.skew = match rng.below(10) {
                0 => -(86_400_000 * rng.below(9) as i64),
                // What it writes has to wait everywhere else.
                1 => 3_600_000,
                _ => rng.below(240_000) as i64 - 120_000,
            };
            // Some have never heard of the lexicon, or have an older one.
            device.rules = match rng.below(8) {
                0 => Vec::new(),
                1 => sheet::older_rules(),
                _ => sheet::rules(),
            };
        }
        for index in 1..world.devices.len() {
            if rng.chance(70) {
                meet(&mut world, index, 0);
            }
        }
        Self {
            acknowledged: vec![0; world.devices.len()],
            rng,
            world,
            links: Vec::new(),
            before,
            base_blocks,
            next_seed: seed.wrapping_mul(1000) + 100,
            ended: BTreeSet::new(),
        }
    }

    fn step(&mut self) {
        let devices = self.world.devices.len();
        self.world.now_ms += self.rng.below(3_000) as u64;
        match self.rng.below(100) {
            0..=9 => {
                let index = self.rng.below(devices);
                self.write_sheet(index);
            }
            10..=24 => {
                let index = self.rng.below(devices);
                let n = self.rng.below(8);
                let text = format!("{}", self.rng.next());
                let text = (!self.rng.chance(20)).then_some(text.as_str());
                let now = self.world.now_ms;
                if self.world.devices[index].write(path(n), text, now) {
                    self.acknowledged[index] += 1;
                }
            }
            25..=34 => {
                let (a, b) = (self.rng.below(devices), self.rng.below(devices));
                let linked = self
                    .links
                    .iter()
                    .any(|l| l.ends.contains(&a) && l.ends.contains(&b));
                // Who has no log can only ask, and only the first device has the root's key.
                let can = self.world.devices[b].replica.is_some()
                    && (self.world.devices[a].replica.is_some() || b == 0);
                if a != b && !linked && can {
                    self.links.push(Link::new(a, b));
                }
            }
            35 | 36 if !self.links.is_empty() => {
                let index = self.rng.below(self.links.len());
                self.links.swap_remove(index);
            }
            39 if self.rng.chance(50) => {
                let index = self.rng.below(devices);
                self.links.retain(|link| !link.ends.contains(&index));
                self.world.devices[index].restart();
            }
            42 if devices < 8 => {
                self.next_seed += 1;
                self.world.add(self.next_seed);
                self.acknowledged.push(0);
            }
            43 if self.rng.chance(30) => self.revoke(),
            44 if self.rng.chance(20) => self.go_back(),
            45 if self.rng.chance(30) => {
                let index = self.rng.below(devices);
                self.links.retain(|link| !link.ends.contains(&index));
                let (path, now) = (path(self.rng.below(8)), self.world.now_ms);
                self.world.devices[index].crash_writing(path, now);
            }
            46 if !self.links.is_empty() && self.rng.chance(50) => {
                let (index, side) = (self.rng.below(self.links.len()), self.rng.below(2));
                let crashed = self.links[index].ends[side];
                self.links[index].crash(&mut self.world, side);
                self.links.retain(|link| !link.ends.contains(&crashed));
            }
            48 if !self.links.is_empty() => {
                let (index, side) = (self.rng.below(self.links.len()), self.rng.below(2));
                self.links[index].tamper(&mut self.rng, &self.world, side);
            }
            49 if self.rng.chance(50) => drop(support::snapshot(&mut self.world)),
            50 | 51 => self.prune(),
            52 if self.rng.chance(50) => self.carry_a_file(),
            _ => {
                for _ in 0..=self.rng.below(8) {
                    self.traffic();
                }
            }
        }
    }

    /// A client of some device changes fields that have merge rules.
    fn write_sheet(&mut self, index: usize) {
        let path = sheet::path(self.rng.below(4));
        let device = &self.world.devices[index];
        let after = match self.rng.chance(6) {
            true => None,
            false => {
                let record = sheet::change(&mut self.rng, device.record(&path));
                Some(sheet::encode(&record))
            }
        };
        let now = self.world.now_ms;
        if self.world.devices[index].put(path, after, now) {
            self.acknowledged[index] += 1;
        }
    }

    /// Some device lets go of what a snapshot has that it knows, whether the others know it or not.
    fn prune(&mut self) {
        let index = self.rng.below(self.world.devices.len());
        let device = &mut self.world.devices[index];
        let known = snapshots(device);
        let slice = self.rng.below(12);
        if !known.is_empty() {
            support::prune(device, known[self.rng.below(known.len())], slice);
        } else if device.replica.is_some() {
            support::sweep(device, slice);
        }
    }

    /// What one device has goes to another one by a file, all of it or what is new since some time.
    fn carry_a_file(&mut self) {
        let devices = self.world.devices.len();
        let (from, to) = (self.rng.below(devices), self.rng.below(devices));
        let device = &self.world.devices[from];
        let Some(replica) = &device.replica else {
            return;
        };
        if from == to || self.world.devices[to].replica.is_none() {
            return;
        }
        let mut since = VectorClock::default();
        if self.rng.chance(50) {
            let clock = replica.clock();
            since = clock
                .iter()
                .map(|(w, n)| (w, self.rng.below(n as usize + 1) as u64))
                .collect();
        }
        let floor = replica.floor_clock(&device.rows).unwrap();
        let archive = match since.includes(&floor) {
            true => None,
            false => ues_sync::protocol::floor_archive(device).unwrap(),
        };
        let mut export = Export::new(since, archive);
        let mut file = Vec::new();
        while let Some(piece) = export.next(device).unwrap() {
            file.extend_from_slice(&piece);
        }
        support::import(&mut self.world, to, &file).unwrap();
    }

    fn revoke(&mut self) {
        let index = 1 + self.rng.below(self.world.devices.len() - 1);
        let key = self.world.devices[index].did_key();
        let roster = self.world.devices[0].replica.as_ref().unwrap().roster();
        if let Some(number) = roster.find(&key) {
            self.ended.insert(number);
            if self.rng.chance(60) {
                self.build_on(index);
            }
            self.world.revoke(number);
        }
    }

    /// A device writes, another one takes that in and writes on, and the first device knows of neither.
    fn build_on(&mut self, index: usize) {
        let other = 1 + self.rng.below(self.world.devices.len() - 1);
        let has_log = |n: usize| self.world.devices[n].replica.is_some();
        if other == index || !has_log(index) || !has_log(other) {
            return;
        }
        self.links
            .retain(|l| !l.ends.contains(&index) && !l.ends.contains(&other));
        for (writer, count) in [(index, 3), (other, 2), (index, 2)] {
            for _ in 0..=self.rng.below(count) {
                if self.rng.chance(50) {
                    self.write_sheet(writer);
                    continue;
                }
                let (path, now) = (path(self.rng.below(8)), self.world.now_ms);
                let text = format!("{}", self.rng.next());
                if self.world.devices[writer].write(path, Some(&text), now) {
                    self.acknowledged[writer] += 1;
                }
            }
            meet(&mut self.world, index, other);
        }
        // Sometimes both lose their rights.
        let key = self.world.devices[other].did_key();
        let roster = self.world.devices[0].replica.as_ref().unwrap().roster();
        if let Some(number) = roster.find(&key).filter(|_| self.rng.chance(30)) {
            self.ended.insert(number);
            self.world.revoke(number);
        }
    }

    /// A device comes back from a backup, does not know it, and writes on.
    fn go_back(&mut self) {
        let index = 1 + self.rng.below(self.world.devices.len() - 1);
        let device = &self.world.devices[index];
        let Some(number) = device.replica.as_ref().and_then(Replica::me) else {
            return;
        };
        let backup = device.clone();
        let now = self.world.now_ms;
        for n in 0..=self.rng.below(3) {
            self.world.devices[index].write(path(n), Some(&format!("lost {n}")), now);
        }
        for _ in 0..self.rng.below(3) {
            self.write_sheet(index);
        }
        for _ in 0..self.rng.below(40) {
            self.traffic();
        }
        self.links.retain(|link| !link.ends.contains(&index));
        self.world.devices[index] = backup;
        self.ended.insert(number);
        self.write_sheet(index);
        let now = self.world.now_ms;
        for n in 0..=self.rng.below(3) {
            self.world.devices[index].write(path(n), Some(&format!("again {n}")), now + 1);
        }
    }

    fn traffic(&mut self) {
        if self.links.is_empty() {
            return;
        }
        let index = self.rng.below(self.links.len());
        let side = self.rng.below(2);
        let link = &mut self.links[index];
        if self.rng.chance(50) {
            link.act(&mut self.world, side);
        } else {
            link.deliver(&mut self.world, side);
        }
        self.drop_failed();
    }

    fn drop_failed(&mut self) {
        for link in &self.links {
            if let Some(failure) = &link.failed {
                let ends = link.ends;
                let expected = matches!(
                    failure,
                    ues_sync::protocol::Failure::Gone | ues_sync::protocol::Failure::Refused(_)
                );
                let own = matches!(failure, ues_sync::protocol::Failure::Replica(_));
                let expected = expected || link.tampered && !own;
                assert!(expected, "a session of {ends:?} failed: {failure}");
            }
        }
        self.links.retain(|link| link.failed.is_none());
    }

    /// All devices meet the first one until nothing happens any more.
    fn heal(&mut self) {
        self.links.clear();
        let now = self.world.now_ms;
        for device in &self.world.devices {
            let waiting = device.replica.as_ref().map_or(0, Replica::waiting_bytes);
            assert!(waiting <= 64 << 20, "{waiting} bytes wait at {now}");
        }
        self.world.now_ms += 86_400_000 * 20;
        for device in &mut self.world.devices {
            device.skew = 0;
        }
        for round in 0.. {
            assert!(round < 20, "they do not come to an end");
            let before: Vec<_> = self.marks();
            for _ in 0..self.rng.below(3) {
                self.prune();
            }
            for index in 1..self.world.devices.len() {
                let mut link =
                    match self.rng.chance(50) || self.world.devices[index].replica.is_none() {
                        true => Link::new(index, 0),
                        false => Link::new(0, index),
                    };
                let mut idle = 0;
                while idle < 2 {
                    let mut did = false;
                    for side in 0..2 {
                        did |= link.act(&mut self.world, side);
                        did |= link.deliver(&mut self.world, side);
                    }
                    if let Some(failure) = &link.failed {
                        panic!("a session with device {index} failed: {failure}");
                    }
                    idle = if did { 0 } else { idle + 1 };
                    assert!(link.frames < 100_000, "a session without end");
                }
                assert!(
                    link.is_synced(),
                    "device {index} and the first are not equal after a session"
                );
            }
            if self.marks() == before {
                return;
            }
        }
    }

    fn marks(&self) -> Vec<Option<[u8; 16]>> {
        let print = |d: &Device| d.replica.as_ref().map(|r| r.summary().fingerprint());
        self.world.devices.iter().map(print).collect()
    }

    fn check(&self) {
        let first = &self.world.devices[0];
        let expected = reference(first, &self.before);
        assert_eq!(
            first.records(),
            &expected,
            "the records are not what the rules say"
        );
        let replica = first.replica.as_ref().unwrap();
        for (index, device) in self.world.devices.iter().enumerate() {
            let mine = device.replica.as_ref().unwrap();
            assert_eq!(
                mine.summary(),
                replica.summary(),
                "the log of device {index}"
            );
            assert_eq!(
                device.records(),
                first.records(),
                "the records of device {index}"
            );
            for state in mine.states(&device.rows) {
                let (path, state) = state.unwrap();
                let other = replica.state(&first.rows, &path).unwrap().unwrap();
                let (state, other) = (state.settled(), other.settled());
                assert_eq!(state, other, "the state of {path} on device {index}");
            }
            check_kept(device);
            // What is in memory is what a restart reads.
            let again = Replica::open(&device.rows).unwrap().unwrap();
            assert_eq!(again.summary(), mine.summary());
        }
        for (index, acknowledged) in self.acknowledged.iter().enumerate() {
            let key = self.world.devices[index].did_key();
            let all = replica.roster().iter();
            let of_key: Vec<_> = all
                .filter(|(n, w)| *w.did_key == *key && *n != ROOT)
                .collect();
            if of_key
                .iter()
                .all(|(number, _)| !self.ended.contains(number))
            {
                let kept: u64 = of_key.iter().map(|(_, writer)| writer.seq()).sum();
                assert_eq!(kept, *acknowledged, "writes of device {index}");
            }
        }
        let clock: VectorClock = replica.clock();
        assert_eq!(clock.total(), operations(first).len() as u64);
        check_limits(first);
        let mut rng = self.rng.clone();
        for _ in 0..2 {
            self.check_any_order(&mut rng);
        }
    }
}

/// What is before the place where a log begins is gone, its records included, and what is after it is there.
fn check_kept(device: &Device) {
    let mut device = device.clone();
    support::sweep(&mut device, usize::MAX);
    let replica = device.replica.as_ref().unwrap();
    let floor = replica.floor_clock(&device.rows).unwrap();
    let mut kept = 0;
    for operation in operations(&device) {
        let payload = &operation.payload;
        let (writer, seq) = (payload.writer, payload.seq);
        let here = replica.operation(&device.rows, writer, seq).unwrap();
        let before = writer != ROOT && floor.get(writer) > seq;
        assert_eq!(here.is_none(), before, "operation {seq} of {writer}");
        if let Some(value) = payload.action.value()
            && writer != ROOT
            && seq > floor.get(writer)
        {
            let hold = Hold::operation(writer, seq);
            assert!(device.holds.contains(&(hold, *value)));
            kept += 1;
        }
    }
    // Besides these, only what the states of the beginning name, and what stood before the log.
    let states = replica.floor_snapshot(&device.rows).unwrap();
    let named = states.map_or(0, |snapshot| snapshot.values().len());
    let bases = device.holds.iter().filter(|(hold, _)| hold.writer == ROOT);
    assert_eq!(device.holds.len(), kept + named + bases.count());
}

/// A whole session.
fn meet(world: &mut World, opener: usize, other: usize) {
    let mut link = Link::new(opener, other);
    let mut idle = 0;
    while idle < 2 && link.failed.is_none() {
        let mut did = false;
        for side in 0..2 {
            did |= link.act(world, side);
            did |= link.deliver(world, side);
        }
        idle = if did { 0 } else { idle + 1 };
    }
}

/// What others had seen of a revoked writer before they knew is there, and nothing else beyond the cut and the pins.
fn check_limits(device: &Device) {
    let all = operations(device);
    for (number, writer) in device.replica.as_ref().unwrap().roster().iter() {
        let Some(revoked) = writer.revoked else {
            continue;
        };
        let seen = all
            .iter()
            .filter(|op| ![ROOT, number].contains(&op.payload.writer))
            .filter(|op| op.payload.deps.get(ROOT) < revoked.seq)
            .map(|op| op.payload.deps.get(number));
        let reach = seen.fold(revoked.cut, u64::max);
        let fork = writer.fork.map_or(u64::MAX, |fork| fork - 1);
        let expected = reach.min(fork).max(writer.pinned);
        assert_eq!(writer.limit(), expected, "the limit of writer {number}");
        assert!(writer.seq() <= expected);
        // The root had it up to the cut, and whoever saw more had it from somebody.
        assert_eq!(
            writer.seq(),
            expected,
            "operations of writer {number} were lost"
        );
    }
}

impl Run {
    /// All operations of the first device give the same in any order in which they can come in.
    fn check_any_order(&self, rng: &mut Rng) {
        let first = &self.world.devices[0];
        let expected = first.replica.as_ref().unwrap();
        let mut fresh = Device::new(4_000_000_000);
        let records = self.before.iter();
        fresh.rows.records = records.map(|(path, cid)| (path.clone(), *cid)).collect();
        fresh.blocks = self.base_blocks.clone();
        let root = self.world.root.verifying_key();
        let (replica, change) = Replica::begin(support::repo(), root, fresh.key.verifying_key());
        fresh.replica = Some(replica);
        fresh.commit(change);
        let all: Vec<Incoming> = operations(first)
            .into_iter()
            .map(|operation| Incoming {
                value: support::ever(operation.id()).unwrap().1,
                operation,
            })
            .collect();
        let mut proofs: Vec<_> = expected
            .roster()
            .iter()
            .filter_map(|(n, _)| expected.proof(&first.rows, n).unwrap())
            .collect();
        let now = self.world.now_ms;
        // What comes too early, or was taken back before the root vouched for it, comes again.
        for round in 0.. {
            let found = fresh.replica.as_ref().unwrap();
            if found.summary() == expected.summary() {
                break;
            }
            let clock = found.clock();
            assert!(
                round < 500,
                "it ends with {clock:?}, {} proofs left",
                proofs.len()
            );
            let lacking = |i: &&Incoming| {
                let payload = &i.operation.payload;
                !clock.covers(payload.writer, payload.seq)
            };
            let mut left: Vec<&Incoming> = all.iter().filter(lacking).collect();
            while !left.is_empty() {
                let incoming = left.swap_remove(rng.below(left.len()));
                let _ = support::admit(&mut fresh, incoming.clone(), now);
                if rng.chance(5) {
                    offer_proof(&mut fresh, &mut proofs);
                }
            }
            offer_proof(&mut fresh, &mut proofs);
        }
        let found = fresh.replica.as_ref().unwrap();
        assert_eq!(
            found.summary(),
            expected.summary(),
            "another order, another log"
        );
        assert_eq!(
            fresh.records(),
            first.records(),
            "another order, other records"
        );
        for state in expected.states(&first.rows) {
            let (path, state) = state.unwrap();
            let other = found.state(&fresh.rows, &path).unwrap().unwrap();
            let (state, other) = (state.settled(), other.settled());
            assert_eq!(state, other, "another order, another state of {path}");
        }
    }
}

fn offer_proof(device: &mut Device, proofs: &mut Vec<[bytes::Bytes; 2]>) {
    let Some(proof) = proofs.pop() else {
        return;
    };
    let mut change = Change::default();
    let replica = device.replica.as_mut().unwrap();
    let result = replica.admit_proof(&device.rows, proof.clone(), &mut change);
    let refused = result.unwrap().is_err();
    device.commit(change);
    if refused {
        proofs.insert(0, proof);
    }
}

fn run(seed: u64, steps: usize) {
    let mut run = Run::new(seed);
    for _ in 0..steps {
        run.step();
    }
    run.heal();
    run.check();
}

fn number(name: &str, default: u64) -> u64 {
    std::env::var(name).map_or(default, |text| text.parse().unwrap())
}

#[test]
fn devices_that_can_meet_become_equal() {
    if let Ok(seed) = std::env::var("UES_SEED") {
        return run(seed.parse().unwrap(), number("UES_STEPS", 400) as usize);
    }
    let seeds = number("UES_SEEDS", 400);
    let failing = (0..seeds).find(|seed| std::panic::catch_unwind(|| run(*seed, 400)).is_err());
    if let Some(seed) = failing {
        let fails = |steps: &usize| std::panic::catch_unwind(|| run(seed, *steps)).is_err();
        let steps = (0..=400).find(fails);
        panic!("seed {seed} fails, after {steps:?} steps at the earliest: UES_SEED={seed}");
    }
    // It is about devices that forget and catch up, too.
    let count = |all: &AtomicU64| all.load(Ordering::Relaxed);
    let (dropped, caught_up) = (count(&support::DROPPED), count(&support::CAUGHT_UP));
    let merged = count(&support::MERGED);
    println!(
        "{seeds} seeds: {dropped} operations dropped, {caught_up} times caught up, {merged} records merged"
    );
    assert!(dropped > seeds && caught_up > seeds / 4 && merged > seeds / 4);
}
