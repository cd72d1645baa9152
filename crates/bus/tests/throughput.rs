//! How many messages pass through the embedded bus on disk. Not a test of correctness; run it by hand:
//! `cargo test --release -p ues-bus --test throughput -- --ignored --nocapture`
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    reason = "a test may panic"
)]

use std::sync::Arc;
use std::time::{Duration, Instant};

use ues_bus::{Bus, EmbeddedBus, EmbeddedOptions, Message, QueueSpec, Subject, WorkQueue};
use ues_storage::{Store, StoreOptions};

const BATCH: usize = 500;

fn number(name: &str, default: usize) -> usize {
    let set = std::env::var(name).ok();
    set.and_then(|n| n.parse().ok()).unwrap_or(default)
}

fn peak_mb() -> usize {
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let line = status.lines().find_map(|l| l.strip_prefix("VmHWM:"));
    let kb = line.and_then(|l| l.split_whitespace().next()?.parse().ok());
    kb.unwrap_or(0) / 1024
}

async fn publish(bus: Arc<EmbeddedBus>, count: usize) {
    let subject = Subject::new("pin.assign.w1").unwrap();
    let payload = bytes::Bytes::from(
        (0..1024u32)
            .map(|n| (n.wrapping_mul(2_654_435_761) >> 13) as u8)
            .collect::<Vec<_>>(),
    );
    for _ in 0..count / BATCH {
        let message = Message::new(subject.clone(), payload.clone());
        bus.publish(vec![message; BATCH]).await.unwrap();
    }
}

async fn consume(queue: Arc<dyn WorkQueue>, count: usize) {
    let mut got = 0;
    while got < count {
        for delivery in queue.next(BATCH, Duration::from_secs(5)).await.unwrap() {
            delivery.receipt.ack().await.unwrap();
            got += 1;
        }
    }
}

fn rate(what: &str, count: usize, began: Instant) {
    let per_second = count as f64 / began.elapsed().as_secs_f64();
    println!("{what}: {per_second:.0} messages/s, peak {} MB", peak_mb());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "a measurement; run by hand"]
async fn measure() {
    let count = number("COUNT", 500_000) / BATCH * BATCH;
    let dir = tempfile::tempdir().unwrap();
    let store = StoreOptions {
        memtable_bytes: (number("MEMTABLE_MB", 6) as u64) << 20,
        ..StoreOptions::default()
    };
    let store = Store::open(dir.path(), store).unwrap();
    let bus = EmbeddedBus::open(store, EmbeddedOptions::default()).unwrap();
    let spec = QueueSpec {
        name: "w".into(),
        subject: Subject::new("pin.assign").unwrap(),
        ack_wait: Duration::from_secs(60),
        max_attempts: 5,
        max_in_flight: 10_000,
    };
    let queue = bus.queue(spec).await.unwrap();

    let began = Instant::now();
    let publisher = tokio::spawn(publish(Arc::clone(&bus), count));
    let consumer = tokio::spawn(consume(Arc::clone(&queue), count));
    publisher.await.unwrap();
    rate("published, while consumed", count, began);
    consumer.await.unwrap();
    rate("published, taken and acknowledged", count, began);

    let began = Instant::now();
    publish(Arc::clone(&bus), count).await;
    rate("published, nobody consumes", count, began);
    let began = Instant::now();
    consume(queue, count).await;
    rate("taken and acknowledged from a full queue", count, began);
}
