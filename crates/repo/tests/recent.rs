//! Records that are newer than a revision.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    reason = "a test fails by panicking"
)]

use std::collections::BTreeMap;
use std::sync::Arc;

use ues_data::Ipld;
use ues_repo::crypto::{KeyKind, SigningKey};
use ues_repo::repo::write::{Record, RecordPath, Write, WriteKind};
use ues_repo::repo::{KeySource, KeySourceError, Recent, Repositories};
use ues_repo::syntax::{Did, Tid};
use ues_storage::{Store, StoreOptions};

const POST: &str = "app.bsky.feed.post";
const PROFILE: &str = "app.bsky.actor.profile/self";

struct OneKey(Arc<SigningKey>);

impl KeySource for OneKey {
    fn signing_key(&self, _: &Did) -> Result<Option<Arc<SigningKey>>, KeySourceError> {
        Ok(Some(Arc::clone(&self.0)))
    }
}

struct Fixture {
    _dir: tempfile::TempDir,
    repos: Repositories,
    did: Did,
}

impl Fixture {
    async fn new() -> Self {
        let dir = tempfile::tempdir().unwrap();
        let store = Store::open(dir.path(), StoreOptions::default()).unwrap();
        let key = Arc::new(SigningKey::generate(KeyKind::K256).unwrap());
        let repos = Repositories::open(store, Arc::new(OneKey(Arc::clone(&key)))).unwrap();
        let did = Did::parse("did:plc:ewvi7nxzyoun6zhxrhs64oiz").unwrap();
        let batch = repos.store().batch();
        repos.create(&did, &key, batch, Vec::new()).await.unwrap();
        Self {
            _dir: dir,
            repos,
            did,
        }
    }

    async fn put(&self, path: &str, text: &str) -> Tid {
        let map = BTreeMap::from([("text".to_owned(), Ipld::String(text.into()))]);
        let bytes = ues_data::dag_cbor::encode(&Ipld::Map(map)).unwrap();
        let write = Write {
            path: RecordPath::parse(path).unwrap(),
            kind: WriteKind::Put,
            record: Some(Record::new(bytes.into(), Vec::new())),
            swap: None,
        };
        self.repos
            .apply_writes(&self.did, vec![write], None)
            .await
            .unwrap();
        self.repos.head(&self.did).unwrap().unwrap().rev
    }

    fn recent(&self, since: &Tid) -> Recent {
        self.repos
            .recent(&self.did, since, PROFILE, POST, 10)
            .unwrap()
    }
}

fn paths(found: &[(String, ues_repo::repo::StoredRecord)]) -> Vec<&str> {
    found.iter().map(|(path, _)| path.as_str()).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn newer_than_a_revision() {
    let f = Fixture::new().await;
    let first = f.put(&format!("{POST}/3jzfcijpj2z2a"), "one").await;
    assert!(f.recent(&first).is_empty());
    f.put("app.bsky.feed.postgate/3jzfcijpj2z2a", "no post")
        .await;
    assert!(
        f.recent(&first).is_empty(),
        "other collections do not count"
    );
    let second = f.put(&format!("{POST}/3jzfcijpj2z2c"), "three").await;
    f.put(&format!("{POST}/3jzfcijpj2z2b"), "two").await;
    f.put(PROFILE, "me").await;
    let recent = f.recent(&first);
    assert_eq!(paths(&recent.paths), [PROFILE]);
    let by_revision = [
        format!("{POST}/3jzfcijpj2z2c"),
        format!("{POST}/3jzfcijpj2z2b"),
    ];
    assert_eq!(paths(&recent.collection), by_revision);
    assert_eq!(paths(&f.recent(&second).collection), by_revision[1..]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_revision_of_another_repository_says_nothing() {
    let f = Fixture::new().await;
    f.put(&format!("{POST}/3jzfcijpj2z2a"), "one").await;
    assert!(f.recent(&Tid::parse("2222222222222").unwrap()).is_empty());
}
