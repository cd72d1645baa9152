//! Repositories in a store in memory, archives, and what must be true of a store in which nothing was left behind.

use std::collections::{BTreeMap, BTreeSet};
use std::io::Cursor;
use std::sync::Arc;

use ues_data::{Cid, Ipld, dag_cbor};
use ues_repo::crypto::{KeyKind, SigningKey};
use ues_repo::repo::blobs::BlobMeta;
use ues_repo::repo::write::{Record, RecordPath, Write, WriteError, WriteKind};
use ues_repo::repo::{Imported, KeySource, KeySourceError, Repositories, Room};
use ues_repo::syntax::Did;
use ues_storage::engine::MemoryEngine;
use ues_storage::{Store, StoreOptions};

pub type Records = BTreeMap<String, Record>;

struct OneKey(Arc<SigningKey>);

impl KeySource for OneKey {
    fn signing_key(&self, _: &Did) -> Result<Option<Arc<SigningKey>>, KeySourceError> {
        Ok(Some(Arc::clone(&self.0)))
    }
}

pub fn did() -> Did {
    Did::parse("did:plc:ewvi7nxzyoun6zhxrhs64oiz").unwrap()
}

pub fn key() -> Arc<SigningKey> {
    Arc::new(SigningKey::generate(KeyKind::P256).unwrap())
}

/// A store without work in the background, so that a run does the same calls every time.
pub fn store(engine: &MemoryEngine) -> Store {
    let options = StoreOptions {
        housekeeping: None,
        ..StoreOptions::default()
    };
    Store::with_engine(Arc::new(engine.clone()), options).unwrap()
}

pub fn open(store: &Store, key: &Arc<SigningKey>) -> Repositories {
    Repositories::open(store.clone(), Arc::new(OneKey(Arc::clone(key)))).unwrap()
}

/// A store with one repository.
pub async fn repository(engine: &MemoryEngine, key: &Arc<SigningKey>) -> Repositories {
    let repos = open(&store(engine), key);
    let batch = repos.store().batch();
    repos.create(&did(), key, batch, Vec::new()).await.unwrap();
    repos
}

/// A record of so many bytes that nothing makes smaller, another for each `n`.
pub fn record(n: u64, length: usize, blob: Option<Cid>) -> Record {
    let mut noise = vec![0; length];
    blake3::Hasher::new()
        .update(&n.to_be_bytes())
        .finalize_xof()
        .fill(&mut noise);
    let mut map = vec![
        ("n".to_owned(), Ipld::Integer(n.into())),
        ("noise".to_owned(), Ipld::Bytes(noise)),
    ];
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

/// A like of post `n`.
pub fn like(n: u64) -> Record {
    let uri = format!("at://did:plc:author/app.bsky.feed.post/{n}");
    let subject = Ipld::Map([("uri".to_owned(), Ipld::String(uri))].into());
    let kind = Ipld::String("app.bsky.feed.like".into());
    let map = [("$type".to_owned(), kind), ("subject".to_owned(), subject)];
    Record::new(
        dag_cbor::encode(&Ipld::Map(map.into())).unwrap().into(),
        Vec::new(),
    )
}

pub fn note(n: u64) -> String {
    format!("com.example.note/r{n:06}")
}

pub async fn put(repos: &Repositories, path: &str, record: Option<Record>) {
    let write = Write {
        path: RecordPath::parse(path).unwrap(),
        kind: match record {
            Some(_) => WriteKind::Put,
            None => WriteKind::DeleteIfPresent,
        },
        record,
        swap: None,
    };
    let applied = repos.apply_writes(&did(), vec![write], None).await;
    applied.unwrap();
}

pub async fn upload(repos: &Repositories, content: &[u8]) -> Cid {
    let owner = repos.head(&did()).unwrap().unwrap().owner;
    let mut intake = repos.blob_intake(owner);
    intake.push(content).unwrap();
    let stored = intake.finish().unwrap();
    let meta = BlobMeta::of(&stored, "text/plain".to_owned(), 1);
    repos.enter_blob(&did(), owner, &meta).await.unwrap();
    stored.cid
}

/// An archive with these records, made by building the tree and nothing else.
pub fn archive(records: &Records) -> Vec<u8> {
    archive_without(records, None)
}

/// The same without one of the blocks.
pub fn archive_without(records: &Records, missing: Option<Cid>) -> Vec<u8> {
    let mut tree = ues_data::mst::Tree::empty();
    let none = ues_data::source::NoBlocks;
    for (path, record) in records {
        tree.put(&none, path.as_bytes(), &record.cid).unwrap();
    }
    let flush = tree.flush();
    let rev = ues_repo::syntax::TidClock::random().tick();
    let commit = ues_repo::repo::commit::Commit::sign(&did(), flush.root, &rev, &key());
    let (cid, bytes) = commit.encode();
    let mut out = Vec::new();
    ues_data::car::write_header(&[cid], &mut out);
    ues_data::car::write_block(&cid, &bytes, &mut out);
    for (cid, node) in &flush.new {
        ues_data::car::write_block(cid, node, &mut out);
    }
    for record in records.values().filter(|r| Some(r.cid) != missing) {
        ues_data::car::write_block(&record.cid, &record.bytes, &mut out);
    }
    out
}

pub async fn import(repos: &Repositories, archive: &[u8]) -> Result<Imported, WriteError> {
    import_within(repos, archive, Room::default()).await
}

pub async fn import_within(
    repos: &Repositories,
    archive: &[u8],
    room: Room,
) -> Result<Imported, WriteError> {
    let input = Cursor::new(archive.to_vec());
    repos.import_within(&did(), input, room).await
}

pub fn records_of(repos: &Repositories) -> BTreeMap<String, Cid> {
    let records = repos.records(&did()).unwrap();
    records
        .map(|row| row.map(|(path, record)| (path, record.cid)).unwrap())
        .collect()
}

pub fn cids(records: &Records) -> BTreeMap<String, Cid> {
    let cid = |(path, record): (&String, &Record)| (path.clone(), record.cid);
    records.iter().map(cid).collect()
}

fn rows(store: &Store, keyspace: &'static str) -> Vec<Vec<u8>> {
    let rows = store.keyspace(keyspace).unwrap().prefix([]);
    rows.map(|row| row.unwrap().0.to_vec()).collect()
}

/// Frees what nobody holds.
pub fn collect(store: &Store) {
    // A check brings all to where the collector looks.
    store.check(&mut |_| ()).unwrap();
    while store.collect(1 << 20).unwrap().freed > 0 {}
}

/// Sound, and without a row or a block that is not the repository's.
pub fn is_clean(repos: &Repositories) {
    let store = repos.store();
    let report = repos.check(&did(), &mut |_| ()).unwrap();
    assert_eq!(report.problems, [""; 0]);
    let head = repos.head(&did()).unwrap().unwrap();
    let usage = repos.usage(&did()).unwrap();
    assert_eq!(rows(store, "repo_loose"), [[0; 0]; 0]);
    let numbers: BTreeSet<_> = [head.owner, head.content]
        .map(|number| number.to_be_bytes().to_vec())
        .into();
    let owners: BTreeSet<_> = rows(store, "repo_owners").into_iter().collect();
    assert_eq!(owners, numbers);
    assert_eq!(rows(store, "repo_records").len() as u64, usage.records);
    for keyspace in ["repo_blob_refs", "repo_blobs_missing", "repo_subjects"] {
        for row in rows(store, keyspace) {
            assert_eq!(row[..8], head.content.to_be_bytes(), "{keyspace}");
        }
    }
    repos.empty_blob_trash().unwrap();
    collect(store);
    let found = store.check(&mut |_| ()).unwrap();
    assert!(found.is_sound(), "{found:?}");
    // Each blob of these tests is one block, and no two records are the same.
    let distinct: BTreeSet<_> = records_of(repos).into_values().collect();
    let blocks = 1 + report.nodes + distinct.len() as u64 + report.blobs;
    assert_eq!(found.blocks - found.awaiting_collection, blocks);
}
