//! Content that is not here when it is to be pinned: fetched from elsewhere.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    reason = "a test may panic"
)]

mod support;

use std::collections::HashMap;
use std::sync::Arc;

use async_trait::async_trait;
use bytes::Bytes;
use parking_lot::Mutex;
use support::{job, leaf, node};
use ues_data::Cid;
use ues_pins::PinMode::{Direct, Recursive};
use ues_storage::engine::MemoryEngine;
use ues_storage::{Store, StoreOptions};
use ues_worker::backend::{Backend, JobError};
use ues_worker::embedded::{EmbeddedBackend, EmbeddedOptions, FetchSession, Fetcher, is_pinned};

/// What peers have, and what they were asked for.
#[derive(Clone, Default)]
struct Peers {
    blocks: Arc<Mutex<HashMap<Cid, Bytes>>>,
    asked: Arc<Mutex<Vec<Cid>>>,
}

#[async_trait]
impl Fetcher for Peers {
    async fn session(&self, _: &Cid, origins: &[String]) -> Result<Box<dyn FetchSession>, String> {
        match origins {
            [] => Err("no peer is known".to_owned()),
            _ => Ok(Box::new(self.clone())),
        }
    }
}

#[async_trait]
impl FetchSession for Peers {
    async fn get(&self, cid: &Cid) -> Result<Bytes, String> {
        self.asked.lock().push(*cid);
        let found = self.blocks.lock().get(cid).cloned();
        found.ok_or_else(|| format!("nobody has {cid}"))
    }
}

fn open(peers: &Peers) -> (Store, EmbeddedBackend) {
    let quiet = StoreOptions {
        housekeeping: None,
        ..StoreOptions::default()
    };
    let store = Store::with_engine(Arc::new(MemoryEngine::new()), quiet).unwrap();
    let backend = EmbeddedBackend::open(store.clone(), EmbeddedOptions::default()).unwrap();
    (store, backend.with_fetcher(Arc::new(peers.clone())))
}

#[tokio::test]
async fn what_is_missing_is_fetched_once_and_the_rest_is_taken_up_again() {
    let peers = Peers::default();
    let (store, backend) = open(&peers);
    let leaves: Vec<_> = (0..100u32).map(|n| leaf(&format!("leaf {n}"))).collect();
    let names: Vec<Cid> = leaves.iter().map(|(cid, _)| *cid).collect();
    let halves = [node("a", &names[..50]), node("b", &names[50..])];
    let root = node("root", &[halves[0].0, halves[1].0, halves[0].0]);
    let mut all: HashMap<_, _> = leaves.into_iter().chain(halves).collect();
    all.insert(root.0, root.1.clone());
    let late = all.remove(&names[99]).unwrap();
    peers.blocks.lock().extend(all);

    let mut wanted = job(root.0, Recursive);
    let refused = backend.pin(&wanted, &|_| ()).await.unwrap_err();
    assert!(matches!(&refused, JobError::Retry(why) if why.contains("no peer")));
    wanted.origins = vec!["/ip4/192.0.2.1/tcp/1".to_owned()];
    let refused = backend.pin(&wanted, &|_| ()).await.unwrap_err();
    assert!(matches!(&refused, JobError::Retry(why) if why.contains(&names[99].to_string())));
    assert!(!is_pinned(&store.snapshot(), root.0.hash()).unwrap());

    peers.blocks.lock().insert(names[99], late);
    peers.asked.lock().clear();
    backend.pin(&wanted, &|_| ()).await.unwrap();
    let asked = peers.asked.lock().clone();
    assert!(
        asked.contains(&names[99]) && asked.len() < 100,
        "{}",
        asked.len()
    );
    assert!(!asked.contains(&root.0), "it came the first time");
    for cid in names.iter().chain([&root.0]) {
        assert!(is_pinned(&store.snapshot(), cid.hash()).unwrap());
    }
    // Nothing is held but by the pin.
    backend.sweep(u64::MAX).await.unwrap();
    backend.unpin_many(&[root.0]).await.remove(0).unwrap();
    while !store.collect(u64::MAX).unwrap().finished {}
    assert_eq!(store.check(&mut |_| ()).unwrap().blocks, 0);
}

#[tokio::test]
async fn a_direct_pin_fetches_one_block() {
    let peers = Peers::default();
    let (_, backend) = open(&peers);
    let root = node("root", &[leaf("never asked for").0]);
    peers.blocks.lock().insert(root.0, root.1);
    let mut wanted = job(root.0, Direct);
    wanted.origins = vec!["/ip4/192.0.2.1/tcp/1".to_owned()];
    backend.pin(&wanted, &|_| ()).await.unwrap();
    assert_eq!(*peers.asked.lock(), [root.0]);
}

#[tokio::test]
async fn what_is_not_the_block_is_not_taken_in() {
    let peers = Peers::default();
    let (store, backend) = open(&peers);
    let (cid, _) = leaf("right");
    peers
        .blocks
        .lock()
        .insert(cid, Bytes::from_static(b"wrong"));
    let mut wanted = job(cid, Recursive);
    wanted.origins = vec!["/ip4/192.0.2.1/tcp/1".to_owned()];
    assert!(backend.pin(&wanted, &|_| ()).await.is_err());
    assert!(!store.has_block(cid.hash()).unwrap());
}
