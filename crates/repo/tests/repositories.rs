//! Repositories on a real store: writing, reading, proving, moving, deleting.
#![allow(clippy::unwrap_used, clippy::panic)]

use std::collections::BTreeMap;
use std::sync::Arc;

use bytes::Bytes;
use ues_data::car::{CarLimits, CarReader};
use ues_data::mst::{Preorder, PreorderItem};
use ues_data::{Cid, Ipld};
use ues_repo::crypto::{KeyKind, SigningKey};
use ues_repo::repo::event::{Action, Frame, LogEvent, RepoOp, commit_counts, frame};
use ues_repo::repo::layout::Status;
use ues_repo::repo::verify::Archive;
use ues_repo::repo::write::{Outcome, Record, RecordPath, Write, WriteError, WriteKind};
use ues_repo::repo::{KeySource, KeySourceError, Order, Repositories};
use ues_repo::syntax::{Did, Tid};
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
    key: Arc<SigningKey>,
    did: Did,
}

async fn fixture() -> Fixture {
    let dir = tempfile::tempdir().unwrap();
    let store = Store::open(dir.path(), StoreOptions::default()).unwrap();
    let key = Arc::new(SigningKey::generate(KeyKind::K256).unwrap());
    let repos = Repositories::open(store, Arc::new(OneKey(Arc::clone(&key)))).unwrap();
    let did = Did::parse("did:plc:ewvi7nxzyoun6zhxrhs64oiz").unwrap();
    repos
        .create(&did, &key, repos.store().batch(), Vec::new())
        .await
        .unwrap();
    Fixture {
        _dir: dir,
        repos,
        key,
        did,
    }
}

fn record(text: &str) -> Record {
    let map = BTreeMap::from([
        (
            "$type".to_owned(),
            Ipld::String("app.bsky.feed.post".into()),
        ),
        ("text".to_owned(), Ipld::String(text.into())),
    ]);
    Record::new(
        ues_data::dag_cbor::encode(&Ipld::Map(map)).unwrap().into(),
        Vec::new(),
    )
}

fn path(rkey: &str) -> RecordPath {
    RecordPath::parse(&format!("app.bsky.feed.post/{rkey}")).unwrap()
}

fn write(kind: WriteKind, rkey: &str, text: Option<&str>) -> Write {
    Write {
        path: path(rkey),
        kind,
        record: text.map(record),
        swap: None,
    }
}

async fn put(f: &Fixture, rkey: &str, text: &str) -> Cid {
    let writes = vec![write(WriteKind::Put, rkey, Some(text))];
    f.repos
        .apply_writes(&f.did, writes, None)
        .await
        .unwrap()
        .commit
        .unwrap()
        .cid
}

fn export(f: &Fixture, since: Option<Tid>) -> Vec<u8> {
    let pieces: Result<Vec<Bytes>, _> = f.repos.export(&f.did, since).unwrap().collect();
    pieces.unwrap().concat()
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_written_is_read_and_verifies() {
    let f = fixture().await;
    put(&f, "aaa", "one").await;
    put(&f, "bbb", "two").await;
    let got = f.repos.get_record(&f.did, &path("bbb")).unwrap().unwrap();
    assert_eq!(got.bytes, record("two").bytes);
    let mut seen = Vec::new();
    let archive = Archive::read(&export(&f, None)[..], CarLimits::default()).unwrap();
    let verified = archive
        .verify(
            Some(f.key.verifying_key()),
            |p, _, _| seen.push(p.as_str().to_owned()),
            |_, _| (),
        )
        .unwrap();
    assert_eq!(seen, ["app.bsky.feed.post/aaa", "app.bsky.feed.post/bbb"]);
    assert!(verified.signature_checked);
    assert_eq!(
        verified.commit,
        f.repos.head(&f.did).unwrap().unwrap().commit
    );
    assert_eq!(
        f.repos.check(&f.did, &mut |_| ()).unwrap().problems,
        Vec::<String>::new()
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn kinds_of_write_are_refused_where_they_do_not_fit() {
    let f = fixture().await;
    put(&f, "aaa", "one").await;
    let head = f.repos.head(&f.did).unwrap();
    let refused = [
        write(WriteKind::Create, "aaa", Some("again")),
        write(WriteKind::Update, "zzz", Some("none")),
        write(WriteKind::Delete, "zzz", None),
        Write {
            swap: Some(None),
            ..write(WriteKind::Put, "aaa", Some("swap"))
        },
        Write {
            swap: Some(Some(record("x").cid)),
            ..write(WriteKind::Put, "aaa", Some("swap"))
        },
    ];
    for write in refused {
        // The first write of the request is good: all or nothing.
        let writes = vec![self::write(WriteKind::Put, "good", Some("good")), write];
        f.repos
            .apply_writes(&f.did, writes, None)
            .await
            .unwrap_err();
    }
    let stale = f
        .repos
        .apply_writes(&f.did, vec![], Some(record("x").cid))
        .await;
    assert!(matches!(stale, Err(WriteError::SwapCommit { .. })));
    assert_eq!(f.repos.head(&f.did).unwrap(), head);
    let same = f.repos.apply_writes(
        &f.did,
        vec![write(WriteKind::Put, "aaa", Some("one"))],
        None,
    );
    let same = same.await.unwrap();
    assert_eq!(same.commit, None);
    assert!(matches!(same.results[..], [Outcome::Unchanged(Some(_))]));
}

#[tokio::test(flavor = "multi_thread")]
async fn concurrent_writers_share_commits_and_lose_nothing() {
    let f = fixture().await;
    let mut tasks = Vec::new();
    for n in 0..500 {
        let (repos, did) = (f.repos.clone(), f.did.clone());
        tasks.push(tokio::spawn(async move {
            let w = write(
                WriteKind::Create,
                &format!("key{n:04}"),
                Some(&format!("text {n}")),
            );
            repos
                .apply_writes(&did, vec![w], None)
                .await
                .unwrap()
                .commit
                .unwrap()
        }));
    }
    let mut commits = std::collections::HashSet::new();
    for task in tasks {
        commits.insert(task.await.unwrap().cid);
    }
    assert!(
        commits.len() < 500,
        "writers that wait together share commits"
    );
    assert_eq!(f.repos.count_records(&f.did).unwrap(), 500);
    assert_eq!(f.repos.check(&f.did, &mut |_| ()).unwrap().records, 500);
    log_is_whole(&f);
}

/// Each event follows from the one before, and its blocks let a stranger undo it.
fn log_is_whole(f: &Fixture) {
    let log = f.repos.store().log();
    let mut rev: Option<Tid> = None;
    let mut data: Option<Cid> = None;
    let mut after = 0;
    loop {
        let events = log.read(after, 100, 1 << 20).unwrap();
        let Some(last) = events.last() else { break };
        for event in &events {
            assert_eq!(event.seq, after + 1, "no gap, no double");
            after = event.seq;
            frame(event.seq, &event.payload).unwrap();
            let LogEvent::Commit(commit) = LogEvent::decode(&event.payload).unwrap() else {
                continue;
            };
            assert_eq!(commit.since, rev);
            assert_eq!(commit.prev_data, data);
            let archive = Archive::read(&commit.blocks[..], CarLimits::default()).unwrap();
            let signed = archive.commit().unwrap();
            signed.verify(f.key.verifying_key()).unwrap();
            if let Some(prev) = data {
                let undone = ues_repo::repo::verify::invert(&archive, &commit).unwrap();
                assert_eq!(undone, prev);
            }
            (rev, data) = (Some(signed.rev), Some(signed.data));
        }
        assert_eq!(last.seq, after);
    }
    assert_eq!(data, Some(f.repos.head(&f.did).unwrap().unwrap().data));
}

#[tokio::test(flavor = "multi_thread")]
async fn random_histories_equal_a_map_and_invert() {
    let f = fixture().await;
    let mut model = BTreeMap::new();
    let mut seed = 7_u64;
    let mut random = move |n: u64| {
        seed = seed
            .wrapping_mul(6364136223846793005)
            .wrapping_add(1442695040888963407);
        (seed >> 33) % n
    };
    for round in 0..120 {
        let mut writes = Vec::new();
        for _ in 0..=random(8) {
            let rkey = format!("k{}", random(60));
            if writes.iter().any(|w: &Write| w.path == path(&rkey)) {
                continue;
            }
            if random(3) == 0 {
                writes.push(write(WriteKind::DeleteIfPresent, &rkey, None));
                model.remove(&rkey);
            } else {
                let text = format!("text {}", random(5));
                writes.push(write(WriteKind::Put, &rkey, Some(&text)));
                model.insert(rkey, record(&text).cid);
            }
        }
        f.repos.apply_writes(&f.did, writes, None).await.unwrap();
        if round % 40 == 39 {
            // Another process would see the same.
            assert_eq!(
                f.repos.check(&f.did, &mut |_| ()).unwrap().problems,
                Vec::<String>::new()
            );
        }
    }
    let listed = f
        .repos
        .list_records(&f.did, "app.bsky.feed.post", None, 1000, Order::Ascending)
        .unwrap()
        .into_iter()
        .map(|(rkey, r)| (rkey, r.cid))
        .collect::<BTreeMap<_, _>>();
    assert_eq!(listed, model);
    log_is_whole(&f);
}

#[tokio::test(flavor = "multi_thread")]
async fn lists_page_both_ways_and_name_collections() {
    let f = fixture().await;
    for n in 0..5 {
        put(&f, &format!("k{n}"), "x").await;
    }
    let follow = RecordPath::parse("app.bsky.graph.follow/self").unwrap();
    let w = Write {
        path: follow,
        kind: WriteKind::Put,
        record: Some(record("f")),
        swap: None,
    };
    f.repos.apply_writes(&f.did, vec![w], None).await.unwrap();
    let page = |after, order| {
        let rows = f
            .repos
            .list_records(&f.did, "app.bsky.feed.post", after, 2, order)
            .unwrap();
        rows.into_iter().map(|(k, _)| k).collect::<Vec<_>>()
    };
    assert_eq!(page(None, Order::Ascending), ["k0", "k1"]);
    assert_eq!(page(Some("k1"), Order::Ascending), ["k2", "k3"]);
    assert_eq!(page(None, Order::Descending), ["k4", "k3"]);
    assert_eq!(page(Some("k1"), Order::Descending), ["k0"]);
    assert_eq!(
        f.repos.collections(&f.did).unwrap(),
        ["app.bsky.feed.post", "app.bsky.graph.follow"]
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn an_export_imports_elsewhere_with_the_same_tree() {
    let (a, b) = (fixture().await, fixture().await);
    for n in 0..50 {
        put(&a, &format!("k{n}"), &format!("text {n}")).await;
    }
    put(&b, "k1", "text 1").await;
    put(&b, "zzz", "goes").await;
    let imported = b
        .repos
        .import(&b.did, std::io::Cursor::new(export(&a, None)))
        .await
        .unwrap();
    assert_eq!(imported.records, 50);
    let (ha, hb) = (
        a.repos.head(&a.did).unwrap().unwrap(),
        b.repos.head(&b.did).unwrap().unwrap(),
    );
    assert_eq!(ha.data, hb.data);
    assert_ne!(ha.commit, hb.commit);
    assert_eq!(b.repos.get_record(&b.did, &path("zzz")).unwrap(), None);
    assert_eq!(
        b.repos.check(&b.did, &mut |_| ()).unwrap().problems,
        Vec::<String>::new()
    );
    let archive = Archive::read(&export(&b, None)[..], CarLimits::default()).unwrap();
    archive
        .verify(Some(b.key.verifying_key()), |_, _, _| (), |_, _| ())
        .unwrap();
    // Writing goes on from there.
    put(&b, "new", "after").await;
    assert_eq!(b.repos.count_records(&b.did).unwrap(), 51);
    let cut = export(&a, None);
    let refused = b
        .repos
        .import(&b.did, std::io::Cursor::new(cut[..cut.len() - 10].to_vec()))
        .await;
    assert!(matches!(refused, Err(WriteError::BadArchive(_))));
}

#[tokio::test(flavor = "multi_thread")]
async fn an_export_of_many_pieces_keeps_its_order_and_its_bounds() {
    let f = fixture().await;
    let long = |n: usize| format!("{n} ").repeat(40_000);
    for n in 0..20 {
        let texts = (0..100).map(|i| format!("post {n} {i}")).chain([long(n)]);
        let writes = texts.enumerate();
        let writes = writes.map(|(i, text)| {
            let rkey = format!("{:03}-{n}", i * 37 % 101);
            write(WriteKind::Create, &rkey, Some(&text))
        });
        let all = f.repos.apply_writes(&f.did, writes.collect(), None);
        all.await.unwrap();
    }
    let pieces: Result<Vec<Bytes>, _> = f.repos.export(&f.did, None).unwrap().collect();
    let pieces = pieces.unwrap();
    assert!(pieces.len() > 5);
    assert!(pieces.iter().all(|piece| piece.len() < 1 << 20));
    let car = pieces.concat();
    let archive = Archive::read(&car[..], CarLimits::default()).unwrap();
    let data = archive.commit().unwrap().data;
    let walk = Preorder::new(&archive.blocks, data).map(|item| match item.unwrap() {
        PreorderItem::Node { cid, .. } | PreorderItem::Value { cid, .. } => cid,
    });
    let expected: Vec<Cid> = std::iter::once(archive.root).chain(walk).collect();
    let blocks = CarReader::new(&car[..], CarLimits::default()).unwrap();
    let found: Vec<Cid> = blocks.map(|block| block.unwrap().0).collect();
    assert_eq!(found, expected);
}

#[tokio::test(flavor = "multi_thread")]
async fn an_export_since_has_only_newer_records() {
    let f = fixture().await;
    put(&f, "old", "old").await;
    let rev = f.repos.head(&f.did).unwrap().unwrap().rev;
    put(&f, "new", "new").await;
    let archive = Archive::read(&export(&f, Some(rev))[..], CarLimits::default()).unwrap();
    assert!(archive.blocks.contains_key(&record("new").cid));
    assert!(!archive.blocks.contains_key(&record("old").cid));
}

#[tokio::test(flavor = "multi_thread")]
async fn proofs_show_presence_and_absence() {
    let f = fixture().await;
    for n in 0..40 {
        put(&f, &format!("k{n}"), "x").await;
    }
    for (rkey, there) in [("k7", true), ("nothing", false)] {
        let car = f.repos.proof(&f.did, &path(rkey)).unwrap();
        let archive = Archive::read(&car[..], CarLimits::default()).unwrap();
        let found = ues_repo::repo::verify::proven(&archive, f.key.verifying_key(), &path(rkey));
        assert_eq!(found.unwrap().is_some(), there);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn status_stops_writes_and_deletion_frees_the_did() {
    let f = fixture().await;
    put(&f, "k", "x").await;
    let none = || f.repos.store().batch();
    f.repos
        .set_status(&f.did, Status::Deactivated, none())
        .await
        .unwrap();
    let refused = f
        .repos
        .apply_writes(&f.did, vec![write(WriteKind::Put, "k", Some("y"))], None);
    assert!(matches!(
        refused.await,
        Err(WriteError::Inactive(Status::Deactivated))
    ));
    f.repos
        .set_status(&f.did, Status::Active, none())
        .await
        .unwrap();
    put(&f, "k", "y").await;
    f.repos.delete(&f.did, none()).await.unwrap();
    assert!(f.repos.view(&f.did).is_err());
    assert!(f.repos.list(None, 10).unwrap().is_empty());
    f.repos
        .create(&f.did, &f.key, none(), Vec::new())
        .await
        .unwrap();
    assert_eq!(f.repos.count_records(&f.did).unwrap(), 0);
}

#[test]
fn events_come_back_as_they_were() {
    let did = Did::parse("did:plc:ewvi7nxzyoun6zhxrhs64oiz").unwrap();
    let cid = record("x").cid;
    let time = "2024-01-01T00:00:00.000Z".to_owned();
    let op = |action, cid, prev| RepoOp {
        action,
        path: "a.b.c/d".into(),
        cid,
        prev,
    };
    let events = [
        LogEvent::Commit(Box::new(ues_repo::repo::event::CommitEvent {
            repo: did.clone(),
            commit: cid,
            rev: Tid::from_number(5),
            since: None,
            prev_data: Some(cid),
            ops: vec![
                op(Action::Delete, None, Some(cid)),
                op(Action::Create, Some(cid), None),
                op(Action::Update, Some(cid), Some(cid)),
                op(Action::Create, Some(cid), None),
            ],
            blocks: Bytes::from_static(b"car"),
            time: time.clone(),
        })),
        LogEvent::Sync {
            did: did.clone(),
            rev: Tid::from_number(9),
            blocks: Bytes::new(),
            time: time.clone(),
        },
        LogEvent::Identity {
            did: did.clone(),
            handle: None,
            time: time.clone(),
        },
        LogEvent::Account {
            did,
            status: Status::Takendown,
            time,
        },
    ];
    for event in events {
        let payload = event.encode();
        assert_eq!(LogEvent::decode(&payload).unwrap(), event);
        match (&event, commit_counts(&payload).unwrap()) {
            (LogEvent::Commit(commit), Some(counts)) => {
                assert_eq!((&counts.repo, counts.rev), (&commit.repo, commit.rev));
                assert_eq!((counts.created, counts.deleted), (2, 1));
            }
            (_, counts) => assert_eq!(counts, None),
        }
        for seq in [
            0,
            23,
            24,
            255,
            256,
            65_535,
            65_536,
            u64::from(u32::MAX),
            u64::from(u32::MAX) + 1,
        ] {
            let frame = frame(seq, &payload).unwrap();
            assert_eq!(Frame::new(seq, &payload).unwrap().len(), frame.len());
            let mut header = ues_data::dag_cbor::Reader::new(&frame);
            header.skip().unwrap();
            let Ipld::Map(body) = ues_data::dag_cbor::decode(header.remaining()).unwrap() else {
                panic!("a frame is two maps");
            };
            assert_eq!(body["seq"], Ipld::Integer(seq.into()));
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_nobody_writes_to_leaves_memory_and_comes_back() {
    let f = fixture().await;
    put(&f, "aaa", "one").await;
    assert_eq!(f.repos.forget_unused(), 1);
    put(&f, "bbb", "two").await;
    assert_eq!(f.repos.forget_unused(), 1);
    // Who made the commit may be about to leave.
    while f.repos.forget_unused() > 0 {
        tokio::task::yield_now().await;
    }
    put(&f, "ccc", "three").await;
    assert_eq!(f.repos.count_records(&f.did).unwrap(), 3);
    let problems = f.repos.check(&f.did, &mut |_| ()).unwrap().problems;
    assert_eq!(problems, Vec::<String>::new());
}
