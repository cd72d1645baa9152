//! The embedded backend: conformance, what is kept and what is freed.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

mod conformance;
mod support;

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use async_trait::async_trait;
use bytes::Bytes;
use conformance::Subject;
use support::{job, leaf, node};
use ues_data::car::{CarLimits, write_block, write_header};
use ues_data::unixfs::ImportOptions;
use ues_data::{Cid, raw_cid};
use ues_pins::PinMode::{Direct, Recursive};
use ues_storage::engine::MemoryEngine;
use ues_storage::{Clock, Store, StoreOptions};
use ues_worker::backend::Backend;
use ues_worker::embedded::{EmbeddedBackend, EmbeddedOptions, Entry, IntakeError};

struct Embedded {
    store: Store,
    backend: EmbeddedBackend,
}

impl Embedded {
    fn new(options: EmbeddedOptions) -> Self {
        let quiet = StoreOptions {
            housekeeping: None,
            ..StoreOptions::default()
        };
        let store = Store::with_engine(Arc::new(MemoryEngine::new()), quiet).unwrap();
        let backend = EmbeddedBackend::open(store.clone(), options).unwrap();
        Self { store, backend }
    }

    /// Blocks that are left once all that is not needed is gone.
    fn blocks(&self) -> u64 {
        while !self.store.collect(u64::MAX).unwrap().finished {}
        let report = self.store.check(&mut |_| ()).unwrap();
        assert!(report.is_sound(), "{:?}", report.damage);
        report.blocks
    }

    async fn pin(&self, cid: Cid) {
        self.backend
            .pin(&job(cid, Recursive), &|_| ())
            .await
            .unwrap();
    }
}

#[async_trait]
impl Subject for Embedded {
    fn backend(&self) -> &dyn Backend {
        &self.backend
    }

    async fn put(&self, blocks: &[(Cid, Bytes)]) {
        let mut upload = self.backend.upload().await.unwrap();
        for (cid, bytes) in blocks {
            upload.put(cid, bytes).await.unwrap();
        }
        upload.leave().await.unwrap();
    }
}

/// Sizes so small that everything takes the ways of large content.
fn tiny() -> EmbeddedOptions {
    EmbeddedOptions {
        batch_blocks: 3,
        batch_bytes: 200,
        max_remembered: 4,
        ..EmbeddedOptions::default()
    }
}

#[tokio::test]
async fn conforms() {
    for options in [EmbeddedOptions::default(), tiny()] {
        let embedded = Embedded::new(options);
        conformance::all(&embedded).await;
        embedded.backend.sweep(u64::MAX).await.unwrap();
        assert_eq!(embedded.blocks(), 0, "nothing leaks");
    }
}

#[tokio::test]
async fn many_pins() {
    let embedded = Embedded::new(EmbeddedOptions::default());
    conformance::many(&embedded, 10_000).await;
    let status = embedded.backend.status().await.unwrap();
    assert_eq!(status.pins, Some(0));
}

#[tokio::test]
async fn kept_while_any_pin_needs_it() {
    for options in [EmbeddedOptions::default(), tiny()] {
        let embedded = Embedded::new(options);
        let leaves: Vec<_> = (0..20).map(|n| leaf(&format!("kept {n}"))).collect();
        let cids: Vec<_> = leaves.iter().map(|(cid, _)| *cid).collect();
        let (x, y) = (node("x", &cids), node("y", &cids[10..]));
        let top = node("top", &[x.0, y.0, x.0]);
        embedded.put(&leaves).await;
        embedded.put(&[x.clone(), y.clone(), top.clone()]).await;
        embedded.pin(top.0).await;
        embedded.pin(y.0).await;
        let direct = job(x.0, Direct);
        embedded.backend.pin(&direct, &|_| ()).await.unwrap();
        embedded.backend.sweep(u64::MAX).await.unwrap();
        assert_eq!(embedded.blocks(), 23);
        embedded.backend.unpin_many(&[top.0]).await;
        assert_eq!(embedded.blocks(), 12, "y with ten leaves, and x alone");
        assert!(!embedded.store.has_block(cids[0].hash()).unwrap());
        embedded.backend.unpin_many(&[y.0]).await;
        assert_eq!(embedded.blocks(), 1);
        embedded.backend.unpin_many(&[x.0]).await;
        assert_eq!(embedded.blocks(), 0);
    }
}

#[tokio::test]
async fn the_same_bytes_under_two_codecs() {
    for options in [EmbeddedOptions::default(), tiny()] {
        let embedded = Embedded::new(options);
        let a = leaf("below");
        let inner = node("inner", &[a.0]);
        let as_raw = raw_cid(&inner.1);
        let top = node("top", &[as_raw, inner.0, as_raw, inner.0]);
        embedded.put(&[a.clone(), inner, top.clone()]).await;
        embedded.pin(top.0).await;
        embedded.backend.sweep(u64::MAX).await.unwrap();
        assert_eq!(embedded.blocks(), 3);
        embedded.backend.unpin_many(&[top.0]).await;
        assert_eq!(embedded.blocks(), 0);
    }
}

#[tokio::test]
async fn many_ways_to_one_block_are_walked_once() {
    for options in [EmbeddedOptions::default(), tiny()] {
        let embedded = Embedded::new(options);
        let mut blocks = vec![leaf("bottom")];
        for n in 0..60 {
            let below = blocks.last().unwrap().0;
            blocks.push(node(&format!("level {n}"), &[below, below]));
        }
        embedded.put(&blocks).await;
        let top = blocks.last().unwrap().0;
        embedded.pin(top).await;
        embedded.backend.sweep(u64::MAX).await.unwrap();
        assert_eq!(embedded.blocks(), 61);
        embedded.backend.unpin_many(&[top]).await;
        assert_eq!(embedded.blocks(), 0);
    }
}

#[tokio::test]
async fn size_progress_and_too_many_links() {
    let embedded = Embedded::new(EmbeddedOptions {
        max_walk_bytes: 2000,
        ..tiny()
    });
    let leaves: Vec<_> = (0..40).map(|n| leaf(&format!("size {n:03}"))).collect();
    let cids: Vec<_> = leaves.iter().map(|(cid, _)| *cid).collect();
    let root = node("size", &cids);
    let wide = node("wide", &[cids.clone(), cids.clone()].concat());
    embedded.put(&leaves).await;
    embedded.put(&[root.clone(), wide.clone()]).await;
    let heard = AtomicU64::new(0);
    let progress = |blocks| heard.store(blocks, Ordering::Relaxed);
    let pinned = embedded
        .backend
        .pin(&job(root.0, Recursive), &progress)
        .await;
    let size = root.1.len() as u64 + 40 * 8;
    assert_eq!(pinned.unwrap().bytes, Some(size));
    assert_eq!(heard.load(Ordering::Relaxed), 41);
    let error = embedded.backend.pin(&job(wide.0, Recursive), &|_| ()).await;
    assert!(error.unwrap_err().to_string().contains("too many links"));
    embedded.backend.unpin_many(&[root.0]).await;
    embedded.backend.sweep(u64::MAX).await.unwrap();
    assert_eq!(embedded.blocks(), 0);
}

#[tokio::test]
async fn a_pin_that_nobody_waits_for_is_left_and_swept() {
    let embedded = Embedded::new(tiny());
    let leaves: Vec<_> = (0..200).map(|n| leaf(&format!("left {n}"))).collect();
    let cids: Vec<_> = leaves.iter().map(|(cid, _)| *cid).collect();
    let root = node("left", &cids);
    embedded.put(&leaves).await;
    embedded.put(std::slice::from_ref(&root)).await;
    let wanted = job(root.0, Recursive);
    let (begun, heard) = tokio::sync::watch::channel(false);
    let progress = |_| {
        begun.send_replace(true);
    };
    let mut heard = heard;
    tokio::select! {
        biased;
        _ = heard.wait_for(|begun| *begun) => {}
        _ = embedded.backend.pin(&wanted, &progress) => {}
    }
    // Waits for whoever still works on this CID.
    let gone = embedded.backend.unpin_many(&[root.0]).await;
    assert_eq!(gone, [Ok(())]);
    embedded.backend.sweep(u64::MAX).await.unwrap();
    assert_eq!(embedded.blocks(), 0);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_race_with_the_collector_loses_no_pinned_block() {
    let embedded = Arc::new(Embedded::new(EmbeddedOptions::default()));
    let (store, stop) = (embedded.store.clone(), Arc::new(AtomicU64::new(0)));
    let stopped = Arc::clone(&stop);
    let collector = std::thread::spawn(move || {
        while stopped.load(Ordering::Relaxed) == 0 {
            store.collect(u64::MAX).unwrap();
        }
    });
    let mut won = 0;
    for n in 0..300 {
        let leaves: Vec<_> = (0..5).map(|m| leaf(&format!("race {n} {m}"))).collect();
        let cids: Vec<_> = leaves.iter().map(|(cid, _)| *cid).collect();
        let root = node("race", &cids);
        let mut upload = embedded.backend.upload().await.unwrap();
        for (cid, bytes) in leaves.iter().chain([&root]) {
            upload.put(cid, bytes).await.unwrap();
        }
        upload.flush().await.unwrap();
        let racing = Arc::clone(&embedded);
        let wanted = job(root.0, Recursive);
        let pinning = tokio::spawn(async move { racing.backend.pin(&wanted, &|_| ()).await });
        upload.give_up().await.unwrap();
        if pinning.await.unwrap().is_ok() {
            won += 1;
            for cid in cids.iter().chain([&root.0]) {
                assert!(embedded.store.has_block(cid.hash()).unwrap(), "{n}");
            }
        }
    }
    stop.store(1, Ordering::Relaxed);
    collector.join().unwrap();
    embedded.backend.sweep(u64::MAX).await.unwrap();
    assert_eq!(embedded.blocks(), won * 6);
}

#[tokio::test]
async fn uploads_end_in_every_way() {
    let now = Arc::new(AtomicU64::new(1000));
    let shared = Arc::clone(&now);
    let embedded = Embedded::new(EmbeddedOptions {
        clock: Clock::new(move || shared.load(Ordering::Relaxed)),
        ..tiny()
    });
    let blocks: Vec<_> = (0..10).map(|n| leaf(&format!("up {n}"))).collect();
    let hour = 3_600_000;

    embedded.put(&blocks).await;
    assert_eq!(
        embedded
            .backend
            .sweep(1000 + hour - 1)
            .await
            .unwrap()
            .uploads,
        0
    );
    assert_eq!(embedded.blocks(), 10);
    assert_eq!(
        embedded.backend.sweep(1000 + hour).await.unwrap().uploads,
        1
    );
    assert_eq!(embedded.blocks(), 0);

    let mut upload = embedded.backend.upload().await.unwrap();
    for (cid, bytes) in &blocks {
        upload.put(cid, bytes).await.unwrap();
    }
    assert_eq!(upload.blocks(), 10);
    let swept = embedded.backend.sweep(u64::MAX).await.unwrap();
    assert_eq!(swept.uploads, 0, "somebody works on it");
    let roots = blocks[..2].iter().map(|(cid, _)| Entry {
        cid: *cid,
        mode: Recursive,
    });
    let answers = upload.pin(roots.collect()).await.unwrap();
    assert!(answers.iter().all(Result::is_ok));
    assert_eq!(embedded.blocks(), 2, "what was not pinned is gone at once");

    let mut upload = embedded.backend.upload().await.unwrap();
    upload.put(&blocks[5].0, &blocks[5].1).await.unwrap();
    assert!(matches!(
        upload.put(&blocks[6].0, b"something else").await,
        Err(IntakeError::Hash(_))
    ));
    upload.flush().await.unwrap();
    assert_eq!(embedded.blocks(), 3);
    upload.give_up().await.unwrap();
    assert_eq!(embedded.blocks(), 2);
}

#[tokio::test]
async fn archives_and_files() {
    let embedded = Embedded::new(EmbeddedOptions::default());
    let a = leaf("in an archive");
    let root = node("archive", &[a.0]);
    let mut car = Vec::new();
    write_header(&[root.0], &mut car);
    write_block(&root.0, &root.1, &mut car);
    write_block(&a.0, &a.1, &mut car);
    let mut upload = embedded.backend.upload().await.unwrap();
    let roots = upload.car(&car[..], CarLimits::default()).await.unwrap();
    assert_eq!(roots, [root.0]);
    let entry = Entry {
        cid: root.0,
        mode: Recursive,
    };
    assert!(upload.pin(vec![entry]).await.unwrap()[0].is_ok());
    assert_eq!(embedded.blocks(), 2);

    *car.last_mut().unwrap() ^= 1;
    let mut upload = embedded.backend.upload().await.unwrap();
    assert!(matches!(
        upload.car(&car[..], CarLimits::default()).await,
        Err(IntakeError::Car(_))
    ));
    upload.give_up().await.unwrap();

    // The CIDs that `ipfs add -w` gives to a file "hello.txt" with "hello world".
    let options = ImportOptions::cid_v0();
    let mut upload = embedded.backend.upload().await.unwrap();
    let file = upload
        .file(&b"hello world"[..], options, 100)
        .await
        .unwrap();
    assert_eq!(
        file.cid.to_string(),
        "Qmf412jQZiuVUtdgnB36FXFX7xg5V6KEbSJ4dpQuhkLyfD"
    );
    assert!(matches!(
        upload.file(&b"hello world"[..], options, 10).await,
        Err(IntakeError::TooLarge(10))
    ));
    let entries = [("hello.txt".to_owned(), file)];
    let folder = upload.directory(entries, options).await.unwrap();
    let entry = Entry {
        cid: folder.cid,
        mode: Recursive,
    };
    assert!(upload.pin(vec![entry]).await.unwrap()[0].is_ok());
    assert_eq!(embedded.blocks(), 4);

    let dir = tempfile::tempdir().unwrap();
    std::fs::write(dir.path().join("hello.txt"), "hello world").unwrap();
    let upload = embedded.backend.upload().await.unwrap();
    let (upload, imported) = upload.path(dir.path().into(), options).await.unwrap();
    assert_eq!(imported.cid, folder.cid);
    upload.leave().await.unwrap();
}

#[tokio::test]
async fn the_name_and_the_pins_outlive_the_process() {
    let dir = tempfile::tempdir().unwrap();
    let options = EmbeddedOptions {
        folder: Some(dir.path().into()),
        ..EmbeddedOptions::default()
    };
    let a = leaf("lasting");
    let mut names = Vec::new();
    for round in 0..2 {
        let store = Store::open(dir.path(), StoreOptions::default()).unwrap();
        let backend = EmbeddedBackend::open(store.clone(), options.clone()).unwrap();
        let embedded = Embedded { store, backend };
        if round == 0 {
            embedded.put(std::slice::from_ref(&a)).await;
            embedded.pin(a.0).await;
        }
        let status = embedded.backend.status().await.unwrap();
        assert_eq!(status.pins, Some(1));
        assert!(status.free > 0 && status.free < u64::MAX);
        let pinned = embedded.backend.pinned(&[a.0]).await.unwrap();
        assert_eq!(pinned, [Some(Recursive)]);
        names.push(status.content_id);
        embedded.store.close();
    }
    assert_eq!(names[0], names[1]);
    let other = Embedded::new(EmbeddedOptions::default());
    assert_ne!(other.backend.status().await.unwrap().content_id, names[0]);
}
