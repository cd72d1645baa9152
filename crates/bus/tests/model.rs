//! Random use of the embedded bus, with restarts, crashes and failing disks, against a simple model: nothing is lost
//! that was not settled, nothing comes after its end, attempts are counted, limits hold.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    reason = "a test may panic"
)]

mod modelled;

use std::time::Duration;

use proptest::prelude::*;
use ues_bus::{Bus, BusError};
use ues_storage::engine::Fault;

use modelled::{Harness, Model, Op};

fn op(faults: bool) -> impl Strategy<Value = Op> {
    let pause = prop_oneof![Just(0u64), 1..2_000u64, Just(3_600_000)];
    let plain = prop_oneof![
        4 => (1usize..6).prop_map(Op::Publish),
        2 => (0u8..3).prop_map(Op::PublishOnce),
        6 => (1usize..6).prop_map(Op::Next),
        4 => any::<usize>().prop_map(Op::Ack),
        2 => (any::<usize>(), pause).prop_map(|(at, pause)| Op::Retry(at, pause)),
        1 => any::<usize>().prop_map(Op::GiveUp),
        1 => any::<usize>().prop_map(Op::Progress),
        3 => prop_oneof![1..400u64, Just(1_000), Just(130_000)].prop_map(Op::Pass),
        1 => any::<usize>().prop_map(Op::Replay),
        1 => any::<usize>().prop_map(Op::Discard),
        1 => Just(Op::Restart),
    ];
    let kind = prop_oneof![
        Just(Fault::TornWrite),
        Just(Fault::FailedSync),
        Just(Fault::DiskFull)
    ];
    let fault = (1u64..8, kind).prop_map(|(nth, kind)| Op::Fail(nth, kind));
    let crash = (0usize..3).prop_map(Op::Crash);
    let (crashes, failures) = if faults { (2, 2) } else { (0, 0) };
    prop_oneof![26 => plain, crashes => crash, failures => fault]
}

fn run(ops: Vec<Op>) {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_time()
        .build()
        .unwrap();
    runtime.block_on(async {
        let mut harness = Harness::new().await;
        for op in ops {
            if let Err(e) = harness.apply(op).await {
                assert!(matches!(e, BusError::Unavailable(_)), "{e}");
                harness.crash(1).await;
            }
            harness.check_dead_letters().await;
        }
        harness.finish().await;
    });
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 512, ..ProptestConfig::default() })]

    #[test]
    fn restarts(ops in proptest::collection::vec(op(false), 1..60)) {
        run(ops);
    }

    #[test]
    fn crashes_and_failing_disks(ops in proptest::collection::vec(op(true), 1..60)) {
        run(ops);
    }
}

/// A message that ends the process each time it is delivered must not do so for ever.
#[tokio::test]
async fn poison_ends_among_the_dead() {
    let mut harness = Harness::new().await;
    harness.apply(Op::Publish(1)).await.unwrap();
    for _ in 0..Model::MAX_ATTEMPTS {
        harness.apply(Op::Next(1)).await.unwrap();
        // Nothing survives that was not synced.
        harness.crash(0).await;
    }
    harness.apply(Op::Next(1)).await.unwrap();
    assert_eq!(harness.bus().dead_letters(0, 10).await.unwrap().len(), 1);
    harness.finish().await;
}

/// Once the store takes no more writes every call says so, and none hangs.
#[tokio::test]
async fn a_poisoned_store_is_told() {
    let mut harness = Harness::new().await;
    harness.apply(Op::Publish(2)).await.unwrap();
    harness.apply(Op::Next(1)).await.unwrap();
    harness.apply(Op::Fail(1, Fault::DiskFull)).await.unwrap();
    for op in [
        Op::Publish(1),
        Op::Publish(1),
        Op::Next(1),
        Op::Ack(0),
        Op::GiveUp(0),
    ] {
        let told = tokio::time::timeout(Duration::from_secs(5), harness.apply(op)).await;
        // An acknowledgement that finds nothing to do any more is none.
        match told.unwrap() {
            Err(BusError::Unavailable(_)) => (),
            other => assert!(matches!(op, Op::GiveUp(0)), "{op:?}: {other:?}"),
        }
    }
    harness.crash(0).await;
    harness.finish().await;
}
