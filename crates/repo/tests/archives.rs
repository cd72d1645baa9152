//! Archives that many read at once: the same bytes as an export gives, whatever happens meanwhile.
#![allow(clippy::unwrap_used, clippy::panic)]

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::{Duration, Instant};

use ues_data::Ipld;
use ues_repo::crypto::{KeyKind, SigningKey};
use ues_repo::repo::write::{Record, RecordPath, Write, WriteKind};
use ues_repo::repo::{
    ArchiveError, ArchiveId, ArchiveReader, Archives, KeySource, KeySourceError, Repositories,
};
use ues_repo::syntax::Did;
use ues_storage::{Store, StoreOptions};

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

    /// A repository of some records of 64 KiB.
    async fn with(records: u32) -> Self {
        let this = Self::new().await;
        for n in 0..records {
            this.put(n, "0").await;
        }
        this
    }

    async fn put(&self, n: u32, text: &str) {
        let map = BTreeMap::from([
            ("$type".to_owned(), Ipld::String("com.example.page".into())),
            ("text".to_owned(), Ipld::String(text.repeat(64 << 10))),
            ("n".to_owned(), Ipld::Integer(n.into())),
        ]);
        let bytes = ues_data::dag_cbor::encode(&Ipld::Map(map)).unwrap();
        let write = Write {
            path: RecordPath::parse(&format!("com.example.page/{n:04}")).unwrap(),
            kind: WriteKind::Put,
            record: Some(Record::new(bytes.into(), Vec::new())),
            swap: None,
        };
        self.repos
            .apply_writes(&self.did, vec![write], None)
            .await
            .unwrap();
    }

    fn export(&self) -> Vec<u8> {
        let pieces = self.repos.export(&self.did, None).unwrap();
        pieces.flat_map(Result::unwrap).collect()
    }

    fn id(&self) -> ArchiveId {
        ArchiveId {
            root: self.repos.head(&self.did).unwrap().unwrap().commit,
            since: None,
            without: Vec::new(),
        }
    }

    async fn read(&self, archives: &Archives) -> Result<ArchiveReader, ArchiveError> {
        let (repos, did) = (self.repos.clone(), self.did.clone());
        let export = move || repos.export(&did, None);
        archives.read(self.id(), export).await
    }

    fn archives(&self, limit: u64) -> Archives {
        Archives::new(self.repos.store().clone(), limit)
    }
}

async fn rest(reader: &mut ArchiveReader) -> Vec<u8> {
    let mut out = Vec::new();
    while let Some(piece) = reader.next().await {
        out.extend_from_slice(&piece.unwrap());
    }
    out
}

async fn until(what: impl Fn() -> bool) {
    let begun = Instant::now();
    while !what() {
        assert!(begun.elapsed() < Duration::from_secs(60));
        tokio::time::sleep(Duration::from_millis(1)).await;
    }
}

#[tokio::test]
async fn a_small_archive_takes_no_file() {
    let f = Fixture::with(3).await;
    let archives = f.archives(1 << 30);
    let mut reader = f.read(&archives).await.unwrap();
    let expected = f.export();
    assert_eq!(reader.length(), Some(expected.len() as u64));
    assert_eq!(rest(&mut reader).await, expected);
    assert!(reader.next().await.is_none());
    assert_eq!(archives.bytes(), 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn all_who_read_one_state_share_a_file() {
    let f = Arc::new(Fixture::with(60).await);
    let archives = f.archives(1 << 30);
    let expected = f.export();
    let readers = (0..8).map(|_| {
        let (f, archives) = (Arc::clone(&f), archives.clone());
        tokio::spawn(async move { rest(&mut f.read(&archives).await.unwrap()).await })
    });
    for read in futures::future::join_all(readers).await {
        assert!(read.unwrap() == expected);
    }
    assert_eq!(archives.bytes(), expected.len() as u64);
    let mut again = f.read(&archives).await.unwrap();
    assert_eq!(again.length(), Some(expected.len() as u64));
    assert!(rest(&mut again).await == expected);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_slow_reader_gets_the_state_that_was_asked_for() {
    let f = Fixture::with(60).await;
    let archives = f.archives(1 << 30);
    let expected = f.export();
    let mut slow = f.read(&archives).await.unwrap();
    let mut got = slow.next().await.unwrap().unwrap().to_vec();
    until(|| archives.bytes() == expected.len() as u64).await;
    for n in 0..60 {
        f.put(n, "1").await;
    }
    let mut newer = f.read(&archives).await.unwrap();
    assert!(rest(&mut newer).await == f.export());
    assert!(f.export() != expected);
    got.extend(rest(&mut slow).await);
    assert!(got == expected);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_not_read_makes_room_and_what_is_read_does_not() {
    let f = Fixture::with(40).await;
    let archives = f.archives(1);
    let expected = f.export();
    let mut first = f.read(&archives).await.unwrap();
    let mut got = first.next().await.unwrap().unwrap().to_vec();
    until(|| archives.bytes() == expected.len() as u64).await;
    f.put(0, "1").await;
    let refused = f.read(&archives).await.err();
    assert!(matches!(refused, Some(ArchiveError::Busy)), "{refused:?}");
    // The same state again costs nothing.
    got.extend(rest(&mut first).await);
    assert!(got == expected);
    drop(first);
    let now = f.export();
    let mut second = f.read(&archives).await.unwrap();
    assert!(rest(&mut second).await == now);
    assert_eq!(archives.bytes(), now.len() as u64);
}

#[tokio::test(flavor = "multi_thread")]
async fn an_archive_that_nobody_reads_to_its_end_is_given_up() {
    let f = Fixture::with(200).await;
    let archives = f.archives(1 << 30);
    drop(f.read(&archives).await.unwrap());
    // Whether it was whole by then or not, the next reader gets all of it.
    let mut reader = f.read(&archives).await.unwrap();
    assert!(rest(&mut reader).await == f.export());
}

#[tokio::test]
async fn a_repository_that_is_not_there_is_refused() {
    let f = Fixture::new().await;
    let id = f.id();
    let (repos, nobody) = (f.repos.clone(), Did::parse("did:web:nobody.test").unwrap());
    let export = move || repos.export(&nobody, None);
    let refused = f.archives(1 << 30).read(id, export).await.err();
    assert!(
        matches!(refused, Some(ArchiveError::Repo(_))),
        "{refused:?}"
    );
}
