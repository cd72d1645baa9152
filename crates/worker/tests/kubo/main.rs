//! The Kubo backend with a real Kubo: `cargo test -p ues-worker --test kubo -- --ignored`.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

mod daemon;
mod many;
mod marker;

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use daemon::{Daemon, leaf, parent};
use futures::TryStreamExt;
use ues_data::Cid;
use ues_pins::PinMode::{self, Direct, Recursive};
use ues_worker::backend::{Backend, JobError, PinJob, Pinned};
use ues_worker::{KuboBackend, KuboOptions};

const STALL: Duration = Duration::from_secs(2);

fn backend(daemon: &Daemon) -> KuboBackend {
    let mut options = KuboOptions::new(&daemon.api()).unwrap();
    options.stall = STALL;
    KuboBackend::new(options).unwrap()
}

fn job(cid: Cid, mode: PinMode) -> PinJob {
    PinJob {
        cid,
        mode,
        origins: Vec::new(),
    }
}

async fn pin(backend: &KuboBackend, cid: Cid, mode: PinMode) -> Result<Pinned, JobError> {
    backend.pin(&job(cid, mode), &|_| ()).await
}

async fn pins(backend: &KuboBackend) -> BTreeMap<Cid, PinMode> {
    backend.pins().try_collect().await.unwrap()
}

#[tokio::test]
#[ignore = "needs Kubo; ./test runs them"]
async fn content_that_is_there() {
    let daemon = Daemon::start();
    let kubo = backend(&daemon);
    let leaves: Vec<_> = (0..10).map(|n| leaf(&format!("leaf {n}"))).collect();
    let middle = parent(&leaves.iter().map(|(cid, _)| *cid).collect::<Vec<_>>());
    // the same leaf under two parents counts once
    let root = parent(&[middle.0, leaves[0].0]);
    let blocks = [leaves.as_slice(), &[middle.clone(), root.clone()]].concat();
    daemon.import(&blocks);
    let size: usize = blocks.iter().map(|(_, bytes)| bytes.len()).sum();
    let size = Pinned {
        bytes: Some(size.try_into().unwrap()),
    };

    let heard = AtomicU64::new(0);
    let hear = |count| heard.store(count, Ordering::Relaxed);
    let done = kubo.pin(&job(root.0, Recursive), &hear).await;
    assert_eq!(done, Ok(size));
    assert_eq!(heard.load(Ordering::Relaxed), 12);
    assert_eq!(pin(&kubo, root.0, Recursive).await, Ok(size), "again");
    let many = [
        job(root.0, Recursive),
        job(leaves[0].0, Direct),
        job(middle.0, Direct),
    ];
    let bytes: Vec<_> = kubo
        .pin_many(&many)
        .await
        .into_iter()
        .map(|p| p.unwrap().bytes)
        .collect();
    assert_eq!(bytes, [size.bytes, Some(6), None]);
    assert_eq!(
        kubo.unpin_many(&[leaves[0].0, middle.0]).await,
        [Ok(()), Ok(())]
    );
    assert_eq!(pins(&kubo).await, BTreeMap::from([(root.0, Recursive)]));
    // what is there only through something else is not pinned
    let which = kubo.pinned(&[leaves[0].0, root.0]).await;
    assert_eq!(which, Ok(vec![None, Some(Recursive)]));

    for _ in 0..2 {
        assert_eq!(kubo.unpin_many(&[root.0]).await, [Ok(())]);
        assert_eq!(pins(&kubo).await, BTreeMap::new());
    }
}

#[tokio::test]
#[ignore = "needs Kubo; ./test runs them"]
async fn a_file_of_kubos_own() {
    let daemon = Daemon::start();
    let kubo = backend(&daemon);
    let cid = daemon.add_file(&[7; 600_000]);
    assert_eq!(cid.version(), ues_data::Version::V0);
    let first = pin(&kubo, cid, Recursive).await.unwrap();
    assert!(
        first.bytes.is_some_and(|bytes| bytes > 262_144),
        "{first:?}"
    );
    assert_eq!(pin(&kubo, cid, Recursive).await, Ok(first));
    assert_eq!(kubo.pin_many(&[job(cid, Recursive)]).await, [Ok(first)]);
    assert_eq!(kubo.pinned(&[cid]).await, Ok(vec![Some(Recursive)]));
    assert_eq!(pins(&kubo).await, BTreeMap::from([(cid, Recursive)]));
    // Kubo pins what is named, not the same blocks by another name
    let other = Cid::new_v1(0x70, *cid.hash());
    assert_eq!(kubo.pinned(&[other]).await, Ok(vec![None]));
    assert_eq!(kubo.unpin_many(&[cid]).await, [Ok(())]);
    assert_eq!(pins(&kubo).await, BTreeMap::new());
}

#[tokio::test]
#[ignore = "needs Kubo; ./test runs them"]
async fn direct_and_recursive() {
    let daemon = Daemon::start();
    let kubo = backend(&daemon);
    let child = leaf("child");
    let root = parent(&[child.0]);
    daemon.import(&[child, root.clone()]);
    let of_block = Pinned {
        bytes: Some(root.1.len().try_into().unwrap()),
    };
    let root = root.0;

    assert_eq!(pin(&kubo, root, Direct).await, Ok(of_block));
    assert_eq!(pin(&kubo, root, Direct).await, Ok(of_block));
    assert_eq!(kubo.pinned(&[root]).await, Ok(vec![Some(Direct)]));
    pin(&kubo, root, Recursive).await.unwrap();
    assert_eq!(kubo.pinned(&[root]).await, Ok(vec![Some(Recursive)]));
    // what is more than asked for stays
    pin(&kubo, root, Direct).await.unwrap();
    let both = kubo
        .pin_many(&[job(root, Direct), job(root, Recursive)])
        .await;
    assert!(both.iter().all(Result::is_ok), "{both:?}");
    assert_eq!(pins(&kubo).await, BTreeMap::from([(root, Recursive)]));

    assert_eq!(kubo.unpin_many(&[root]).await, [Ok(())]);
    pin(&kubo, root, Direct).await.unwrap();
    assert_eq!(kubo.unpin_many(&[root]).await, [Ok(())]);
    assert_eq!(kubo.pinned(&[root]).await, Ok(vec![None]));
}

#[tokio::test]
#[ignore = "needs Kubo; ./test runs them"]
async fn content_that_is_missing() {
    let daemon = Daemon::start();
    let kubo = backend(&daemon);
    let (there, gone) = (leaf("there"), leaf("gone"));
    let root = parent(&[there.0, gone.0]);
    daemon.import(&[there, root.clone()]);
    for (cid, mode) in [(root.0, Recursive), (gone.0, Recursive), (gone.0, Direct)] {
        let begun = Instant::now();
        let outcome = pin(&kubo, cid, mode).await;
        let stalled = JobError::Retry("no new block for 2 s".to_owned());
        assert_eq!(outcome, Err(stalled), "{cid} {mode:?}");
        assert!(begun.elapsed() < STALL * 3);
    }
    assert_eq!(pins(&kubo).await, BTreeMap::new());
    // the block by itself is there
    pin(&kubo, root.0, Direct).await.unwrap();
}

#[tokio::test]
#[ignore = "needs Kubo; ./test runs them"]
async fn a_pin_is_not_lost_by_pinning_it_again() {
    let mut daemon = Daemon::start();
    let (child, root) = (leaf("child"), parent(&[leaf("child").0]));
    daemon.import(&[child.clone(), root.clone()]);
    pin(&backend(&daemon), root.0, Recursive).await.unwrap();
    daemon.lose(&child.1);
    let kubo = backend(&daemon);
    pin(&kubo, root.0, Recursive).await.unwrap();
    let outcomes = kubo.pin_many(&[job(root.0, Recursive)]).await;
    // a size cannot be had now
    assert_eq!(outcomes, [Ok(Pinned::default())]);
    assert_eq!(pins(&kubo).await, BTreeMap::from([(root.0, Recursive)]));
}

#[tokio::test]
#[ignore = "needs Kubo; ./test runs them"]
async fn content_that_will_never_do() {
    let daemon = Daemon::start();
    let kubo = backend(&daemon);
    let hash = |code: u64, digest: &[u8]| ues_data::Multihash::wrap(code, digest).unwrap();
    let bad = [
        // a codec that nobody knows, with its content inside
        Cid::new_v1(0x30_0000, hash(0, b"abc")),
        // CBOR that is none
        Cid::new_v1(0x71, hash(0, &[0xff; 3])),
        // a digest of ten bytes, and an unknown hash
        Cid::new_v1(0x55, hash(0x12, &[7; 10])),
        Cid::new_v1(0x55, hash(0x3f_ffff, &[7; 32])),
    ];
    for cid in bad {
        let outcome = pin(&kubo, cid, Recursive).await;
        assert!(
            matches!(outcome, Err(JobError::Terminal(_))),
            "{cid}: {outcome:?}"
        );
        assert_eq!(kubo.pinned(&[cid]).await, Ok(vec![None]));
        assert_eq!(kubo.unpin_many(&[cid]).await, [Ok(())]);
    }
    let good = Cid::new_v1(0x55, hash(0, b"abc"));
    pin(&kubo, good, Recursive).await.unwrap();
}

#[tokio::test]
#[ignore = "needs Kubo; ./test runs them"]
async fn content_comes_from_its_origin() {
    let (daemon, other) = (Daemon::start(), Daemon::start());
    let kubo = backend(&daemon);
    let leaves: Vec<_> = (0..100).map(|n| leaf(&format!("far {n}"))).collect();
    let root = parent(&leaves.iter().map(|(cid, _)| *cid).collect::<Vec<_>>());
    other.import(&[leaves.as_slice(), std::slice::from_ref(&root)].concat());
    let origins = backend(&other).status().await.unwrap().ipfs_addresses;
    assert!(!origins.is_empty());
    let mut job = job(root.0, Recursive);
    job.origins = origins;
    let pinned = kubo.pin(&job, &|_| ()).await.unwrap();
    assert!(pinned.bytes.is_some_and(|bytes| bytes > 1000), "{pinned:?}");
}
