//! Values in a store.

#![allow(
    clippy::unwrap_used,
    clippy::panic,
    reason = "a test fails by panicking"
)]

use std::sync::Arc;

use bytes::Bytes;
use ipld_core::ipld;
use ues_data::content_id::{BLAKE3, SHA2_256};
use ues_data::dag_cbor;
use ues_data::ipld_store::{Encoding, IpldStore, IpldStoreError};
use ues_data::{BlockSource, Ipld};
use ues_storage::engine::MemoryEngine;
use ues_storage::{BlockRef, Store, StoreOptions};

fn store() -> Store {
    Store::with_engine(Arc::new(MemoryEngine::new()), StoreOptions::default()).unwrap()
}

#[tokio::test]
async fn values_are_put_got_and_resolved() {
    let store = store();
    let values = IpldStore::new(store.clone(), BlockRef { owner: 1, slot: 0 });
    let inner = ipld!({ "name": "x" });
    let inner_cid = values.put(&inner, Encoding::OWN).await.unwrap();
    assert_eq!(inner_cid.hash().code(), BLAKE3);
    let outer = ipld!({ "to": [inner_cid] });
    let outer_cid = values.put(&outer, Encoding::ATPROTO).await.unwrap();
    assert_eq!(outer_cid.hash().code(), SHA2_256);
    assert_eq!(
        outer_cid,
        IpldStore::compute_cid(&outer, Encoding::ATPROTO).unwrap()
    );
    assert_eq!(values.get(&outer_cid).unwrap(), Some(outer));
    let found = values.resolve(&outer_cid, "to/0/name").unwrap();
    assert_eq!(found.value, Ipld::String("x".into()));
    let absent = IpldStore::compute_cid(&Ipld::Null, Encoding::OWN).unwrap();
    assert_eq!(values.get(&absent).unwrap(), None);
    let bytes = BlockSource::block(&store.snapshot(), &inner_cid)
        .unwrap()
        .unwrap();
    assert_eq!(dag_cbor::decode(&bytes).unwrap(), inner);
    values.remove(&inner_cid).await.unwrap();
}

#[test]
fn cids_are_validated() {
    let value = ipld!([1, 2, 3]);
    let bytes = Bytes::from(dag_cbor::encode(&value).unwrap());
    let cid = IpldStore::compute_cid(&value, Encoding::OWN).unwrap();
    IpldStore::validate_cid(&cid, &bytes).unwrap();
    let other = Bytes::from_static(b"\x80");
    assert!(matches!(
        IpldStore::validate_cid(&cid, &other),
        Err(IpldStoreError::Hash(_))
    ));
}
