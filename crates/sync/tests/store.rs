//! Logs in real stores: what was deleted is gone from the blocks once the log is compacted.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    reason = "a test may panic"
)]

use std::collections::BTreeMap;
use std::sync::Arc;

use ues_data::{Cid, Ipld};
use ues_repo::crypto::{KeyKind, SigningKey};
use ues_repo::repo::write::{Record, RecordPath, Write, WriteKind};
use ues_repo::repo::{KeySource, KeySourceError, Repositories};
use ues_repo::syntax::Did;
use ues_storage::{Store, StoreOptions};
use ues_sync::clock::VectorClock;
use ues_sync::log::Replica;
use ues_sync::protocol::file::{Export, FileReader, Import, ImportAction, Report};
use ues_sync::protocol::{Copy, floor_archive};
use ues_sync::store::{CompactPolicy, Compacted, Replicas};

struct OneKey(Arc<SigningKey>);

impl KeySource for OneKey {
    fn signing_key(&self, _: &Did) -> Result<Option<Arc<SigningKey>>, KeySourceError> {
        Ok(Some(Arc::clone(&self.0)))
    }
}

struct Node {
    _dir: tempfile::TempDir,
    repos: Repositories,
    replicas: Replicas,
}

fn did() -> Did {
    Did::parse("did:plc:ewvi7nxzyoun6zhxrhs64oiz").unwrap()
}

fn path(rkey: &str) -> RecordPath {
    RecordPath::parse(&format!("com.example.note/{rkey}")).unwrap()
}

fn record(text: &str) -> Record {
    let map = [("$type", "com.example.note"), ("text", text)];
    let map: BTreeMap<String, Ipld> = map
        .into_iter()
        .map(|(key, value)| (key.to_owned(), Ipld::String(value.to_owned())))
        .collect();
    let bytes = ues_data::dag_cbor::encode(&Ipld::Map(map)).unwrap();
    Record::new(bytes.into(), Vec::new())
}

impl Node {
    /// `key` signs the commits: on the first device it is the repository's own.
    async fn new(key: &Arc<SigningKey>, device: SigningKey) -> Self {
        let dir = tempfile::tempdir().unwrap();
        let store = Store::open(dir.path(), StoreOptions::default()).unwrap();
        let keys = Arc::new(OneKey(Arc::clone(key)));
        let repos = Repositories::open(store, Arc::clone(&keys) as Arc<dyn KeySource>).unwrap();
        let batch = repos.store().batch();
        repos.create(&did(), key, batch, Vec::new()).await.unwrap();
        let replicas = Replicas::open(repos.clone(), keys, device).unwrap();
        Self {
            _dir: dir,
            repos,
            replicas,
        }
    }

    async fn write(&self, rkey: &str, text: Option<&str>) -> Option<Cid> {
        let record = text.map(record);
        let cid = record.as_ref().map(|record| record.cid);
        let write = Write {
            path: path(rkey),
            kind: match text {
                Some(_) => WriteKind::Put,
                None => WriteKind::Delete,
            },
            record,
            swap: None,
        };
        self.repos
            .apply_writes(&did(), vec![write], None)
            .await
            .unwrap();
        cid
    }

    async fn compact(&self, now: bool) -> Compacted {
        let policy = CompactPolicy {
            away_ms: 86_400_000,
            now,
        };
        let done = self.replicas.compact(&did(), policy).await.unwrap();
        while self.repos.store().collect(u64::MAX).unwrap().freed > 0 {}
        done
    }

    fn has_block(&self, cid: &Cid) -> bool {
        self.repos.store().block(cid.hash()).unwrap().is_some()
    }

    fn records(&self) -> Cid {
        self.repos.head(&did()).unwrap().unwrap().data
    }

    fn file(&self) -> Vec<u8> {
        let copy = self.replicas.copy(&did());
        let archive = floor_archive(&copy).unwrap();
        let mut export = Export::new(VectorClock::default(), archive);
        let mut out = Vec::new();
        while let Some(piece) = export.next(&copy).unwrap() {
            out.extend_from_slice(&piece);
        }
        out
    }

    async fn take(&self, file: &[u8]) -> Report {
        let mut reader = FileReader::default();
        reader.push(file);
        let mut import = Import::default();
        while let Some(frame) = reader.next().unwrap() {
            let taken = match import.receive(frame).unwrap() {
                ImportAction::Nothing | ImportAction::Begin(_) => continue,
                ImportAction::Snapshot(archive) => {
                    self.replicas.rebase(&did(), archive).await.unwrap();
                    continue;
                }
                ImportAction::Admit(batch) => self.replicas.admit(&did(), batch).await,
                ImportAction::AdmitProofs(p) => self.replicas.admit_proofs(&did(), p).await,
            };
            import.taken(&taken.unwrap());
        }
        import.finish(&self.replicas.copy(&did())).unwrap()
    }
}

/// Two devices with one repository; the first has its key.
async fn two() -> (Node, Node) {
    let root = Arc::new(SigningKey::generate(KeyKind::K256).unwrap());
    let device = || SigningKey::generate(KeyKind::Ed25519).unwrap();
    let home = Node::new(&root, device()).await;
    home.write("before", Some("from before the log")).await;
    let key = device();
    let boat = Node::new(&Arc::new(key.clone()), key.clone()).await;
    home.replicas
        .grant(&did(), key.verifying_key(), "boat")
        .await
        .unwrap();
    let archive = home.replicas.snapshot(&did()).await.unwrap();
    boat.replicas
        .restore(&did(), root.verifying_key(), archive)
        .await
        .unwrap();
    (home, boat)
}

#[tokio::test(flavor = "multi_thread")]
async fn deleted_content_is_gone_from_the_blocks_of_each_device() {
    let (home, boat) = two().await;
    let before = record("from before the log").cid;
    let secret = home
        .write("secret", Some("nobody shall read this again"))
        .await
        .unwrap();
    let old = home.write("list", Some("an old version")).await.unwrap();
    boat.take(&home.file()).await;
    home.write("secret", None).await;
    home.write("before", None).await;
    let new = home.write("list", Some("the new version")).await.unwrap();
    // The boat has not said that it has the snapshot: all of it stays.
    let waiting = home.compact(false).await;
    assert_eq!(waiting.waiting_for.len(), 1);
    for cid in [&secret, &old, &before] {
        assert!(home.has_block(cid) && boat.has_block(cid));
    }
    assert!(boat.take(&home.file()).await.equal);
    boat.write("ahoy", Some("I have it")).await;
    assert!(home.take(&boat.file()).await.equal);
    home.write("noted", Some("so have I")).await;
    assert!(boat.take(&home.file()).await.equal);
    for node in [&home, &boat] {
        let done = node.compact(false).await;
        assert!(done.dropped > 0, "{done:?}");
        for cid in [&secret, &old, &before] {
            assert!(!node.has_block(cid), "{cid} is still there");
        }
        assert!(node.has_block(&new));
        let report = node.repos.store().check(&mut |_| {}).unwrap();
        assert_eq!(report.damage_count, 0, "{:?}", report.damage);
    }
    assert_eq!(home.records(), boat.records());
}

#[tokio::test(flavor = "multi_thread")]
async fn who_was_away_catches_up_and_keeps_what_it_wrote() {
    let (home, boat) = two().await;
    let kept = boat.write("far", Some("written far away")).await.unwrap();
    for n in 0..30 {
        home.write("often", Some(&format!("version {n}"))).await;
    }
    home.write("before", None).await;
    let done = home.compact(true).await;
    assert!(done.dropped >= 29, "{done:?}");
    boat.take(&home.file()).await;
    let floor = |node: &Node| {
        node.replicas
            .copy(&did())
            .replica()
            .and_then(Replica::floor)
    };
    assert_eq!(floor(&boat), floor(&home));
    assert!(home.take(&boat.file()).await.equal);
    assert_eq!(home.records(), boat.records());
    for node in [&home, &boat] {
        assert!(node.has_block(&kept));
        let found = node
            .repos
            .get_record(&did(), &path("far"))
            .unwrap()
            .unwrap();
        assert_eq!(found.cid, kept);
        assert!(
            node.repos
                .get_record(&did(), &path("before"))
                .unwrap()
                .is_none()
        );
        let report = node.repos.store().check(&mut |_| {}).unwrap();
        assert_eq!(report.damage_count, 0, "{:?}", report.damage);
    }
    // It goes on from there.
    boat.write("far", Some("and on")).await;
    assert!(home.take(&boat.file()).await.equal);
    assert_eq!(home.records(), boat.records());
}
