//! The embedded bus, on disk: the conformance suite, and what only it promises.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    reason = "a test may panic"
)]

mod conformance;

use std::sync::Arc;
use std::time::Duration;

use tempfile::TempDir;
use ues_bus::{Bus, BusError, EmbeddedBus, EmbeddedOptions, QueueSpec};
use ues_storage::{Clock, Store, StoreOptions};

use conformance::{Host, drain, message, none, one, spec, text};

/// A store in a folder of its own.
struct Folder {
    dir: TempDir,
    options: EmbeddedOptions,
}

impl Folder {
    fn new() -> Self {
        Self {
            dir: tempfile::tempdir().unwrap(),
            options: EmbeddedOptions::default(),
        }
    }

    fn bus(&self) -> Arc<EmbeddedBus> {
        let store = Store::open(self.dir.path(), StoreOptions::default()).unwrap();
        EmbeddedBus::open(store, self.options.clone()).unwrap()
    }
}

#[async_trait::async_trait]
impl Host for Folder {
    async fn open(&mut self) -> Arc<dyn Bus> {
        self.bus()
    }

    async fn reopen(&mut self) -> Arc<dyn Bus> {
        self.bus()
    }
}

conformance!(Folder::new(),);

#[tokio::test]
async fn a_full_queue_takes_nothing() {
    let mut folder = Folder::new();
    folder.options.max_messages = 3;
    let bus = folder.bus();
    let queue = bus.queue(spec("w", "pin.assign")).await.unwrap();
    let other = bus.queue(spec("s", "pin.status")).await.unwrap();
    let three = || vec![message("pin.assign", "x"); 3];
    bus.publish(three()).await.unwrap();
    let more = vec![message("pin.status", "y"), message("pin.assign", "y")];
    let full = bus.publish(more.clone()).await.unwrap_err();
    assert!(matches!(full, BusError::Full { .. }), "{full}");
    assert_eq!(full.to_string(), "queue w is full: it may hold 3 messages");
    none(&other).await;
    drain(&queue, 1).await;
    bus.publish(more).await.unwrap();
    drop((queue, other, bus));
    // What a queue holds is known after a restart.
    let bus = folder.bus();
    let full = bus.publish(three()).await.unwrap_err();
    assert!(matches!(full, BusError::Full { .. }), "{full}");
}

#[tokio::test]
async fn only_so_many_dead_letters_stay() {
    let mut folder = Folder::new();
    folder.options.max_dead_letters = 2;
    let bus = folder.bus();
    let queue = bus.queue(spec("w", "pin.assign")).await.unwrap();
    for n in 0..5 {
        bus.publish(vec![message("pin.assign", &n.to_string())])
            .await
            .unwrap();
        one(&queue).await.receipt.give_up("bad").await.unwrap();
    }
    let payloads = |bus: Arc<EmbeddedBus>| async move {
        let dead = bus.dead_letters(0, 10).await.unwrap();
        dead.iter().map(|d| d.payload[0]).collect::<Vec<_>>()
    };
    assert_eq!(payloads(Arc::clone(&bus)).await, b"34");
    drop((queue, bus));
    assert_eq!(payloads(folder.bus()).await, b"34");
}

#[tokio::test]
async fn an_id_is_forgotten_after_its_window() {
    let now = Arc::new(std::sync::atomic::AtomicU64::new(1_000_000));
    let clock = Clock::new({
        let now = Arc::clone(&now);
        move || now.load(std::sync::atomic::Ordering::SeqCst)
    });
    let dir = tempfile::tempdir().unwrap();
    let options = StoreOptions {
        clock: clock.clone(),
        ..StoreOptions::default()
    };
    let store = Store::open(dir.path(), options).unwrap();
    let options = EmbeddedOptions {
        clock,
        ..EmbeddedOptions::default()
    };
    let bus = EmbeddedBus::open(store, options).unwrap();
    let queue = bus.queue(spec("w", "pin.assign")).await.unwrap();
    let with_id = || ues_bus::Message {
        id: Some("a".into()),
        ..message("pin.assign", "x")
    };
    for (passed_ms, comes) in [(0, true), (119_999, false), (1, true)] {
        now.fetch_add(passed_ms, std::sync::atomic::Ordering::SeqCst);
        bus.publish(vec![with_id()]).await.unwrap();
        let taken = queue.next(1, Duration::ZERO).await.unwrap();
        assert_eq!(taken.len(), usize::from(comes), "after {passed_ms}");
        for delivery in taken {
            delivery.receipt.ack().await.unwrap();
        }
    }
}

#[tokio::test]
async fn a_pause_outlives_a_restart() {
    let folder = Folder::new();
    let bus = folder.bus();
    let queue = bus.queue(spec("w", "pin.assign")).await.unwrap();
    bus.publish(vec![
        message("pin.assign", "later"),
        message("pin.assign", "soon"),
    ])
    .await
    .unwrap();
    let mut taken = Vec::new();
    while taken.len() < 2 {
        taken.extend(queue.next(2, Duration::from_secs(5)).await.unwrap());
    }
    taken[0]
        .receipt
        .retry_after(Duration::from_secs(3_600))
        .await
        .unwrap();
    taken[1]
        .receipt
        .retry_after(Duration::from_millis(1))
        .await
        .unwrap();
    drop((taken, queue, bus));
    let bus = folder.bus();
    let queue = bus.queue(spec("w", "pin.assign")).await.unwrap();
    let soon = one(&queue).await;
    assert_eq!((text(&soon), soon.attempt), ("soon", 2));
    none(&queue).await;
    let stats = bus.stats().await.unwrap();
    assert_eq!((stats[0].waiting, stats[0].in_flight), (1, 1));
}

#[tokio::test]
async fn a_removed_queue_makes_room_for_another() {
    let folder = Folder::new();
    let bus = folder.bus();
    let old = bus.queue(spec("old", "pin.assign")).await.unwrap();
    let sent = (0..2_500).map(|n| message("pin.assign", &n.to_string()));
    bus.publish(sent.collect()).await.unwrap();
    let open = one(&old).await;
    assert!(bus.remove_queue("old").await.unwrap());
    assert!(!bus.remove_queue("old").await.unwrap());
    let refused = old.next(1, Duration::ZERO).await.unwrap_err();
    assert!(matches!(refused, BusError::Refused(_)), "{refused}");
    open.receipt.ack().await.unwrap();
    let new = bus.queue(spec("new", "pin.assign")).await.unwrap();
    bus.publish(vec![message("pin.assign", "x")]).await.unwrap();
    assert_eq!(drain(&new, 1).await, ["x"]);
    none(&new).await;
}

#[tokio::test]
async fn a_cancelled_call_costs_no_attempt() {
    let folder = Folder::new();
    let bus = folder.bus();
    let queue = bus
        .queue(QueueSpec {
            max_attempts: 2,
            ..spec("w", "pin.assign")
        })
        .await
        .unwrap();
    bus.publish(vec![message("pin.assign", "x")]).await.unwrap();
    for _ in 0..10 {
        let next = queue.next(1, Duration::from_secs(5));
        // One look, which takes the message and begins to wait for the commit.
        tokio::select! {
            biased;
            taken = next => drop(taken.unwrap().remove(0).receipt.retry_after(Duration::ZERO).await),
            () = std::future::ready(()) => continue,
        }
        panic!("the commit cannot be done at once");
    }
    let taken = one(&queue).await;
    assert_eq!((text(&taken), taken.attempt), ("x", 1));
}

#[tokio::test]
async fn a_message_without_a_queue_is_dropped() {
    let folder = Folder::new();
    let bus = folder.bus();
    bus.publish(vec![message("pin.assign", "early")])
        .await
        .unwrap();
    let queue = bus.queue(spec("w", "pin.assign")).await.unwrap();
    none(&queue).await;
}
