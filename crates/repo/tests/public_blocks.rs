//! What of a repository everybody may have, and which of its blobs are missing.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    reason = "a test may panic"
)]

use std::sync::Arc;

use ues_data::{Cid, Ipld, dag_cbor, raw_cid};
use ues_repo::crypto::{KeyKind, SigningKey};
use ues_repo::repo::blobs::BlobMeta;
use ues_repo::repo::layout::Status;
use ues_repo::repo::write::{Record, RecordPath};
use ues_repo::repo::{BlobIntakeError, KeySource, KeySourceError, Repositories, blobs_in};
use ues_repo::syntax::Did;
use ues_storage::engine::MemoryEngine;
use ues_storage::{Store, StoreOptions};

const MAX: u64 = 2 << 20;

struct OneKey(Arc<SigningKey>);

impl KeySource for OneKey {
    fn signing_key(&self, _: &Did) -> Result<Option<Arc<SigningKey>>, KeySourceError> {
        Ok(Some(Arc::clone(&self.0)))
    }
}

struct Fixture {
    store: Store,
    key: Arc<SigningKey>,
    repos: Repositories,
    did: Did,
}

impl Fixture {
    async fn new() -> Self {
        let store = Store::with_engine(Arc::new(MemoryEngine::new()), StoreOptions::default());
        let store = store.unwrap();
        let key = Arc::new(SigningKey::generate(KeyKind::K256).unwrap());
        let repos = Repositories::open(store.clone(), Arc::new(OneKey(Arc::clone(&key)))).unwrap();
        let did = Did::parse("did:plc:ewvi7nxzyoun6zhxrhs64oiz").unwrap();
        let created = repos.create(&did, &key, store.batch(), Vec::new());
        created.await.unwrap();
        Self {
            store,
            key,
            repos,
            did,
        }
    }

    /// Sets a record that refers to a blob, or removes it.
    async fn put(&self, rkey: &str, record: Option<Record>) {
        let path = RecordPath::parse(&format!("com.example.note/{rkey}")).unwrap();
        let put = |_: &_, _: &mut _| Ok(vec![(path, record)]);
        self.repos.merge(&self.did, put).await.unwrap();
    }

    async fn upload(&self, content: &[u8]) {
        let owner = self.repos.head(&self.did).unwrap().unwrap().owner;
        let mut intake = self.repos.blob_intake(owner);
        intake.push(content).unwrap();
        let stored = intake.finish_as(&raw_cid(content)).unwrap();
        let meta = BlobMeta::of(&stored, "text/plain".to_owned(), 1);
        let entered = self.repos.enter_blob(&self.did, owner, &meta);
        entered.await.unwrap();
    }

    fn is_public(&self, cid: &Cid) -> bool {
        let has = self
            .repos
            .has_public_block(cid.hash(), MAX, &|_, _| false)
            .unwrap();
        let bytes = self
            .repos
            .public_block(cid.hash(), MAX, &|_, _| false)
            .unwrap();
        assert_eq!(bytes.is_some(), has);
        has
    }

    fn missing(&self) -> Vec<Cid> {
        let missing = self.repos.missing_blobs(&self.did, None, 10).unwrap();
        let count = self.repos.count_missing_blobs(&self.did).unwrap();
        assert_eq!(missing.len() as u64, count);
        missing.into_iter().map(|(cid, _)| cid).collect()
    }
}

/// A record that refers to a blob with this content.
fn note(content: &[u8]) -> Record {
    let map = |pairs: Vec<(&str, Ipld)>| {
        Ipld::Map(pairs.into_iter().map(|(k, v)| (k.to_owned(), v)).collect())
    };
    let text = |text: &str| Ipld::String(text.to_owned());
    let blob = map(vec![
        ("$type", text("blob")),
        ("ref", Ipld::Link(raw_cid(content))),
        ("mimeType", text("text/plain")),
        ("size", Ipld::Integer(content.len() as i128)),
    ]);
    let record = map(vec![("$type", text("com.example.note")), ("file", blob)]);
    let bytes = dag_cbor::encode(&record).unwrap().into();
    let blobs = blobs_in(&bytes);
    Record::new(bytes, blobs)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_is_public_follows_the_state_of_the_repository() {
    let it = Fixture::new().await;
    let (content, record) = (b"a blob".as_slice(), note(b"a blob"));
    let (blob, cid) = (raw_cid(content), record.cid);
    it.upload(content).await;
    assert!(!it.is_public(&blob), "no record refers to it");
    it.put("one", Some(record.clone())).await;
    assert!(it.is_public(&blob) && it.is_public(&cid));
    let commit = it.repos.head(&it.did).unwrap().unwrap().commit;
    assert!(it.is_public(&commit));
    let bytes = it
        .repos
        .public_block(blob.hash(), MAX, &|_, _| false)
        .unwrap()
        .unwrap();
    assert_eq!(bytes, content);
    let too_large = it
        .repos
        .public_block(blob.hash(), 5, &|_, _| false)
        .unwrap();
    assert_eq!(too_large, None);

    for status in [Status::Deactivated, Status::Takendown, Status::Suspended] {
        it.repos
            .set_status(&it.did, status, it.store.batch())
            .await
            .unwrap();
        assert!(!it.is_public(&blob) && !it.is_public(&cid), "{status:?}");
    }
    it.repos
        .set_status(&it.did, Status::Active, it.store.batch())
        .await
        .unwrap();
    assert!(it.is_public(&blob) && it.is_public(&cid));

    it.put("one", None).await;
    assert!(!it.is_public(&blob) && !it.is_public(&cid) && !it.is_public(&commit));
    it.put("one", Some(record)).await;
    it.repos.delete(&it.did, it.store.batch()).await.unwrap();
    assert!(!it.is_public(&blob) && !it.is_public(&cid));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_records_name_and_is_not_here_is_missing() {
    let it = Fixture::new().await;
    let [one, two] = [b"one".as_slice(), b"two".as_slice()];
    it.put("one", Some(note(one))).await;
    it.put("two", Some(note(two))).await;
    it.put("again", Some(note(two))).await;
    let mut both = [raw_cid(one), raw_cid(two)];
    both.sort_by_key(|cid| cid.hash().to_bytes());
    assert_eq!(it.missing(), both);
    let after = it.repos.missing_blobs(&it.did, Some(&both[0]), 10).unwrap();
    assert_eq!(after[0].0, both[1]);
    it.upload(one).await;
    assert_eq!(it.missing(), [raw_cid(two)]);

    // A store that an older version wrote gets its indexes.
    for name in ["repo_blob_owners", "repo_blobs_missing"] {
        let rows = it.store.keyspace(name).unwrap();
        let mut batch = it.store.batch();
        for row in rows.prefix([]) {
            batch.delete(&rows, row.unwrap().0);
        }
        it.store.commit(batch).await.unwrap();
    }
    assert_eq!(it.missing(), []);
    assert!(!it.is_public(&raw_cid(one)));
    let keys = Arc::new(OneKey(Arc::clone(&it.key)));
    let again = Repositories::open(it.store.clone(), keys).unwrap();
    let it = Fixture { repos: again, ..it };
    assert_eq!(it.missing(), [raw_cid(two)]);
    assert!(it.is_public(&raw_cid(one)));

    it.put("two", None).await;
    assert_eq!(it.missing(), [raw_cid(two)], "another record names it");
    it.put("again", None).await;
    assert_eq!(it.missing(), []);
    // What came while its last record went is entered, and named by nobody.
    it.put("one", None).await;
    assert!(!it.is_public(&raw_cid(one)));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn other_bytes_than_the_cid_says_are_refused_and_freed() {
    let it = Fixture::new().await;
    let owner = it.repos.head(&it.did).unwrap().unwrap().owner;
    let mut intake = it.repos.blob_intake(owner);
    intake.push(&[7; 3_000_000]).unwrap();
    assert_eq!(intake.size(), 3_000_000);
    let finished = tokio::task::spawn_blocking(move || intake.finish_as(&raw_cid(b"another")));
    let refused = finished.await.unwrap().unwrap_err();
    assert!(matches!(refused, BlobIntakeError::Mismatch { .. }));
    let report = it.store.check(&mut |_| ()).unwrap();
    assert!(report.is_sound(), "{:?}", report.damage);
}
