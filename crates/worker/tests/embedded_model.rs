//! Random DAGs, pinned and unpinned in random order: what the pins reach is there, and nothing else.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

mod support;

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use bytes::Bytes;
use proptest::prelude::*;
use support::{all_pins, job, leaf, node};
use ues_data::{Cid, raw_cid};
use ues_pins::PinMode::{self, Direct, Recursive};
use ues_storage::engine::MemoryEngine;
use ues_storage::{Store, StoreOptions};
use ues_worker::backend::Backend;
use ues_worker::embedded::{EmbeddedBackend, EmbeddedOptions};
use ues_worker::links;

#[derive(Clone, Debug)]
enum Step {
    Pin(usize, PinMode),
    PinMany(Vec<(usize, PinMode)>),
    Unpin(Vec<usize>),
    Collect,
    Reopen,
}

fn mode() -> impl Strategy<Value = PinMode> {
    prop_oneof![Just(Direct), Just(Recursive), Just(Recursive)]
}

fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        3 => (0..20usize, mode()).prop_map(|(n, mode)| Step::Pin(n, mode)),
        2 => prop::collection::vec((0..20usize, mode()), 1..6).prop_map(Step::PinMany),
        3 => prop::collection::vec(0..20usize, 1..4).prop_map(Step::Unpin),
        1 => Just(Step::Collect),
        1 => Just(Step::Reopen),
    ]
}

/// Blocks whose links lead to earlier ones, or to the bytes of earlier ones as raw blocks.
fn dag(shape: &[Vec<(usize, bool)>]) -> Vec<(Cid, Bytes)> {
    let mut blocks: Vec<(Cid, Bytes)> = Vec::new();
    for (n, below) in shape.iter().enumerate() {
        let link = |(to, raw): &(usize, bool)| {
            let (cid, bytes) = &blocks[to % n];
            if *raw { raw_cid(bytes) } else { *cid }
        };
        let block = if n == 0 || below.is_empty() {
            leaf(&format!("leaf {n}"))
        } else {
            let below: Vec<Cid> = below.iter().map(link).collect();
            node(&format!("node {n}"), &below)
        };
        blocks.push(block);
    }
    blocks
}

fn options(small: bool) -> EmbeddedOptions {
    if small {
        EmbeddedOptions {
            batch_blocks: 2,
            max_remembered: 3,
            ..EmbeddedOptions::default()
        }
    } else {
        EmbeddedOptions::default()
    }
}

struct Node {
    store: Store,
    backend: EmbeddedBackend,
    pins: BTreeMap<Cid, PinMode>,
}

impl Node {
    fn pinned(&mut self, cid: Cid, mode: PinMode) {
        let now = self.pins.entry(cid).or_insert(mode);
        if mode == Recursive {
            *now = mode;
        }
    }

    async fn step(&mut self, step: &Step, blocks: &[(Cid, Bytes)]) {
        match step {
            Step::Pin(n, mode) => {
                let cid = blocks[*n].0;
                self.backend.pin(&job(cid, *mode), &|_| ()).await.unwrap();
                self.pinned(cid, *mode);
            }
            Step::PinMany(which) => {
                let jobs: Vec<_> = which
                    .iter()
                    .map(|(n, mode)| job(blocks[*n].0, *mode))
                    .collect();
                let answers = self.backend.pin_many(&jobs).await;
                assert!(answers.iter().all(Result::is_ok), "{answers:?}");
                for job in jobs {
                    self.pinned(job.cid, job.mode);
                }
            }
            Step::Unpin(which) => {
                let cids: Vec<_> = which.iter().map(|n| blocks[*n].0).collect();
                let answers = self.backend.unpin_many(&cids).await;
                assert!(answers.iter().all(Result::is_ok), "{answers:?}");
                for cid in cids {
                    self.pins.remove(&cid);
                }
            }
            Step::Collect => {
                self.store.collect(u64::MAX).unwrap();
            }
            Step::Reopen => {
                let open = |small| EmbeddedBackend::open(self.store.clone(), options(small));
                self.backend = open(self.pins.len().is_multiple_of(2)).unwrap();
            }
        }
    }

    async fn verify(&self) {
        assert_eq!(all_pins(&self.backend).await, self.pins);
        let count = self.backend.status().await.unwrap().pins;
        assert_eq!(count, Some(self.pins.len() as u64));
        while !self.store.collect(u64::MAX).unwrap().finished {}
        let mut reached = BTreeSet::new();
        let mut left: Vec<_> = self.pins.iter().map(|(cid, mode)| (*cid, *mode)).collect();
        while let Some((cid, mode)) = left.pop() {
            let bytes = self.store.block(cid.hash()).unwrap().expect("a lost block");
            if mode == Recursive {
                let below = links(cid.codec(), &bytes).unwrap();
                left.extend(below.into_iter().map(|cid| (cid, mode)));
            }
            reached.insert(cid.hash().to_bytes());
        }
        let report = self.store.check(&mut |_| ()).unwrap();
        assert!(report.is_sound(), "{:?}", report.damage);
        assert_eq!(report.blocks, reached.len() as u64, "a leak");
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 64, ..ProptestConfig::default() })]

    #[test]
    fn what_pins_reach_is_there_and_nothing_else(
        shape in prop::collection::vec(prop::collection::vec((0..20usize, any::<bool>()), 0..4), 20),
        steps in prop::collection::vec(step(), 1..24),
        small in any::<bool>(),
        nursery in any::<bool>(),
    ) {
        let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
        runtime.block_on(async {
            let store = Store::with_engine(Arc::new(MemoryEngine::new()), StoreOptions {
                housekeeping: None,
                nursery_bytes: if nursery { 6 << 20 } else { 0 },
                ..StoreOptions::default()
            }).unwrap();
            let backend = EmbeddedBackend::open(store.clone(), options(small)).unwrap();
            let mut node = Node { store, backend, pins: BTreeMap::new() };
            let blocks = dag(&shape);
            // As a repository would hold it: everything can be pinned at any time.
            let mut upload = node.backend.upload().await.unwrap();
            for (cid, bytes) in &blocks {
                upload.put(cid, bytes).await.unwrap();
            }
            upload.flush().await.unwrap();
            for step in &steps {
                node.step(step, &blocks).await;
            }
            upload.give_up().await.unwrap();
            node.verify().await;
            let cids: Vec<Cid> = std::mem::take(&mut node.pins).into_keys().collect();
            node.backend.unpin_many(&cids).await;
            node.verify().await;
        });
    }
}
