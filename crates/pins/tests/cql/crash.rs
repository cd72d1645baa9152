//! The database is killed while it is written to.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use futures::StreamExt;
use ues_pins::Clock;
use ues_pins::store::{CqlRetries, CqlSettings, StateError, StateStore, TokenRange};

use crate::conformance::{cid, owner, put, request};
use crate::server::{Server, connect};

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs Cassandra; run by ./test all"]
async fn nothing_acknowledged_is_lost_when_the_database_is_killed() {
    let mut server = Server::start("");
    let settings = CqlSettings {
        timeout: Duration::from_secs(5),
        retry_policy: CqlRetries {
            num_retries: 1,
            ..CqlRetries::default()
        },
        ..server.settings()
    };
    let store = Arc::new(connect(settings.clone(), Clock::default()).await);
    let acknowledged = Arc::new(AtomicU64::new(0));
    let writers: Vec<_> = (0..8u64)
        .map(|writer| {
            let (store, acknowledged) = (Arc::clone(&store), Arc::clone(&acknowledged));
            tokio::spawn(async move {
                for number in 0.. {
                    let change = put(request(&owner("alice"), cid(number * 8 + writer), 1));
                    match store.change_requests(vec![change], Vec::new()).await {
                        Ok(_) => acknowledged.fetch_add(1, Ordering::Relaxed),
                        Err(StateError::Unavailable(_)) => return number,
                        Err(other) => panic!("{other}"),
                    };
                }
                0
            })
        })
        .collect();
    while acknowledged.load(Ordering::Relaxed) < 500 {
        tokio::task::yield_now().await;
    }
    server.stop();
    let mut written = Vec::new();
    for (writer, task) in (0..8).zip(writers) {
        let count = task.await.unwrap();
        written.extend((0..count).map(|number| cid(number * 8 + writer)));
    }
    assert!(written.len() >= 500);
    let errors = store.metrics().unwrap().counts();
    assert!(errors[2] > 0 && errors[4] > 0, "{errors:?}");
    server.restart();
    // The same store finds the database again by itself.
    let deadline = tokio::time::Instant::now() + Duration::from_secs(60);
    while let Err(error) = store.note("n").await {
        assert!(tokio::time::Instant::now() < deadline, "{error}");
    }
    let records = store.records(&written).await.unwrap();
    let lost = records.iter().filter(|r| r.wanted.is_none()).count();
    assert_eq!(lost, 0, "of {}", written.len());
    // What was not acknowledged may be there, whole.
    let scanned: Vec<_> = store.scan(TokenRange::ALL, None).collect().await;
    assert!(scanned.len() >= written.len());
    assert!(scanned.iter().all(|r| r.as_ref().unwrap().wanted.is_some()));
}
