//! Imports: the old content or the new one at every moment, nothing left of what was refused or cut off, and the same
//! outcome as writing the records one by one.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "a test may panic"
)]

mod large;
mod support;

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use ues_repo::repo::write::{RecordPath, WriteError};
use ues_repo::repo::{Room, Usage};
use ues_storage::engine::{Fault, MemoryEngine};

use support::*;

/// Records so large that an import of them takes several batches, and its archive a file.
fn large() -> Records {
    let mut records: Records = (0..26)
        .map(|n| (note(n), record(n, 900_000, None)))
        .collect();
    records.insert("app.bsky.feed.like/a".into(), like(1));
    records
}

fn small(from: u64, to: u64) -> Records {
    (from..to).map(|n| (note(n), record(n, 20, None))).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_failure_at_any_call_leaves_the_old_content_or_the_new() {
    let (base, key) = (MemoryEngine::new(), key());
    let repos = repository(&base, &key).await;
    let blob = upload(&repos, b"blob").await;
    put(&repos, &note(3), Some(record(3, 10, Some(blob)))).await;
    put(&repos, &note(4), Some(record(4, 10, None))).await;
    put(&repos, "app.bsky.feed.like/b", Some(like(2))).await;
    let before = records_of(&repos);
    is_clean(&repos);
    repos.store().clone().close();
    drop(repos);
    let (new, archive) = (cids(&large()), archive(&large()));
    let mut outcomes = [0, 0];
    for fault in [Fault::TornWrite, Fault::FailedSync, Fault::DiskFull] {
        for nth in 1.. {
            let engine = base.crash(0);
            let opened = store(&engine);
            let repos = open(&opened, &key);
            let calls = engine.calls();
            engine.inject(nth, fault);
            let imported = import(&repos, &archive).await;
            let met = engine.calls() - calls >= nth;
            drop(repos);
            opened.close();

            let opened = store(&engine.crash((nth % 3) as usize));
            let repos = open(&opened, &key);
            let after = records_of(&repos);
            assert!(after == before || after == new, "{fault:?} at call {nth}");
            assert!(imported.is_err() || after == new);
            outcomes[usize::from(after == new)] += 1;
            repos.free_left_content().await.unwrap();
            is_clean(&repos);
            put(&repos, &note(100), Some(record(100, 10, None))).await;
            is_clean(&repos);
            drop(repos);
            opened.close();
            if !met {
                assert!(nth > 6, "an import of several batches, {nth} calls");
                break;
            }
        }
    }
    assert!(outcomes.iter().all(|count| *count > 3), "{outcomes:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_refused_archive_leaves_nothing() {
    let key = key();
    let repos = repository(&MemoryEngine::new(), &key).await;
    put(&repos, &note(1), Some(record(1, 10, None))).await;
    let head = repos.head(&did()).unwrap();
    let whole = archive(&large());
    let mut flipped = whole.clone();
    *flipped.last_mut().unwrap() ^= 1;
    let lacking = |records: Records| {
        let (_, last) = records.last_key_value().unwrap();
        archive_without(&records, Some(last.cid))
    };
    // A record that is none, behind many that are.
    let mut odd = large();
    let bytes = ues_data::dag_cbor::encode(&ues_data::Ipld::Integer(5)).unwrap();
    let five = ues_repo::repo::write::Record::new(bytes.into(), Vec::new());
    odd.insert("com.example.zzz/a".into(), five);
    let mut path = large();
    path.insert("zzz/a".into(), record(7, 7, None));
    let mut huge = large();
    huge.insert("com.example.zzz/a".into(), record(8, 1_000_001, None));
    let refused = [
        flipped,
        lacking(large()),
        lacking(small(0, 100)),
        archive(&odd),
        archive(&path),
        archive(&huge),
        whole[..whole.len() / 2].to_vec(),
        whole[1..].to_vec(),
        Vec::new(),
    ];
    for (n, archive) in refused.iter().enumerate() {
        let outcome = import(&repos, archive).await;
        assert!(
            matches!(outcome, Err(WriteError::BadArchive(_))),
            "{n}: {outcome:?}"
        );
        assert_eq!(repos.head(&did()).unwrap(), head);
        is_clean(&repos);
    }
    for (room, what) in [
        (
            Room {
                records: Some(20),
                record_bytes: None,
            },
            "records",
        ),
        (
            Room {
                records: None,
                record_bytes: Some(20_000_000),
            },
            "bytes of records",
        ),
    ] {
        let outcome = import_within(&repos, &whole, room).await.unwrap_err();
        let WriteError::NoRoom {
            what: found,
            has,
            more,
            ..
        } = outcome
        else {
            panic!("{outcome}");
        };
        assert_eq!(found, what);
        let bytes: usize = large().values().map(|record| record.bytes.len()).sum();
        assert!([27, bytes as u64].contains(&(has + more)));
        is_clean(&repos);
    }
    import(&repos, &whole).await.unwrap();
    assert_eq!(records_of(&repos), cids(&large()));
    is_clean(&repos);
}

#[tokio::test(flavor = "multi_thread")]
async fn an_import_comes_to_what_writing_comes_to() {
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
    let key = key();
    let repos = repository(&MemoryEngine::new(), &key).await;
    let absent = ues_data::content_id::raw_cid(b"was never uploaded");
    for round in 0..40 {
        // Some written here, then an archive that shares a part of it.
        for _ in 0..random(8) {
            let n = random(30);
            let gone = random(3) == 0;
            let here = upload(&repos, format!("blob {}", random(3)).as_bytes()).await;
            let record = record(random(40), 30, (random(3) == 0).then_some(here));
            put(&repos, &note(n), (!gone).then_some(record)).await;
        }
        let before: Records = repos
            .records(&did())
            .unwrap()
            .map(|row| row.unwrap())
            .map(|(path, r)| {
                (
                    path,
                    ues_repo::repo::write::Record::new(r.bytes, Vec::new()),
                )
            })
            .collect();
        let revs = |path: &String| {
            let path = RecordPath::parse(path).unwrap();
            repos
                .get_record(&did(), &path)
                .unwrap()
                .map(|r| (r.cid, r.rev))
        };
        let revs_before: Vec<_> = before
            .keys()
            .map(|path| (path.clone(), revs(path)))
            .collect();
        let mut records = before.clone();
        records.retain(|_, _| random(4) > 0);
        let here = upload(&repos, format!("blob {}", random(3)).as_bytes()).await;
        for _ in 0..random(10) {
            let blob = [None, Some(here), Some(absent)][random(3) as usize];
            records.insert(note(random(30)), record(1000 + random(40), 30, blob));
        }
        if random(2) == 0 {
            records.insert(
                format!("app.bsky.feed.like/l{}", random(3)),
                like(random(3)),
            );
        }
        let blobs_before = repos.usage(&did()).unwrap();
        let old = repos.head(&did()).unwrap().unwrap();
        let imported = import(&repos, &archive(&records)).await.unwrap();
        assert_eq!(imported.records, records.len() as u64);
        assert_eq!(imported.commit.is_some(), cids(&records) != cids(&before));
        assert_eq!(records_of(&repos), cids(&records), "round {round}");
        is_clean(&repos);
        let now = repos.head(&did()).unwrap().unwrap();
        assert_eq!(now.owner, old.owner);
        assert_eq!(imported.commit.is_some(), now.rev > old.rev);
        for (path, was) in revs_before {
            let (Some((cid, rev)), Some((now_cid, now_rev))) = (was, revs(&path)) else {
                continue;
            };
            assert_eq!(now_rev, if cid == now_cid { rev } else { now.rev });
        }
        let usage = repos.usage(&did()).unwrap();
        let bytes: usize = records.values().map(|record| record.bytes.len()).sum();
        assert_eq!(
            (usage.records, usage.record_bytes),
            (records.len() as u64, bytes as u64)
        );
        assert!(usage.blobs <= blobs_before.blobs);
        let refers = records
            .values()
            .any(|record| ues_repo::repo::blobs_in(&record.bytes).contains(&absent));
        let missing = repos.missing_blobs(&did(), None, 10).unwrap();
        assert_eq!(missing.len(), usize::from(refers), "{missing:?}");
        // What was written by itself gives the same tree.
        let mirror = repository(&MemoryEngine::new(), &key).await;
        for (path, record) in &records {
            let record = ues_repo::repo::write::Record::new(record.bytes.clone(), Vec::new());
            put(&mirror, path, Some(record)).await;
        }
        assert_eq!(mirror.head(&did()).unwrap().unwrap().data, now.data);
        let written = mirror.usage(&did()).unwrap();
        let blobs = Usage {
            blobs: usage.blobs,
            blob_bytes: usage.blob_bytes,
            ..written
        };
        assert_eq!(usage, blobs);
    }
    // Deleted, nothing is left of it.
    repos.delete(&did(), repos.store().batch()).await.unwrap();
    repos.empty_blob_trash().unwrap();
    let store = repos.store();
    collect(store);
    assert_eq!(store.check(&mut |_| ()).unwrap().blocks, 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn readers_see_one_content_or_the_other() {
    let key = key();
    let repos = repository(&MemoryEngine::new(), &key).await;
    let archives =
        [small(0, 400), small(200, 600)].map(|records| (archive(&records), cids(&records)));
    import(&repos, &archives[0].0).await.unwrap();
    let (both, stop) = (
        RecordPath::parse(&note(300)).unwrap(),
        Arc::new(AtomicBool::new(false)),
    );
    let reader = {
        let (repos, stop, all) = (repos.clone(), Arc::clone(&stop), archives.clone());
        tokio::task::spawn_blocking(move || {
            let mut reads = 0;
            while !stop.load(Ordering::Relaxed) {
                assert!(repos.get_record(&did(), &both).unwrap().is_some());
                let found = records_of(&repos);
                assert!(all.iter().any(|(_, records)| *records == found));
                reads += 1;
            }
            reads
        })
    };
    for round in 1..30 {
        import(&repos, &archives[round % 2].0).await.unwrap();
    }
    stop.store(true, Ordering::Relaxed);
    assert!(reader.await.unwrap() > 1);
    is_clean(&repos);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_written_meanwhile_is_replaced_or_comes_after() {
    let key = key();
    let repos = repository(&MemoryEngine::new(), &key).await;
    let archive = archive(&large());
    let import = {
        let repos = repos.clone();
        tokio::spawn(async move { import(&repos, &archive).await })
    };
    let mut written = 0;
    while !import.is_finished() {
        put(
            &repos,
            "com.example.other/a",
            Some(record(5000 + written, 10, None)),
        )
        .await;
        written += 1;
        tokio::time::sleep(std::time::Duration::from_millis(5)).await;
    }
    let imported = import.await.unwrap().unwrap();
    let rev = imported.commit.unwrap().rev;
    let mut found = records_of(&repos);
    let later = found.remove("com.example.other/a");
    assert_eq!(found, cids(&large()));
    assert!(repos.head(&did()).unwrap().unwrap().rev >= rev);
    assert!(later.is_none() || repos.head(&did()).unwrap().unwrap().rev > rev);
    is_clean(&repos);
}
