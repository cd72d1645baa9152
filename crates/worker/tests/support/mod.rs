//! Content to pin, and what is pinned.
#![allow(dead_code, reason = "not every test file uses all of them")]

use std::collections::BTreeMap;

use bytes::Bytes;
use futures::TryStreamExt;
use ues_data::{Cid, Ipld, dag_cbor, dag_cbor_cid, raw_cid};
use ues_pins::PinMode;
use ues_worker::backend::{Backend, PinJob};

/// A block that links to others.
pub fn node(label: &str, links: &[Cid]) -> (Cid, Bytes) {
    let links = links.iter().map(|cid| Ipld::Link(*cid)).collect();
    let value = Ipld::Map(BTreeMap::from([
        ("label".to_owned(), Ipld::String(label.to_owned())),
        ("links".to_owned(), Ipld::List(links)),
    ]));
    let bytes = dag_cbor::encode(&value).unwrap();
    (dag_cbor_cid(&bytes), bytes.into())
}

/// A block without links.
pub fn leaf(text: &str) -> (Cid, Bytes) {
    let bytes = Bytes::copy_from_slice(text.as_bytes());
    (raw_cid(&bytes), bytes)
}

/// Something to pin.
pub fn job(cid: Cid, mode: PinMode) -> PinJob {
    PinJob {
        cid,
        mode,
        origins: Vec::new(),
    }
}

/// Everything that a backend says is pinned.
pub async fn all_pins(backend: &dyn Backend) -> BTreeMap<Cid, PinMode> {
    backend.pins().try_collect().await.unwrap()
}
