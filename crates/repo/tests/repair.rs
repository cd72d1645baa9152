//! Rows that were damaged while nobody had the store open, and a repair from the tree.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    reason = "a test may panic"
)]

use std::sync::Arc;

use ues_data::{Ipld, dag_cbor};
use ues_repo::crypto::{KeyKind, SigningKey};
use ues_repo::repo::event::LogEvent;
use ues_repo::repo::layout::{Status, record_key, record_ref};
use ues_repo::repo::write::{Record, RecordPath, Write, WriteError, WriteKind};
use ues_repo::repo::{KeySource, KeySourceError, Repositories};
use ues_repo::syntax::Did;
use ues_storage::{OpenError, Store, StoreOptions};

struct OneKey(Arc<SigningKey>);

impl KeySource for OneKey {
    fn signing_key(&self, _: &Did) -> Result<Option<Arc<SigningKey>>, KeySourceError> {
        Ok(Some(Arc::clone(&self.0)))
    }
}

fn did() -> Did {
    Did::parse("did:plc:ewvi7nxzyoun6zhxrhs64oiz").unwrap()
}

fn path(n: u32) -> RecordPath {
    RecordPath::parse(&format!("app.bsky.graph.follow/{n:04}")).unwrap()
}

fn record(n: u32) -> Record {
    let text = |text: &str| Ipld::String(text.to_owned());
    let map = [
        ("$type".to_owned(), text("app.bsky.graph.follow")),
        (
            "subject".to_owned(),
            text(&format!("did:web:n{n}.example.com")),
        ),
    ];
    let bytes = dag_cbor::encode(&Ipld::Map(map.into())).unwrap();
    Record::new(bytes.into(), Vec::new())
}

struct Folder {
    dir: tempfile::TempDir,
    key: Arc<SigningKey>,
}

impl Folder {
    async fn new(records: u32) -> Self {
        let folder = Self {
            dir: tempfile::tempdir().unwrap(),
            key: Arc::new(SigningKey::generate(KeyKind::K256).unwrap()),
        };
        let store = folder.open();
        let repos = folder.repos(&store);
        let did = did();
        let created = repos.create(&did, &folder.key, store.batch(), Vec::new());
        created.await.unwrap();
        for start in (0..records).step_by(100) {
            let write = |n| Write {
                path: path(n),
                kind: WriteKind::Create,
                record: Some(record(n)),
                swap: None,
            };
            let writes = (start..records.min(start + 100)).map(write).collect();
            repos.apply_writes(&did, writes, None).await.unwrap();
        }
        folder.close(store, repos).await;
        folder
    }

    fn open(&self) -> Store {
        loop {
            match Store::open(self.dir.path(), StoreOptions::default()) {
                Err(OpenError::InUse(_)) => std::thread::yield_now(),
                store => return store.unwrap(),
            }
        }
    }

    fn repos(&self, store: &Store) -> Repositories {
        Repositories::open(store.clone(), Arc::new(OneKey(Arc::clone(&self.key)))).unwrap()
    }

    async fn close(&self, store: Store, repos: Repositories) {
        drop(repos);
        tokio::task::spawn_blocking(move || store.close())
            .await
            .unwrap();
    }
}

fn problems(repos: &Repositories) -> Vec<String> {
    repos.check(&did(), &mut |_| {}).unwrap().problems
}

#[tokio::test(flavor = "multi_thread")]
async fn rows_are_made_what_the_tree_says() {
    let folder = Folder::new(250).await;
    let store = folder.open();
    let repos = folder.repos(&store);
    let head = repos.head(&did()).unwrap().unwrap();
    let rows = store.keyspace("repo_records").unwrap();
    let row = |n| record_key(head.content, path(n).as_str());
    let mut batch = store.batch();
    for n in [0, 7, 249] {
        batch.delete(&rows, row(n));
    }
    let other = rows.get(row(9)).unwrap().unwrap();
    batch.put(&rows, row(8), other);
    batch.put(&rows, row(10), b"nonsense");
    batch.put(&rows, row(9999), rows.get(row(11)).unwrap().unwrap());
    batch.put(&rows, record_key(head.content, "a.b.c/x"), b"");
    store.commit(batch).await.unwrap();
    // It holds the folder too.
    drop(rows);
    folder.close(store, repos).await;

    let store = folder.open();
    let repos = folder.repos(&store);
    // A row that is no row ends even the check.
    assert!(repos.check(&did(), &mut |_| {}).is_err());
    let before = store.log().last_durable();
    let (repaired, commit) = repos.repair(&did(), store.batch()).await.unwrap();
    assert_eq!(
        (repaired.records, repaired.rebuilt, repaired.removed),
        (250, 5, 2)
    );
    assert_eq!(problems(&repos), Vec::<String>::new());
    let now = repos.head(&did()).unwrap().unwrap();
    assert_eq!(
        (now.data, now.commit, now.rev),
        (head.data, commit.cid, commit.rev)
    );
    assert!(now.rev > head.rev);
    let events = store.log().read(before, 10, usize::MAX).unwrap();
    let events: Vec<_> = events
        .iter()
        .map(|e| LogEvent::decode(&e.payload).unwrap())
        .collect();
    assert!(
        matches!(&events[..], [LogEvent::Sync { rev, .. }] if *rev == now.rev),
        "{events:?}"
    );
    let stored = repos.get_record(&did(), &path(8)).unwrap().unwrap();
    assert_eq!(stored.cid, record(8).cid);
    assert_eq!(repos.usage(&did()).unwrap().records, 250);

    // It goes on from there, and what the rows hold keeps the records.
    let write = Write {
        path: path(7),
        kind: WriteKind::Delete,
        record: None,
        swap: None,
    };
    repos.apply_writes(&did(), vec![write], None).await.unwrap();
    assert_eq!(problems(&repos), Vec::<String>::new());
    let (again, _) = repos.repair(&did(), store.batch()).await.unwrap();
    assert_eq!((again.records, again.rebuilt, again.removed), (249, 0, 0));
    folder.close(store, repos).await;
    let store = folder.open();
    assert_eq!(problems(&folder.repos(&store)), Vec::<String>::new());
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_lost_is_told_and_nothing_changed() {
    let folder = Folder::new(20).await;
    let store = folder.open();
    let repos = folder.repos(&store);
    let head = repos.head(&did()).unwrap().unwrap();
    let rows = store.keyspace("repo_records").unwrap();
    let mut batch = store.batch();
    batch.delete(&rows, record_key(head.content, path(3).as_str()));
    batch.release_block(
        record(5).cid.hash(),
        record_ref(head.content, path(5).as_str()),
    );
    store.commit(batch).await.unwrap();
    let collecting = store.clone();
    let collected = tokio::task::spawn_blocking(move || collecting.collect(u64::MAX));
    collected.await.unwrap().unwrap();
    assert!(store.block(record(5).cid.hash()).unwrap().is_none());
    let before = (problems(&repos), store.log().last_durable());
    let refused = repos.repair(&did(), store.batch()).await.unwrap_err();
    assert!(matches!(refused, WriteError::Damaged { .. }), "{refused}");
    assert!(refused.to_string().contains("0005"), "{refused}");
    assert_eq!((problems(&repos), store.log().last_durable()), before);

    let (did, status) = (did(), Status::Takendown);
    repos.set_status(&did, status, store.batch()).await.unwrap();
    let refused = repos.repair(&did, store.batch()).await.unwrap_err();
    assert!(
        matches!(refused, WriteError::Inactive(Status::Takendown)),
        "{refused}"
    );
}
