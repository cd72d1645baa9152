//! Recent writes leave memory and journal, whatever the load is.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    reason = "a test may panic"
)]

use std::path::Path;

use ues_storage::StoreOptions;
use ues_storage::engine::{Engine, FjallEngine, KeyspaceId, Op, Reads, Shape};

/// Bytes of all journals in a folder. Files that go while they are counted count as nothing.
fn journal_bytes(dir: &Path) -> u64 {
    let files = std::fs::read_dir(dir).unwrap().map(Result::unwrap);
    let journals = files.filter(|file| file.path().extension().is_some_and(|e| e == "jnl"));
    journals
        .filter_map(|file| Some(file.metadata().ok()?.len()))
        .sum()
}

fn op<'a>(ks: KeyspaceId, key: &'a [u8], value: &'a [u8]) -> Op<'a> {
    Op {
        ks,
        key,
        value: Some(value),
    }
}

/// A key that falls anywhere among the others, so that tables overlap and compactions have a lot to do.
fn scattered(number: u64) -> [u8; 16] {
    let mixed = number.wrapping_mul(0x9e37_79b9_7f4a_7c15).rotate_left(31);
    let mixed = mixed.wrapping_mul(0xbf58_476d_1ce4_e5b9);
    (u128::from(mixed) << 64 | u128::from(number)).to_be_bytes()
}

/// Bytes of a memtable, much too few for what follows.
const MEMTABLE: u64 = 1 << 20;

/// Keyspaces that are written to all the time.
const BUSY: [&str; 4] = ["busy0", "busy1", "busy2", "busy3"];

/// Writes a lot in small batches, and looks how long the journal gets.
fn load(dir: &Path) {
    const ROWS: u64 = 3_000_000;
    const BATCH: u64 = 8;
    let options = StoreOptions {
        memtable_bytes: MEMTABLE,
        ..StoreOptions::default()
    };
    let engine = FjallEngine::open(dir, &options).unwrap();
    let busy = BUSY.map(|name| engine.keyspace(name, Shape::Small).unwrap());
    // What is written once and then never again must not keep every later journal alive.
    let quiet = engine.keyspace("quiet", Shape::Small).unwrap();
    let once = [op(quiet, b"key", b"value")];
    engine.apply(&mut once.into_iter()).unwrap();

    let mut longest = 0;
    for first in (0..ROWS).step_by(usize::try_from(BATCH).unwrap()) {
        let keys: Vec<[u8; 16]> = (first..first + BATCH).map(scattered).collect();
        let rows = keys.iter().zip(busy.iter().cycle());
        let mut ops = rows.map(|(key, ks)| op(*ks, key, &[7; 100]));
        engine.apply(&mut ops).unwrap();
        if first % 80_000 == 0 {
            engine.sync().unwrap();
            longest = longest.max(journal_bytes(dir));
        }
    }
    assert!(
        longest < 256 << 20,
        "the journal grew to {longest} bytes of about {}",
        ROWS * 150
    );
    assert_eq!(engine.get(quiet, b"key").unwrap().unwrap(), "value");
    let last = scattered(ROWS - 1);
    let ks = busy[usize::try_from((BATCH - 1) % 4).unwrap()];
    assert!(engine.get(ks, &last).unwrap().is_some());
}

#[test]
fn the_journal_stays_short_under_load() {
    load(tempfile::tempdir().unwrap().path());
}

/// An engine keeps what its keyspaces were made with: here limits within reach, at which it asks its own threads.
#[test]
fn the_journal_stays_short_in_a_folder_of_an_earlier_program() {
    let dir = tempfile::tempdir().unwrap();
    let db = fjall::Database::builder(dir.path()).open().unwrap();
    for name in BUSY {
        let options = || {
            fjall::KeyspaceCreateOptions::default()
                .manual_journal_persist(true)
                .max_memtable_size(MEMTABLE / 6)
        };
        db.keyspace(name, options).unwrap();
    }
    drop(db);
    load(dir.path());
}
