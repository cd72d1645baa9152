//! What every state store must do, run over each of them.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

mod conformance;
mod model;

use std::sync::Arc;

use ues_pins::store::{EmbeddedStore, MemoryStore};
use ues_storage::engine::MemoryEngine;
use ues_storage::{Store, StoreOptions};

#[tokio::test(flavor = "multi_thread")]
async fn in_memory() {
    conformance::run(|| Arc::new(MemoryStore::default())).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn embedded() {
    let open = || {
        let engine = Arc::new(MemoryEngine::new());
        let store = Store::with_engine(engine, StoreOptions::default()).unwrap();
        Arc::new(EmbeddedStore::open(store).unwrap())
    };
    conformance::run(open).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn embedded_on_disk_keeps_everything_over_a_restart() {
    let dir = tempfile::tempdir().unwrap();
    let open = || Store::open(dir.path(), StoreOptions::default()).unwrap();
    let store = open();
    let before = conformance::fill(&EmbeddedStore::open(store.clone()).unwrap()).await;
    store.close();
    let store = open();
    let after = conformance::everything(&EmbeddedStore::open(store.clone()).unwrap()).await;
    assert_eq!(before, after);
    store.close();
}
