//! A process under load is killed at arbitrary moments: what it had acknowledged is there, the log has no gap and no
//! double, and the store is sound.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    reason = "a test may panic"
)]

use std::collections::BTreeSet;
use std::io::{BufRead, BufReader};
use std::path::Path;
use std::process::{Command, Stdio};

use ues_storage::multihash::Multihash;
use ues_storage::{BlockRef, Store, StoreOptions};

const FOLDER: &str = "UES_STORAGE_CRASH_FOLDER";

fn mh(bytes: &[u8]) -> Multihash<64> {
    Multihash::wrap(0x1e, blake3::hash(bytes).as_bytes()).unwrap()
}

fn open(dir: &Path) -> Store {
    // Small tables, so that flushes and compactions are hit too.
    let options = StoreOptions {
        memtable_bytes: 1 << 20,
        housekeeping: Some(std::time::Duration::from_millis(20)),
        ..StoreOptions::default()
    };
    Store::open(dir, options).unwrap()
}

fn payload(writer: u8, n: u64) -> Vec<u8> {
    let mut bytes = vec![0; 1500];
    blake3::Hasher::new()
        .update(&[writer])
        .update(&n.to_be_bytes())
        .finalize_xof()
        .fill(&mut bytes);
    bytes.splice(0..9, [&[writer][..], &n.to_be_bytes()].concat());
    bytes
}

/// The child: four writers that print each event's number after it was acknowledged. Does nothing without a folder.
#[test]
fn child() {
    let Some(dir) = std::env::var_os(FOLDER) else {
        return;
    };
    let store = open(Path::new(&dir));
    let keys = store.keyspace("keys").unwrap();
    std::thread::scope(|scope| {
        for writer in 0..4u8 {
            let (store, keys) = (&store, &keys);
            scope.spawn(move || {
                for n in 0.. {
                    let bytes = payload(writer, store.log().last_durable() * 1000 + n);
                    let mut batch = store.batch();
                    batch.put_block(
                        &mh(&bytes),
                        &bytes,
                        BlockRef {
                            owner: writer.into(),
                            slot: 0,
                        },
                    );
                    if let Ok(Some(old)) = keys.get([writer]) {
                        let old = Multihash::from_bytes(&old).unwrap();
                        batch.release_block(
                            &old,
                            BlockRef {
                                owner: writer.into(),
                                slot: 0,
                            },
                        );
                    }
                    batch.put(keys, [writer], mh(&bytes).to_bytes());
                    batch.append_event(&bytes);
                    let done = store.commit_blocking(batch).unwrap();
                    println!(
                        "ack {} {}",
                        done.first_seq.unwrap(),
                        blake3::hash(&bytes).to_hex()
                    );
                }
            });
        }
    });
}

#[test]
fn killed_at_any_moment() {
    let rounds: u64 = std::env::var("UES_CRASH_ROUNDS")
        .ok()
        .and_then(|n| n.parse().ok())
        .unwrap_or(12);
    let dir = tempfile::tempdir().unwrap();
    let mut acknowledged = BTreeSet::new();
    for round in 0..rounds {
        let mut child = Command::new(std::env::current_exe().unwrap())
            .args(["child", "--exact", "--nocapture"])
            .env(FOLDER, dir.path())
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        let mut lines = BufReader::new(child.stdout.take().unwrap())
            .lines()
            .map_while(Result::ok);
        // A different moment each time, counted in work rather than in time.
        let until = 1 + (round * 97) % 400;
        let mut seen = 0;
        while seen < until {
            let line = lines.next().expect("the child writes until it is killed");
            seen += u64::from(acknowledge(&line, &mut acknowledged));
        }
        child.kill().unwrap();
        lines.for_each(|line| {
            acknowledge(&line, &mut acknowledged);
        });
        child.wait().unwrap();
        verify(dir.path(), &acknowledged, round);
    }
}

/// Notes an acknowledged event; a line cut short by the kill is none.
fn acknowledge(line: &str, acknowledged: &mut BTreeSet<(u64, String)>) -> bool {
    let Some(at) = line.find("ack ") else {
        return false;
    };
    let mut words = line[at + 4..].split(' ');
    let (Some(seq), Some(hash)) = (words.next().and_then(|s| s.parse().ok()), words.next()) else {
        return false;
    };
    hash.len() == 64 && acknowledged.insert((seq, hash.to_owned()))
}

fn verify(dir: &Path, acknowledged: &BTreeSet<(u64, String)>, round: u64) {
    let store = open(dir);
    let mut found = BTreeSet::new();
    let mut after = 0;
    loop {
        let events = store.log().read(after, 1000, usize::MAX).unwrap();
        let Some(last) = events.last() else { break };
        for (event, expected) in events.iter().zip(after + 1..) {
            assert_eq!(event.seq, expected, "round {round}: no gap and no double");
            found.insert((event.seq, blake3::hash(&event.payload).to_hex().to_string()));
        }
        after = last.seq;
    }
    let lost: Vec<_> = acknowledged.difference(&found).collect();
    assert!(
        lost.is_empty(),
        "round {round}: acknowledged and lost: {lost:?}"
    );
    let report = store.check(&mut |_| ()).unwrap();
    assert!(report.is_sound(), "round {round}: {:?}", report.damage);
    for row in store.keyspace("keys").unwrap().prefix("") {
        let newest = Multihash::from_bytes(&row.unwrap().1).unwrap();
        assert!(store.has_block(&newest).unwrap(), "round {round}");
    }
}
