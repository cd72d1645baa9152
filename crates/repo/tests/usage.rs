//! The total of what a repository holds is what is there, whatever happened to it.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    reason = "a test may panic"
)]

use std::sync::Arc;

use ues_data::{Cid, Ipld, dag_cbor};
use ues_repo::crypto::{KeyKind, SigningKey};
use ues_repo::repo::blobs::BlobMeta;
use ues_repo::repo::write::{Record, RecordPath, Write, WriteError, WriteKind};
use ues_repo::repo::{KeySource, KeySourceError, Repositories, Room, Usage};
use ues_repo::syntax::Did;
use ues_storage::engine::MemoryEngine;
use ues_storage::{Store, StoreOptions};

struct OneKey(Arc<SigningKey>);

impl KeySource for OneKey {
    fn signing_key(&self, _: &Did) -> Result<Option<Arc<SigningKey>>, KeySourceError> {
        Ok(Some(Arc::clone(&self.0)))
    }
}

struct Node {
    repos: Repositories,
    did: Did,
}

fn did() -> Did {
    Did::parse("did:plc:ewvi7nxzyoun6zhxrhs64oiz").unwrap()
}

impl Node {
    async fn new(store: &Store, key: &Arc<SigningKey>) -> Self {
        let node = Self::over(store, key);
        let created = node.repos.create(&node.did, key, store.batch(), Vec::new());
        created.await.unwrap();
        node
    }

    fn over(store: &Store, key: &Arc<SigningKey>) -> Self {
        let keys = Arc::new(OneKey(Arc::clone(key)));
        Self {
            repos: Repositories::open(store.clone(), keys).unwrap(),
            did: did(),
        }
    }

    async fn upload(&self, content: &[u8]) -> Cid {
        let owner = self.repos.head(&self.did).unwrap().unwrap().owner;
        let mut intake = self.repos.blob_intake(owner);
        intake.push(content).unwrap();
        let stored = intake.finish().unwrap();
        let meta = BlobMeta::of(&stored, "text/plain".to_owned(), 1);
        let entered = self.repos.enter_blob(&self.did, owner, &meta);
        entered.await.unwrap();
        stored.cid
    }

    async fn write(
        &self,
        kind: WriteKind,
        rkey: u64,
        record: Option<Record>,
    ) -> Result<(), WriteError> {
        self.write_within(kind, rkey, record, Room::default()).await
    }

    async fn write_within(
        &self,
        kind: WriteKind,
        rkey: u64,
        record: Option<Record>,
        room: Room,
    ) -> Result<(), WriteError> {
        let write = Write {
            path: RecordPath::parse(&format!("com.example.note/r{rkey}")).unwrap(),
            kind,
            record,
            swap: None,
        };
        let applied = self
            .repos
            .apply_writes_within(&self.did, vec![write], None, room);
        applied.await.map(drop)
    }

    /// The total, which has to be what a check counts.
    fn usage(&self) -> Usage {
        let report = self.repos.check(&self.did, &mut |_| ()).unwrap();
        assert_eq!(report.problems, [""; 0]);
        self.repos.usage(&self.did).unwrap()
    }
}

fn note(length: usize, blob: Option<Cid>) -> Record {
    let mut map = vec![("text".to_owned(), Ipld::String("x".repeat(length)))];
    if let Some(cid) = blob {
        let entry = [
            ("$type".to_owned(), Ipld::String("blob".into())),
            ("ref".to_owned(), Ipld::Link(cid)),
            ("mimeType".to_owned(), Ipld::String("text/plain".into())),
            ("size".to_owned(), Ipld::Integer(1)),
        ];
        map.push(("file".to_owned(), Ipld::Map(entry.into_iter().collect())));
    }
    let bytes = dag_cbor::encode(&Ipld::Map(map.into_iter().collect())).unwrap();
    Record::new(bytes.into(), blob.into_iter().collect())
}

fn stores() -> (Store, Arc<SigningKey>) {
    let store = Store::with_engine(Arc::new(MemoryEngine::new()), StoreOptions::default());
    let key = Arc::new(SigningKey::generate(KeyKind::K256).unwrap());
    (store.unwrap(), key)
}

#[tokio::test(flavor = "multi_thread")]
async fn the_total_does_not_drift() {
    let seed = std::env::var("SEED")
        .ok()
        .and_then(|seed| seed.parse().ok());
    let seed: u64 = seed.unwrap_or_else(|| std::process::id().into());
    println!("SEED={seed}");
    let mut state = seed;
    let mut random = move |below: u64| {
        state = state
            .wrapping_mul(6364136223846793005)
            .wrapping_add(1442695040888963407);
        (state >> 33) % below
    };
    let (store, key) = stores();
    let mut node = Node::new(&store, &key).await;
    assert_eq!(node.usage(), Usage::default());
    for step in 0..400 {
        let (rkey, length) = (random(12), random(300) as usize);
        match random(12) {
            0..=4 => node
                .write(WriteKind::Put, rkey, Some(note(length, None)))
                .await
                .unwrap(),
            5 | 6 => node
                .write(WriteKind::DeleteIfPresent, rkey, None)
                .await
                .unwrap(),
            7 | 8 => {
                let blob = node.upload(format!("blob {}", random(5)).as_bytes()).await;
                if random(3) > 0 {
                    let record = note(length, Some(blob));
                    node.write(WriteKind::Put, rkey, Some(record))
                        .await
                        .unwrap();
                }
            }
            9 => {
                // Several at once, which may share a commit, and some of which replace what is on its way.
                let all = (0..8).map(|n| {
                    node.write(WriteKind::Put, rkey + n % 3, Some(note(n as usize, None)))
                });
                futures::future::try_join_all(all).await.unwrap();
            }
            10 => {
                node.repos.sweep_blobs(&node.did, u64::MAX).await.unwrap();
            }
            _ => node = Node::over(&store, &key),
        }
        if step % 20 == 0 {
            node.usage();
        }
    }
    node.usage();
    // A store of an older version has no totals.
    let before = node.usage();
    let rows = store.keyspace("repo_usage").unwrap();
    let mut batch = store.batch();
    for row in rows.prefix([]) {
        batch.delete(&rows, row.unwrap().0);
    }
    store.commit(batch).await.unwrap();
    let node = Node::over(&store, &key);
    assert_eq!(node.repos.usage(&node.did).unwrap(), before);
    node.upload(b"one more").await;
    let after = node.usage();
    assert_eq!(
        (after.blobs, after.blob_bytes),
        (before.blobs + 1, before.blob_bytes + 8)
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn a_blob_that_several_records_lose_at_once_goes_once() {
    let (store, key) = stores();
    let node = Node::new(&store, &key).await;
    node.upload(b"kept").await;
    let shared = node.upload(b"shared").await;
    let path = |rkey| RecordPath::parse(&format!("com.example.note/r{rkey}")).unwrap();
    let write = |rkey, kind, record| Write {
        path: path(rkey),
        kind,
        record,
        swap: None,
    };
    let both = |kind, record: Option<Record>| {
        let writes = (0..2).map(|rkey| write(rkey, kind, record.clone()));
        node.repos
            .apply_writes_within(&node.did, writes.collect(), None, Room::default())
    };
    let referring = Some(note(5, Some(shared)));
    both(WriteKind::Create, referring).await.unwrap();
    assert_eq!(node.usage().blobs, 2);
    both(WriteKind::Delete, None).await.unwrap();
    assert_eq!(node.usage().blobs, 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn writes_at_once_do_not_pass_a_bound_together() {
    let (store, key) = stores();
    let node = Node::new(&store, &key).await;
    let room = Room {
        records: Some(20),
        record_bytes: None,
    };
    let writes =
        (0..50).map(|n| node.write_within(WriteKind::Create, n, Some(note(5, None)), room));
    let outcomes = futures::future::join_all(writes).await;
    assert_eq!(outcomes.iter().filter(|o| o.is_ok()).count(), 20);
    let refused =
        |o: &Result<(), WriteError>| matches!(o, Err(WriteError::NoRoom { quota: 20, .. }));
    assert_eq!(outcomes.iter().filter(|o| refused(o)).count(), 30);
    assert_eq!(node.usage().records, 20);
}
