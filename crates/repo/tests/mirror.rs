//! Copies of repositories: built from blocks in any order, moved by what differs, interrupted anywhere, freed whole.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    reason = "a test may panic"
)]

use std::collections::BTreeSet;
use std::sync::Arc;

use bytes::Bytes;
use ues_data::mst::{Preorder, PreorderItem};
use ues_data::{Cid, Ipld, dag_cbor};
use ues_repo::crypto::{KeyKind, SigningKey};
use ues_repo::repo::mirror::{Judged, Mirror, MirrorError, Mirrors, Offered, Taken, judge};
use ues_repo::repo::write::{Record, RecordPath};
use ues_repo::repo::{KeySource, KeySourceError, RepoView, Repositories};
use ues_repo::syntax::Did;
use ues_storage::engine::MemoryEngine;
use ues_storage::{Store, StoreOptions};

/// More than what is kept in memory of an update.
const LARGE: usize = 200;

struct OneKey(Arc<SigningKey>);

impl KeySource for OneKey {
    fn signing_key(&self, _: &Did) -> Result<Option<Arc<SigningKey>>, KeySourceError> {
        Ok(Some(Arc::clone(&self.0)))
    }
}

fn store() -> Store {
    let quiet = StoreOptions {
        housekeeping: None,
        ..StoreOptions::default()
    };
    Store::with_engine(Arc::new(MemoryEngine::new()), quiet).unwrap()
}

/// A repository and, in another store, a copy of it.
struct Both {
    origin: Repositories,
    key: Arc<SigningKey>,
    did: Did,
    store: Store,
    mirrors: Mirrors,
}

impl Both {
    async fn new() -> Self {
        let from = store();
        let key = Arc::new(SigningKey::generate(KeyKind::K256).unwrap());
        let keys = || Arc::new(OneKey(Arc::clone(&key)));
        let origin = Repositories::open(from.clone(), keys()).unwrap();
        let did = Did::parse("did:plc:ewvi7nxzyoun6zhxrhs64oiz").unwrap();
        let created = origin.create(&did, &key, from.batch(), Vec::new());
        created.await.unwrap();
        let store = store();
        let here = Repositories::open(store.clone(), keys()).unwrap();
        let mirrors = Mirrors::open(&here).unwrap();
        mirrors
            .put(&Mirror::new(did.clone(), 0, 1 << 30))
            .await
            .unwrap();
        Self {
            origin,
            key,
            did,
            store,
            mirrors,
        }
    }

    async fn put(&self, rkey: &str, text: Option<String>) {
        let path = RecordPath::parse(&format!("com.example.note/{rkey}")).unwrap();
        let record = text.map(|text| {
            let map = [("text".to_owned(), Ipld::String(text))];
            let bytes = dag_cbor::encode(&Ipld::Map(map.into_iter().collect())).unwrap();
            Record::new(bytes.into(), Vec::new())
        });
        let put = |_: &_, _: &mut _| Ok(vec![(path, record)]);
        self.origin.merge(&self.did, put).await.unwrap();
    }

    fn row(&self) -> Mirror {
        self.mirrors.get(&self.did).unwrap().unwrap()
    }

    fn view(&self) -> RepoView {
        self.origin.view(&self.did).unwrap()
    }

    fn offer(&self) -> Offered {
        let view = self.view();
        let commit = view.block(&view.head.commit).unwrap().unwrap();
        let head = self.mirrors.repos().head(&self.did).unwrap();
        let now = u64::MAX / 2;
        match judge(
            &self.did,
            self.key.verifying_key(),
            head.as_ref(),
            &commit,
            now,
        )
        .unwrap()
        {
            Judged::Newer(offered) => *offered,
            other => panic!("{other:?}"),
        }
    }

    fn block(&self, cid: &Cid) -> Bytes {
        self.view().own_block(cid).unwrap().unwrap()
    }

    /// Takes what is missing, at most `most` blocks, putting it into the store each time if `spill`; whether it is all.
    fn take(&self, most: usize, spill: bool) -> Option<Taken> {
        let mut update = self.mirrors.update(&self.row(), self.offer()).unwrap();
        let mut taken = 0;
        loop {
            let missing = update.missing(16).unwrap();
            if missing.is_empty() {
                return Some(update.finish(self.row()).unwrap());
            }
            for cid in missing {
                if taken == most {
                    return None;
                }
                update.take(cid, self.block(&cid)).unwrap();
                taken += 1;
            }
            if spill {
                update.spill().unwrap();
            }
        }
    }

    fn assert_equal(&self) {
        let copy = self.mirrors.repos();
        let (ours, theirs) = (copy.view(&self.did).unwrap(), self.view());
        assert_eq!(ours.head.commit, theirs.head.commit);
        let mut nothing = |_| {};
        let check = copy.check(&self.did, &mut nothing).unwrap();
        assert_eq!(check.problems, Vec::<String>::new());
        let records = |of: &Repositories| -> Vec<_> {
            let all = of.records(&self.did).unwrap().map(Result::unwrap);
            all.map(|(path, record)| (path, record.bytes)).collect()
        };
        assert_eq!(records(copy), records(&self.origin));
        let own = self.row().bytes;
        let nodes = Preorder::new(ours.clone(), ours.head.data);
        let bytes: usize = nodes
            .map(|item| match item.unwrap() {
                PreorderItem::Node { bytes, .. } => bytes.len(),
                PreorderItem::Value { cid, .. } => ours.block(&cid).unwrap().unwrap().len(),
            })
            .sum();
        assert_eq!(own, bytes as u64);
    }

    /// Of these blocks, how many somebody holds in the copy's store once it is tidy.
    fn held(&self, blocks: &BTreeSet<Cid>) -> usize {
        self.mirrors.tidy().unwrap();
        let snapshot = self.store.snapshot();
        let is_held = |cid: &&Cid| {
            let mut references = snapshot.references(cid.hash(), 0..=u64::MAX);
            references.next().is_some()
        };
        blocks.iter().filter(is_held).count()
    }

    /// Everything that the origin is made of now.
    fn parts(&self) -> BTreeSet<Cid> {
        let view = self.view();
        let tree = Preorder::new(view.clone(), view.head.data).map(|item| match item.unwrap() {
            PreorderItem::Node { cid, .. } | PreorderItem::Value { cid, .. } => cid,
        });
        tree.chain([view.head.commit]).collect()
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_copy_moves_by_what_differs() {
    let both = Both::new().await;
    for n in 0..300 {
        both.put(&format!("r{n}"), Some(format!("record {n}")))
            .await;
    }
    let first = both.take(usize::MAX, false).unwrap();
    assert_eq!(first.records, 300);
    both.assert_equal();
    both.put("r7", Some("changed".to_owned())).await;
    both.put("r8", None).await;
    both.put("new", Some("new".to_owned())).await;
    let next = both.take(usize::MAX, false).unwrap();
    assert_eq!(next.records, 3);
    assert!(next.blocks < 20, "{next:?}");
    both.mirrors.tidy().unwrap();
    both.assert_equal();
}

#[tokio::test(flavor = "multi_thread")]
async fn an_interrupted_update_goes_on() {
    let both = Both::new().await;
    for n in 0..LARGE {
        both.put(&format!("r{n}"), Some(format!("record {n}")))
            .await;
    }
    for most in [1, 17, 40] {
        assert!(both.take(most, true).is_none());
        assert!(both.mirrors.repos().head(&both.did).unwrap().is_none());
    }
    // What was fetched of an older state does no harm.
    both.put("r3", Some("meanwhile".to_owned())).await;
    let taken = both.take(usize::MAX, true).unwrap();
    assert_eq!(taken.records, LARGE as u64);
    assert!(taken.blocks < LARGE as u64 + 40, "{taken:?}");
    both.assert_equal();
    both.mirrors.tidy().unwrap();
    both.assert_equal();
    // A later one that is put into the store on its way replaces the copy as a whole.
    for n in 0..50 {
        both.put(&format!("r{n}"), Some(format!("again {n}"))).await;
    }
    assert!(both.take(20, true).is_none());
    assert!(both.take(usize::MAX, true).is_some());
    both.mirrors.tidy().unwrap();
    both.assert_equal();
}

#[tokio::test(flavor = "multi_thread")]
async fn nothing_stays_of_a_copy_that_is_let_go_of() {
    let both = Both::new().await;
    for n in 0..LARGE {
        both.put(&format!("r{n}"), Some(format!("record {n}")))
            .await;
    }
    let mut ever = both.parts();
    assert!(both.take(30, true).is_none());
    assert!(both.take(usize::MAX, true).is_some());
    both.put("r1", Some("other".to_owned())).await;
    assert!(both.take(usize::MAX, false).is_some());
    ever.extend(both.parts());
    assert_eq!(
        both.held(&ever),
        both.parts().len(),
        "of the older state nothing"
    );
    both.put("r2", Some("other".to_owned())).await;
    ever.extend(both.parts());
    assert!(both.take(1, true).is_none());
    assert!(both.held(&ever) > 0);
    assert!(both.mirrors.remove(&both.did).unwrap());
    assert!(!both.mirrors.remove(&both.did).unwrap());
    assert!(both.mirrors.repos().head(&both.did).unwrap().is_none());
    assert_eq!(both.held(&ever), 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_copy_has_a_size_and_no_more() {
    let both = Both::new().await;
    for n in 0..100 {
        both.put(&format!("r{n}"), Some(format!("{n}{}", "x".repeat(1000))))
            .await;
    }
    let row = Mirror {
        max_bytes: 50_000,
        ..both.row()
    };
    let mut update = both.mirrors.update(&row, both.offer()).unwrap();
    let refused = loop {
        let missing = update.missing(16).unwrap();
        assert!(!missing.is_empty());
        let taken = missing
            .into_iter()
            .try_for_each(|cid| update.take(cid, both.block(&cid)));
        if let Err(refused) = taken {
            break refused;
        }
    };
    assert!(matches!(refused, MirrorError::TooLarge { limit: 50_000 }));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_copy_is_no_repository_of_this_node() {
    let both = Both::new().await;
    both.put("a", Some("text".to_owned())).await;
    assert!(both.take(usize::MAX, false).is_some());
    let keys = Arc::new(OneKey(Arc::clone(&both.key)));
    let own = Repositories::open(both.store.clone(), keys).unwrap();
    assert_eq!(own.list(None, 100).unwrap(), []);
    assert!(own.head(&both.did).unwrap().is_none());
    let record = both.mirrors.repos().records(&both.did).unwrap().next();
    let (_, record) = record.unwrap().unwrap();
    let hidden = |_: &Did, _: &_| false;
    let public = |of: &Repositories| of.has_public_block(record.cid.hash(), 1 << 20, &hidden);
    assert!(!public(&own).unwrap());
    assert!(public(both.mirrors.repos()).unwrap());
}
