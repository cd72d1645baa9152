//! When a worker tells all that it has pinned.

use std::sync::Arc;
use std::time::Duration;

use parking_lot::Mutex;
use tokio::time::Instant;
use ues_bus::{Bus, QueueSpec, Subject};
use ues_pins::message::{AUDIT, Holdings, read};
use ues_pins::{PeerId, PinMode};
use ues_worker::{Agent, AgentOptions};

use crate::backend::{Held, SimBackend};
use crate::bus::SimBus;
use crate::chance::Chance;

#[tokio::test(start_paused = true)]
async fn soon_after_the_start_and_then_as_rarely_as_it_may() {
    let chance = Chance::new(1);
    let bus = SimBus::new(chance.clone());
    let spec = QueueSpec {
        name: "pin-audit".to_owned(),
        subject: Subject::new(AUDIT).unwrap(),
        ack_wait: Duration::from_secs(60),
        max_attempts: 5,
        max_in_flight: 100,
    };
    let queue = bus.queue(spec).await.unwrap();
    let cid = ues_data::raw_cid(b"what a crash has left");
    let held = Held {
        pins: [(cid, PinMode::Recursive)].into(),
        ..Held::default()
    };
    let backend = SimBackend {
        held: Arc::new(Mutex::new(held)),
        chance,
    };
    let options = AgentOptions {
        exclusive: true,
        ..AgentOptions::new(PeerId::from_ed25519(&[7; 32]))
    };
    let began = Instant::now();
    let agent = Agent::start(Arc::new(backend), Arc::new(bus), options);
    let mut told = Vec::new();
    while told.len() < 3 {
        for delivery in queue.next(1, Duration::from_secs(60)).await.unwrap() {
            let holdings: Holdings = read(&delivery.payload).unwrap();
            assert_eq!(holdings.cids, [cid.to_string()]);
            delivery.receipt.ack().await.unwrap();
            told.push(began.elapsed().as_secs());
        }
        assert!(began.elapsed() < Duration::from_secs(3 * 3600), "{told:?}");
    }
    agent.kill();
    // Listing what is pinned takes the backend some seconds at most.
    assert!((90..100).contains(&told[0]), "{told:?}");
    assert!((3600..3610).contains(&(told[1] - told[0])), "{told:?}");
    assert!((3600..3610).contains(&(told[2] - told[1])), "{told:?}");
}
