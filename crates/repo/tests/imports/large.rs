//! An import of a million records and the memory that it takes. To be run by hand, since it takes minutes:
//!
//! ```text
//! cargo test -p ues-repo --test imports -- --ignored --nocapture a_large_import
//! ```
//!
//! `RECORDS` says how many records, `ARCHIVE` names the file in which the archive is left for other programs.

use std::fs::File;
use std::io::{BufWriter, Write};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Instant;

use ues_data::{Cid, Ipld, dag_cbor};
use ues_repo::repo::commit::Commit;
use ues_repo::syntax::TidClock;
use ues_storage::{Store, StoreOptions};

use super::support::{did, key, open};

/// Most memory of the process, in MiB.
const MOST: u64 = 200;

fn number_of_records() -> u64 {
    let set = std::env::var("RECORDS").ok().and_then(|n| n.parse().ok());
    set.unwrap_or(1_000_000)
}

/// A post of some 300 bytes.
fn post(n: u64) -> (String, Cid, Vec<u8>) {
    let hash = blake3::hash(&n.to_be_bytes()).to_hex();
    let text = format!("{n} {hash} {hash} {hash}");
    let kind = "app.bsky.feed.post";
    let map = [
        ("$type", kind.to_owned()),
        ("createdAt", "2026-01-01T00:00:00.000Z".to_owned()),
        ("text", text),
    ];
    let map = map.map(|(key, text)| (key.to_owned(), Ipld::String(text)));
    let bytes = dag_cbor::encode(&Ipld::Map(map.into())).unwrap();
    (
        format!("{kind}/3k{n:011}"),
        ues_data::dag_cbor_cid(&bytes),
        bytes,
    )
}

/// Makes the archive in a process of its own, whose memory does not count.
#[test]
#[ignore = "makes a file for the test below"]
fn make_archive() {
    let mut tree = ues_data::mst::Tree::empty();
    for n in 0..number_of_records() {
        let (path, cid, _) = post(n);
        tree.put(&ues_data::source::NoBlocks, path, &cid).unwrap();
    }
    let flush = tree.flush();
    let rev = TidClock::random().tick();
    let (root, commit) = Commit::sign(&did(), flush.root, &rev, &key()).encode();
    let mut file = BufWriter::new(File::create(std::env::var("ARCHIVE").unwrap()).unwrap());
    let mut out = Vec::new();
    ues_data::car::write_header(&[root], &mut out);
    ues_data::car::write_block(&root, &commit, &mut out);
    for (cid, node) in &flush.new {
        ues_data::car::write_block(cid, node, &mut out);
        file.write_all(&std::mem::take(&mut out)).unwrap();
    }
    for n in 0..number_of_records() {
        let (_, cid, bytes) = post(n);
        ues_data::car::write_block(&cid, &bytes, &mut out);
        file.write_all(&std::mem::take(&mut out)).unwrap();
    }
    file.flush().unwrap();
}

fn archive(place: &Path) -> PathBuf {
    let path = std::env::var("ARCHIVE").map_or_else(|_| place.join("large.car"), PathBuf::from);
    if !path.exists() {
        let made = Command::new(std::env::current_exe().unwrap())
            .args(["--ignored", "--exact", "large::make_archive"])
            .env("ARCHIVE", &path)
            .status();
        assert!(made.unwrap().success());
    }
    path
}

/// The most memory that the process had, in MiB.
fn peak() -> u64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap();
    let line = status
        .lines()
        .find(|line| line.starts_with("VmHWM:"))
        .unwrap();
    let number = line.split_whitespace().nth(1).unwrap();
    number.parse::<u64>().unwrap() / 1024
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "takes minutes"]
async fn a_large_import_takes_little_memory() {
    let place = tempfile::tempdir().unwrap();
    let path = archive(place.path());
    let store = Store::open(&place.path().join("store"), StoreOptions::default()).unwrap();
    let key = key();
    let repos = open(&store, &key);
    let did = did();
    let created = repos.create(&did, &key, store.batch(), Vec::new());
    created.await.unwrap();
    for round in [
        "into an empty repository",
        "of the same",
        "of another in its place",
    ] {
        if round == "of another in its place" {
            super::put(&repos, "app.bsky.feed.post/another", Some(super::like(1))).await;
        }
        let began = Instant::now();
        let imported = repos
            .import(&did, File::open(&path).unwrap())
            .await
            .unwrap();
        assert_eq!(imported.records, number_of_records());
        println!(
            "{round}: {:.1?}, at most {} MiB so far",
            began.elapsed(),
            peak()
        );
    }
    let report = repos.check(&did, &mut |_| ()).unwrap();
    assert_eq!(report.problems, [""; 0]);
    assert!(peak() < MOST, "{} MiB", peak());
}
