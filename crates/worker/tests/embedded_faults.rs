//! The embedded backend over a medium that fails at every place where it can: no pinned block is lost, nothing leaks.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

mod support;

use std::collections::BTreeMap;
use std::sync::Arc;

use bytes::Bytes;
use support::{all_pins, job, leaf, node};
use ues_data::Cid;
use ues_pins::PinMode::{self, Direct, Recursive};
use ues_storage::engine::{Fault, MemoryEngine};
use ues_storage::{Store, StoreOptions};
use ues_worker::backend::Backend;
use ues_worker::embedded::{EmbeddedBackend, EmbeddedOptions, Entry};
use ues_worker::links;

/// What is done, in this order.
#[derive(Clone, Copy, Debug)]
enum Step {
    /// All blocks come in; these roots are pinned with the upload.
    Upload(&'static [usize]),
    Pin(usize, PinMode),
    PinMany(&'static [usize]),
    Unpin(&'static [usize]),
    Collect,
    Sweep,
}

/// Leaves, nodes that share them, and a node over both kinds.
fn content() -> Vec<(Cid, Bytes)> {
    let mut blocks: Vec<_> = (0..12).map(|n| leaf(&format!("fault {n}"))).collect();
    let cids = |blocks: &[(Cid, Bytes)]| blocks.iter().map(|(cid, _)| *cid).collect::<Vec<_>>();
    blocks.push(node("a", &cids(&blocks[..8])));
    blocks.push(node("b", &cids(&blocks[4..12])));
    blocks.push(node("top", &[blocks[12].0, blocks[13].0, blocks[3].0]));
    blocks
}

const STEPS: [Step; 13] = [
    Step::Upload(&[13]),
    Step::Pin(14, Direct),
    Step::Pin(14, Recursive),
    Step::PinMany(&[0, 1, 12, 13]),
    Step::Sweep,
    Step::Unpin(&[14]),
    Step::Collect,
    Step::Upload(&[]),
    Step::Pin(14, Recursive),
    Step::Unpin(&[0, 13]),
    Step::Collect,
    Step::Unpin(&[14, 12]),
    Step::Sweep,
];

fn options(small: bool) -> (StoreOptions, EmbeddedOptions) {
    let store = StoreOptions {
        housekeeping: None,
        nursery_bytes: if small { 0 } else { 6 << 20 },
        ..StoreOptions::default()
    };
    let embedded = if small {
        EmbeddedOptions {
            batch_blocks: 3,
            max_remembered: 2,
            ..EmbeddedOptions::default()
        }
    } else {
        EmbeddedOptions::default()
    };
    (store, embedded)
}

type Pins = BTreeMap<Cid, PinMode>;

/// Works until the store refuses; the pins that were acknowledged, and those that may be there or not.
async fn work(store: &Store, backend: &EmbeddedBackend) -> (Pins, Vec<Cid>) {
    let blocks = content();
    let mut pins = Pins::new();
    for step in STEPS {
        let (touched, done): (Vec<Cid>, bool) = match step {
            Step::Upload(roots) => {
                let roots: Vec<Cid> = roots.iter().map(|n| blocks[*n].0).collect();
                (
                    roots.clone(),
                    upload(backend, &blocks, &roots, &mut pins).await,
                )
            }
            Step::Pin(n, mode) => {
                let cid = blocks[n].0;
                let done = backend.pin(&job(cid, mode), &|_| ()).await.is_ok();
                if done {
                    pins.insert(cid, mode);
                }
                (vec![cid], done)
            }
            Step::PinMany(which) => {
                let cids: Vec<Cid> = which.iter().map(|n| blocks[*n].0).collect();
                let jobs: Vec<_> = cids.iter().map(|cid| job(*cid, Recursive)).collect();
                let answers = backend.pin_many(&jobs).await;
                for (cid, answer) in cids.iter().zip(&answers) {
                    if answer.is_ok() {
                        pins.insert(*cid, Recursive);
                    }
                }
                (cids, answers.iter().all(Result::is_ok))
            }
            Step::Unpin(which) => {
                let cids: Vec<Cid> = which.iter().map(|n| blocks[*n].0).collect();
                let answers = backend.unpin_many(&cids).await;
                for (cid, answer) in cids.iter().zip(&answers) {
                    if answer.is_ok() {
                        pins.remove(cid);
                    }
                }
                (cids, answers.iter().all(Result::is_ok))
            }
            Step::Collect => (vec![], store.collect(u64::MAX).is_ok()),
            Step::Sweep => (vec![], backend.sweep(u64::MAX).await.is_ok()),
        };
        if !done {
            return (pins, touched);
        }
    }
    (pins, vec![])
}

async fn upload(
    backend: &EmbeddedBackend,
    blocks: &[(Cid, Bytes)],
    roots: &[Cid],
    pins: &mut Pins,
) -> bool {
    let Ok(mut upload) = backend.upload().await else {
        return false;
    };
    for (cid, bytes) in blocks {
        if upload.put(cid, bytes).await.is_err() {
            return false;
        }
    }
    if roots.is_empty() {
        return upload.leave().await.is_ok();
    }
    let entries = roots.iter().map(|cid| Entry {
        cid: *cid,
        mode: Recursive,
    });
    let Ok(answers) = upload.pin(entries.collect()).await else {
        return false;
    };
    let done = answers.iter().all(Result::is_ok);
    if done {
        pins.extend(roots.iter().map(|cid| (*cid, Recursive)));
    }
    done
}

/// Opens what the crash has left and looks whether it is as it was acknowledged, and whether all can be freed.
async fn verify(engine: MemoryEngine, small: bool, acknowledged: &Pins, unsure: &[Cid], at: &str) {
    let (store_options, options) = options(small);
    let store = Store::with_engine(Arc::new(engine), store_options).unwrap();
    let backend = EmbeddedBackend::open(store.clone(), options).unwrap();
    backend.sweep(u64::MAX).await.unwrap();
    while !store.collect(u64::MAX).unwrap().finished {}
    let report = store.check(&mut |_| ()).unwrap();
    assert!(report.is_sound(), "{at}: {:?}", report.damage);

    let pins = all_pins(&backend).await;
    assert_eq!(
        backend.status().await.unwrap().pins,
        Some(pins.len() as u64),
        "{at}"
    );
    for (cid, mode) in acknowledged {
        if !unsure.contains(cid) {
            assert_eq!(pins.get(cid), Some(mode), "{at}: {cid}");
        }
    }
    for cid in pins.keys() {
        assert!(
            acknowledged.contains_key(cid) || unsure.contains(cid),
            "{at}: {cid} was unpinned"
        );
    }
    // Exactly what the pins reach is there.
    let mut reached = BTreeMap::new();
    let mut left: Vec<_> = pins.iter().map(|(cid, mode)| (*cid, *mode)).collect();
    while let Some((cid, mode)) = left.pop() {
        let bytes = store.block(cid.hash()).unwrap();
        let bytes = bytes.unwrap_or_else(|| panic!("{at}: {cid} is lost"));
        if mode == Recursive {
            let below = links(cid.codec(), &bytes).unwrap();
            left.extend(below.into_iter().map(|cid| (cid, mode)));
        }
        reached.insert(cid, ());
    }
    assert_eq!(report.blocks, reached.len() as u64, "{at}: a leak");

    let cids: Vec<Cid> = pins.keys().copied().collect();
    let gone = backend.unpin_many(&cids).await;
    assert!(gone.iter().all(Result::is_ok));
    while !store.collect(u64::MAX).unwrap().finished {}
    let report = store.check(&mut |_| ()).unwrap();
    assert_eq!((report.blocks, report.references), (0, 0), "{at}: a leak");
    // And it goes on.
    let (pins, _) = work(&store, &backend).await;
    assert_eq!(pins.len(), 1, "{at}");
}

async fn every_fault(small: bool) {
    let (store_options, embedded) = options(small);
    for nth in 1.. {
        let mut failed = false;
        for fault in [Fault::TornWrite, Fault::FailedSync] {
            for survivors in [0, 1] {
                let engine = MemoryEngine::new();
                let shared = Arc::new(engine.clone());
                let store = Store::with_engine(shared, store_options.clone()).unwrap();
                let backend = EmbeddedBackend::open(store.clone(), embedded.clone()).unwrap();
                engine.inject(nth, fault);
                let (pins, unsure) = work(&store, &backend).await;
                failed |= store.poisoned().is_some();
                drop((backend, store));
                let at = format!("{fault:?} at {nth}, {survivors} survive");
                verify(engine.crash(survivors), small, &pins, &unsure, &at).await;
            }
        }
        if !failed {
            assert!(nth > 20, "{nth} is too few");
            return;
        }
    }
}

#[tokio::test]
async fn any_fault_at_any_call() {
    every_fault(false).await;
}

#[tokio::test]
async fn any_fault_at_any_call_of_large_content() {
    every_fault(true).await;
}
