//! What is measured of pins, as Prometheus reads it.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::{Duration, Instant};

use ues_bus::{Bus, EmbeddedBus, EmbeddedOptions, Message, QueueSpec, WorkQueue};
use ues_data::Cid;
use ues_pins::message::{self, Assign, Op, Reported, Status};
use ues_pins::planner::{Report, Word};
use ues_pins::service::{Options, Wish};
use ues_pins::shard::{Shard, assign_subject};
use ues_pins::store::{MemoryStore, StateStore};
use ues_pins::{Clock, Owner, PeerId, Pins, Worker};
use ues_storage::engine::MemoryEngine;
use ues_storage::{Store, StoreOptions};

/// A service, and a worker that does what it is told.
struct Desk {
    pins: Pins,
    store: Arc<MemoryStore>,
    bus: Arc<dyn Bus>,
    worker: PeerId,
}

impl Desk {
    async fn new() -> Self {
        let store = Arc::new(MemoryStore::default());
        let engine = Store::with_engine(Arc::new(MemoryEngine::default()), StoreOptions::default());
        let bus: Arc<dyn Bus> =
            EmbeddedBus::open(engine.unwrap(), EmbeddedOptions::default()).unwrap();
        let worker = PeerId::from_ed25519(&[1; 32]);
        store.put_worker(described(&worker)).await.unwrap();
        let mut options = Options::new("test".to_owned());
        options.sweep_pause = Duration::from_millis(50);
        let pins = Pins::start(store.clone(), Arc::clone(&bus), options);
        Self {
            pins,
            store,
            bus,
            worker,
        }
    }

    /// Says of each task that it is done, except of those for one CID, which fail for good.
    async fn work(&self, failing: Cid) -> tokio::task::JoinHandle<()> {
        let spec = QueueSpec {
            name: format!("pin-assign-{}", self.worker),
            subject: assign_subject(&self.worker).unwrap(),
            ack_wait: Duration::from_secs(60),
            max_attempts: 5,
            max_in_flight: 1000,
        };
        let queue = self.bus.queue(spec).await.unwrap();
        let (bus, peer) = (Arc::clone(&self.bus), self.worker.clone());
        tokio::spawn(async move {
            let mut count = 0;
            loop {
                step(&*bus, &*queue, &peer, &mut count, &failing).await;
            }
        })
    }

    /// The metrics, as soon as they have all of this in them.
    async fn until(&self, expected: &[&str]) -> String {
        let begun = Instant::now();
        loop {
            let text = self.pins.metrics_text().await;
            let missing: Vec<_> = expected.iter().filter(|e| !text.contains(**e)).collect();
            if missing.is_empty() {
                return text;
            }
            assert!(
                begun.elapsed() < Duration::from_secs(20),
                "{missing:?} in\n{text}"
            );
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    }
}

async fn step(bus: &dyn Bus, queue: &dyn WorkQueue, peer: &PeerId, count: &mut u64, failing: &Cid) {
    for delivery in queue.next(10, Duration::from_secs(1)).await.unwrap() {
        let assign: Assign = message::read(&delivery.payload).unwrap();
        let mut reports = Vec::new();
        for task in assign.tasks {
            *count += 1;
            let word = match task.op {
                _ if task.cid == failing.to_string() => Word::Failed {
                    terminal: true,
                    reason: "gone".to_owned(),
                },
                Op::Pin => Word::Pinned {
                    bytes: 10,
                    content: 1,
                },
                Op::Unpin => Word::Unpinned,
            };
            let count = *count;
            reports.push(Reported::new(task.cid, Report { count, word }));
        }
        let status = Status {
            peer: peer.clone(),
            reports,
        };
        let subject = Shard(assign.shard).status_subject().unwrap();
        let message = Message::new(subject, message::write(&status));
        bus.publish(vec![message]).await.unwrap();
        delivery.receipt.ack().await.unwrap();
    }
}

fn described(id: &PeerId) -> Worker {
    Worker {
        id: id.clone(),
        name: "one".to_owned(),
        seen_ms: Clock::default().now_ms(),
        free: 1 << 40,
        used: 0,
        pins: None,
        tags: BTreeMap::new(),
        concurrency: 10,
        draining: false,
        failing: None,
        content: 1,
        exclusive: true,
        ipfs_id: String::new(),
        ipfs_addresses: Vec::new(),
        agent: "test".to_owned(),
    }
}

fn owner(name: &str) -> Owner {
    name.parse().unwrap()
}

fn cid(number: u64) -> Cid {
    ues_data::content_id::raw_cid(&number.to_be_bytes())
}

fn prefix(cid: &Cid) -> String {
    format!("0x{:x}", cid.hash().digest()[0] >> 4)
}

#[tokio::test(flavor = "multi_thread")]
async fn the_names_and_labels_are_there() {
    let desk = Desk::new().await;
    let kept = cid(1);
    let elsewhere = |other: &Cid| prefix(other) != prefix(&kept);
    let failing = (2..).map(cid).find(elsewhere).unwrap();
    let working = desk.work(failing).await;
    let alice = owner("alice");
    for cid in [kept, failing] {
        let wish = Wish::default();
        desk.pins.add(&alice, cid, wish).await.unwrap();
    }
    let at = prefix(&kept);
    let worker = &desk.worker;
    let text = desk
        .until(&[
            "pin_end_to_end_seconds_count{source=\"api\",op=\"pin\"} 1\n",
            "pin_assign_to_pinned_seconds_count{op=\"pin\"} 1\n",
            "pin_assign_to_pinned_seconds_bucket{le=\"60.0\",op=\"pin\"} 1\n",
            &format!("pin_events_total{{type=\"upsert\",mh_prefix=\"{at}\"}} "),
            &format!("pin_events_total{{type=\"assign\",mh_prefix=\"{at}\"}} "),
            &format!("pin_events_total{{type=\"status\",mh_prefix=\"{at}\"}} "),
            &format!(
                "pin_events_total{{type=\"error\",mh_prefix=\"{}\"}} 1\n",
                prefix(&failing)
            ),
            &format!("cluster_pin_desired_total{{tenant=\"alice\",mh_prefix=\"{at}\"}} 1\n"),
            &format!("cluster_pin_actual_total{{tenant=\"alice\",mh_prefix=\"{at}\"}} 1\n"),
            &format!("worker_assign_queue_depth{{worker=\"{worker}\"}} 0\n"),
            "worker_failures_total{kind=\"ipfs\"} 1\n",
            "operation=\"change_requests\",status=\"ok\"",
        ])
        .await;
    for line in [
        "# TYPE pin_end_to_end_seconds histogram",
        "# TYPE pin_events_total counter",
        "# TYPE worker_failures_total counter",
        "# TYPE cluster_pin_desired_total gauge",
        "# TYPE worker_assign_queue_depth gauge",
    ] {
        assert!(text.lines().any(|l| l == line), "{line} in\n{text}");
    }
    desk.pins.remove(&alice, &kept.to_string()).await.unwrap();
    desk.until(&[
        "pin_end_to_end_seconds_count{source=\"api\",op=\"unpin\"} 1\n",
        "pin_assign_to_pinned_seconds_count{op=\"unpin\"} 1\n",
    ])
    .await;
    working.abort();
    desk.pins.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_request_that_ends_is_counted() {
    let desk = Desk::new().await;
    let working = desk.work(cid(0)).await;
    let mut wish = Wish::default();
    wish.options.expire_at = Some(desk.pins.now_ms() / 1000 + 1);
    desk.pins.add(&owner("alice"), cid(1), wish).await.unwrap();
    let at = prefix(&cid(1));
    let ended = format!("pin_events_total{{type=\"ttl\",mh_prefix=\"{at}\"}} 1\n");
    desk.until(&[&ended]).await;
    working.abort();
    desk.pins.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn many_owners_make_few_series() {
    let desk = Desk::new().await;
    let working = desk.work(cid(0)).await;
    let mut number = 0;
    for index in 0..200 {
        let name = owner(&format!("owner-{index}"));
        // The first one has the most.
        let pins = if index == 0 { 20 } else { 5 };
        for _ in 0..pins {
            number += 1;
            let wish = Wish::default();
            desk.pins.add(&name, cid(number), wish).await.unwrap();
        }
    }
    let deadline = Instant::now() + Duration::from_secs(30);
    let text = loop {
        let text = desk.until(&["tenant=\"other\""]).await;
        if sum(&text, "cluster_pin_actual_total{") == number {
            break text;
        }
        assert!(Instant::now() < deadline, "{text}");
        tokio::time::sleep(Duration::from_millis(50)).await;
    };
    assert_eq!(sum(&text, "cluster_pin_desired_total{"), number);
    let first = "cluster_pin_actual_total{tenant=\"owner-0\",";
    assert_eq!(sum(&text, first), 20);
    let series = text.lines().filter(|l| !l.starts_with('#'));
    let tenants = series.clone().filter(|l| l.starts_with("cluster_pin_"));
    assert_eq!(tenants.count(), 2 * 51 * 16);
    assert!(series.count() < 3000);
    assert_eq!(desk.store.workers().await.unwrap().len(), 1);
    working.abort();
    desk.pins.stop().await;
}

/// The sum of the samples that begin so.
fn sum(text: &str, begins: &str) -> u64 {
    let samples = text.lines().filter(|l| l.starts_with(begins));
    let values = samples.map(|l| l.rsplit(' ').next().unwrap().parse::<u64>().unwrap());
    values.sum()
}
