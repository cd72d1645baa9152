//! Keys that expire, the log's tail and trimming, projections.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    reason = "a test may panic"
)]

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use parking_lot::Mutex;
use ues_storage::engine::MemoryEngine;
use ues_storage::sqlite::SqliteIndex;
use ues_storage::{
    Clock, Event, Projection, ProjectionError, ProjectionStatus, Store, StoreOptions, WaitError,
};

const LONG: Duration = Duration::from_secs(60);

fn options() -> StoreOptions {
    StoreOptions {
        housekeeping: None,
        ..StoreOptions::default()
    }
}

fn memory(options: StoreOptions) -> Store {
    Store::with_engine(Arc::new(MemoryEngine::new()), options).unwrap()
}

#[test]
fn expired_keys_vanish_at_once_and_are_swept() {
    let now = Arc::new(AtomicU64::new(1_000));
    let clock = Clock::new({
        let now = Arc::clone(&now);
        move || now.load(Ordering::Relaxed)
    });
    let store = memory(StoreOptions { clock, ..options() });
    let ks = store.keyspace("sessions").unwrap();
    let mut batch = store.batch();
    batch.put_with_ttl(&ks, "short", "1", 2_000);
    batch.put_with_ttl(&ks, "long", "2", 9_000);
    batch.put_with_ttl(&ks, "renewed", "3", 2_000);
    batch.put_with_ttl(&ks, "kept", "4", 2_000);
    batch.put(&ks, "plain", "5");
    store.commit_blocking(batch).unwrap();
    let mut batch = store.batch();
    batch.put_with_ttl(&ks, "renewed", "3", 9_000);
    batch.put(&ks, "kept", "4");
    store.commit_blocking(batch).unwrap();
    assert_eq!(ks.prefix("").count(), 5);
    now.store(2_000, Ordering::Relaxed);
    assert_eq!(ks.get("short").unwrap(), None);
    assert_eq!(ks.prefix("").count(), 4);
    assert_eq!(store.sweep_expired().unwrap(), 1);
    assert_eq!(store.sweep_expired().unwrap(), 0);
    now.store(1_000, Ordering::Relaxed);
    assert_eq!(ks.get("short").unwrap(), None, "really gone");
    assert_eq!(ks.prefix("").rev().count(), 4);
}

#[test]
fn the_background_sweeps_by_itself() {
    let now = Arc::new(AtomicU64::new(1_000));
    let clock = Clock::new({
        let now = Arc::clone(&now);
        move || now.load(Ordering::Relaxed)
    });
    let store = memory(StoreOptions {
        clock,
        housekeeping: Some(Duration::from_millis(1)),
        ..options()
    });
    let ks = store.keyspace("sessions").unwrap();
    let mut batch = store.batch();
    batch.put_with_ttl(&ks, "short", "1", 2_000);
    store.commit_blocking(batch).unwrap();
    let held = || {
        store
            .stats()
            .unwrap()
            .keyspace_bytes
            .iter()
            .find(|(name, _)| *name == "expiry")
            .unwrap()
            .1
    };
    assert!(held() > 0);
    now.store(3_000, Ordering::Relaxed);
    while held() > 0 {
        std::thread::yield_now();
    }
}

fn append(store: &Store, events: impl IntoIterator<Item = u32>) {
    let mut batch = store.batch();
    for n in events {
        batch.append_event(n.to_be_bytes());
    }
    store.commit_blocking(batch).unwrap();
}

#[test]
fn the_log_reads_from_memory_and_disk_alike() {
    let dir = tempfile::tempdir().unwrap();
    let store = Store::open(
        dir.path(),
        StoreOptions {
            log_tail_bytes: 2_000,
            ..options()
        },
    )
    .unwrap();
    for n in 0..100 {
        append(&store, [n]);
    }
    for after in [0, 1, 50, 70, 95, 99, 100, 1000] {
        let events = store.log().read(after, 10, usize::MAX).unwrap();
        assert!(
            events.iter().map(|e| e.seq).eq((after + 1..=100).take(10)),
            "{after}"
        );
        assert!(
            events
                .iter()
                .all(|e| *e.payload == (e.seq as u32 - 1).to_be_bytes())
        );
    }
    assert_eq!(
        store.log().read(98, 10, 1).unwrap().len(),
        1,
        "the first always fits"
    );
    assert_eq!(store.log().read(0, 10, 9).unwrap().len(), 2);
    assert_eq!(store.log().trim(61).unwrap(), 60);
    assert_eq!(store.log().trim(10).unwrap(), 0);
    assert_eq!(
        (store.log().first_seq(), store.log().last_durable()),
        (61, 100)
    );
    assert_eq!(store.log().read(0, 1, usize::MAX).unwrap()[0].seq, 61);
    assert_eq!(store.log().trim(u64::MAX).unwrap(), 40);
    assert!(store.log().read(0, 1, usize::MAX).unwrap().is_empty());
    assert!(store.check(&mut |_| ()).unwrap().is_sound());
    drop(store);
    let store = Store::open(dir.path(), options()).unwrap();
    assert_eq!(
        (store.log().first_seq(), store.log().last_durable()),
        (101, 100)
    );
    append(&store, [7]);
    assert_eq!(store.log().read(0, 1, usize::MAX).unwrap()[0].seq, 101);
}

/// Sums events in memory; fails when it is told to.
struct Sum {
    state: Arc<Mutex<(u64, u64)>>,
    fail: Arc<Mutex<bool>>,
}

impl Projection for Sum {
    fn name(&self) -> &str {
        "sum"
    }

    fn cursor(&mut self) -> Result<u64, ProjectionError> {
        Ok(self.state.lock().0)
    }

    fn apply(&mut self, events: &[Event]) -> Result<(), ProjectionError> {
        if *self.fail.lock() {
            return Err(ProjectionError::state("told to fail"));
        }
        let mut state = self.state.lock();
        for event in events {
            assert_eq!(event.seq, state.0 + 1, "in order, each once");
            state.0 = event.seq;
            state.1 += u64::from(u32::from_be_bytes(event.payload[..].try_into().unwrap()));
        }
        Ok(())
    }

    fn reset(&mut self) -> Result<(), ProjectionError> {
        *self.state.lock() = (0, 0);
        Ok(())
    }
}

#[tokio::test]
async fn a_projection_follows_fails_recovers_and_replays() {
    let store = memory(options());
    let (state, fail) = (Arc::new(Mutex::new((0, 0))), Arc::new(Mutex::new(false)));
    append(&store, 0..3000);
    let handle = store
        .project(Sum {
            state: Arc::clone(&state),
            fail: Arc::clone(&fail),
        })
        .unwrap();
    handle.wait_for(3000, LONG).await.unwrap();
    assert_eq!(*state.lock(), (3000, 3000 * 2999 / 2));
    assert_eq!(handle.lag(), 0);

    *fail.lock() = true;
    let healthy = store
        .project(Sum {
            state: Arc::default(),
            fail: Arc::default(),
        })
        .unwrap();
    append(&store, [1]);
    healthy.wait_for(3001, LONG).await.unwrap();
    while !matches!(handle.status(), ProjectionStatus::Failing { .. }) {
        tokio::task::yield_now().await;
    }
    assert_eq!((handle.cursor(), handle.lag()), (3000, 1));
    let late = handle.wait_for(3001, Duration::ZERO).await;
    assert!(
        matches!(
            late,
            Err(WaitError::Timeout {
                cursor: 3000,
                wanted: 3001
            })
        ),
        "{late:?}"
    );
    let ProjectionStatus::Failing { reason, .. } = handle.status() else {
        panic!("still failing")
    };
    assert_eq!(reason, "told to fail");

    *fail.lock() = false;
    handle.wait_for(3001, LONG).await.unwrap();
    *state.lock() = (0, 99);
    handle.reset();
    append(&store, [1]);
    while *state.lock() != (3002, 3000 * 2999 / 2 + 2) {
        tokio::task::yield_now().await;
    }
    handle.wait_for(3002, LONG).await.unwrap();
    handle.stop();
    assert_eq!(handle.status(), ProjectionStatus::Stopped);
    assert!(matches!(
        handle.wait_for(9999, LONG).await,
        Err(WaitError::Stopped { .. })
    ));
}

#[tokio::test]
async fn closing_the_store_ends_projections_and_waiters() {
    let store = memory(options());
    let handle = store
        .project(Sum {
            state: Arc::default(),
            fail: Arc::default(),
        })
        .unwrap();
    let mut seq = store.log().subscribe();
    append(&store, [5]);
    assert_eq!(*seq.wait_for(|&s| s >= 1).await.unwrap(), 1);
    store.close();
    assert!(matches!(
        handle.wait_for(2, LONG).await,
        Err(WaitError::Stopped { .. })
    ));
}

/// The same sum, kept in SQLite.
struct SqliteSum(SqliteIndex);

impl Projection for SqliteSum {
    fn name(&self) -> &str {
        "sqlite-sum"
    }

    fn cursor(&mut self) -> Result<u64, ProjectionError> {
        self.0.cursor().map_err(ProjectionError::state)
    }

    fn apply(&mut self, events: &[Event]) -> Result<(), ProjectionError> {
        let Some(last) = events.last() else {
            return Ok(());
        };
        let work = |tx: &ues_storage::sqlite::rusqlite::Transaction<'_>| {
            let mut insert = tx.prepare_cached("INSERT INTO n VALUES (?1)")?;
            for event in events {
                insert.execute([u32::from_be_bytes(event.payload[..].try_into().unwrap())])?;
            }
            Ok(())
        };
        self.0
            .write_tx(last.seq, work)
            .map_err(ProjectionError::state)
    }

    fn reset(&mut self) -> Result<(), ProjectionError> {
        self.0.reset().map_err(ProjectionError::state)
    }
}

#[tokio::test]
async fn a_sqlite_projection_resumes_where_it_was() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("sum.sqlite");
    let open =
        || SqliteIndex::open(&path, 1, "CREATE TABLE n (n INTEGER NOT NULL) STRICT").unwrap();
    let store = memory(options());
    for round in 1..=3u32 {
        append(&store, 0..100);
        let handle = store.project(SqliteSum(open())).unwrap();
        handle.wait_for(u64::from(round) * 100, LONG).await.unwrap();
        handle.stop();
        let count = |c: &ues_storage::sqlite::rusqlite::Connection| {
            c.query_row("SELECT count(*), sum(n) FROM n", [], |r| {
                Ok((r.get::<_, u32>(0)?, r.get::<_, u32>(1)?))
            })
        };
        assert_eq!(
            open().with_reader(count).unwrap(),
            (round * 100, round * 4950)
        );
    }
}
