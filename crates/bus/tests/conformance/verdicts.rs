//! What consumers answer, and what comes of it.

use std::time::{Duration, Instant};

use ues_bus::QueueSpec;

use super::{Host, LONG, SHORT, drain, message, none, one, spec, text};

/// A queue in which silence is noticed soon.
fn quick(max_attempts: u32) -> QueueSpec {
    QueueSpec {
        ack_wait: Duration::from_millis(800),
        max_attempts,
        ..spec("w", "pin.assign")
    }
}

pub async fn silence_brings_it_again(host: &mut impl Host) {
    let bus = host.open().await;
    let queue = bus.queue(quick(5)).await.unwrap();
    bus.publish(vec![message("pin.assign", "x")]).await.unwrap();
    let began = Instant::now();
    drop(one(&queue).await);
    none(&queue).await;
    let again = one(&queue).await;
    assert!(
        began.elapsed() >= Duration::from_millis(790),
        "{:?}",
        began.elapsed()
    );
    assert_eq!((text(&again), again.attempt), ("x", 2));
    again.receipt.ack().await.unwrap();
    let quiet = queue.next(1, Duration::from_millis(1_200)).await.unwrap();
    assert!(quiet.is_empty(), "{quiet:?}");
}

pub async fn a_sleeper_gets_what_another_leaves(host: &mut impl Host) {
    let bus = host.open().await;
    let queue = bus.queue(quick(5)).await.unwrap();
    let other = bus.queue(quick(5)).await.unwrap();
    let takers = [queue, other].map(|queue| tokio::spawn(async move { one(&queue).await }));
    let [first, second] = takers;
    bus.publish(vec![message("pin.assign", "x")]).await.unwrap();
    let began = Instant::now();
    let (first, second) = tokio::join!(first, second);
    let mut attempts = [first.unwrap().attempt, second.unwrap().attempt];
    attempts.sort_unstable();
    assert_eq!(attempts, [1, 2]);
    assert!(
        began.elapsed() < Duration::from_secs(5),
        "{:?}",
        began.elapsed()
    );
}

pub async fn a_late_acknowledgement_counts(host: &mut impl Host) {
    let bus = host.open().await;
    let queue = bus.queue(quick(5)).await.unwrap();
    bus.publish(vec![message("pin.assign", "x")]).await.unwrap();
    let first = one(&queue).await;
    let second = one(&queue).await;
    assert_eq!(second.attempt, 2);
    first.receipt.ack().await.unwrap();
    let quiet = queue.next(1, Duration::from_millis(1_200)).await.unwrap();
    assert!(quiet.is_empty(), "{quiet:?}");
    second.receipt.ack().await.unwrap();
    assert!(bus.dead_letters(0, 10).await.unwrap().is_empty());
}

pub async fn a_retry_waits(host: &mut impl Host) {
    let bus = host.open().await;
    let queue = bus.queue(spec("w", "pin.assign")).await.unwrap();
    bus.publish(vec![
        message("pin.assign", "later"),
        message("pin.assign", "now"),
    ])
    .await
    .unwrap();
    let later = one(&queue).await;
    let began = Instant::now();
    later
        .receipt
        .retry_after(Duration::from_millis(500))
        .await
        .unwrap();
    assert_eq!(drain(&queue, 1).await, ["now"], "others pass it");
    none(&queue).await;
    let again = one(&queue).await;
    assert!(
        began.elapsed() >= Duration::from_millis(490),
        "{:?}",
        began.elapsed()
    );
    assert_eq!((text(&again), again.attempt), ("later", 2));
    again.receipt.retry_after(Duration::ZERO).await.unwrap();
    let third = one(&queue).await;
    assert_eq!(third.attempt, 3);
    third.receipt.ack().await.unwrap();
    none(&queue).await;
}

pub async fn progress_keeps_it(host: &mut impl Host) {
    let bus = host.open().await;
    let slow = QueueSpec {
        ack_wait: Duration::from_millis(1_500),
        ..spec("w", "pin.assign")
    };
    let queue = bus.queue(slow).await.unwrap();
    bus.publish(vec![message("pin.assign", "x")]).await.unwrap();
    let began = Instant::now();
    let open = one(&queue).await;
    while began.elapsed() < Duration::from_millis(2_500) {
        open.receipt.in_progress().await.unwrap();
        none(&queue).await;
    }
    let again = one(&queue).await;
    assert_eq!(again.attempt, 2);
    again.receipt.ack().await.unwrap();
}

pub async fn given_up_replayed_discarded(host: &mut impl Host) {
    let bus = host.open().await;
    let queue = bus.queue(spec("w", "pin.assign")).await.unwrap();
    assert!(bus.dead_letters(0, 10).await.unwrap().is_empty());
    bus.publish(vec![message("pin.assign.w1", "bad")])
        .await
        .unwrap();
    let bad = one(&queue).await;
    bad.receipt.give_up("no such CID\r\nhere").await.unwrap();
    none(&queue).await;
    let dead = bus.dead_letters(0, 10).await.unwrap();
    assert_eq!(dead.len(), 1);
    assert_eq!(
        (dead[0].queue.as_str(), dead[0].subject.as_str()),
        ("w", "pin.assign.w1")
    );
    assert_eq!(&dead[0].payload[..], b"bad");
    assert_eq!(dead[0].reason, "no such CID  here");
    assert!(dead[0].at_ms >= bad.published_at_ms);

    assert!(bus.replay(dead[0].id).await.unwrap());
    assert!(!bus.replay(dead[0].id).await.unwrap());
    assert!(bus.dead_letters(0, 10).await.unwrap().is_empty());
    let again = one(&queue).await;
    assert_eq!((text(&again), again.attempt), ("bad", 1));
    assert_eq!(again.subject.as_str(), "pin.assign.w1");
    again.receipt.give_up("still").await.unwrap();
    let second = bus.dead_letters(0, 10).await.unwrap();
    assert!(second[0].id > dead[0].id, "ids rise");
    assert!(bus.discard(second[0].id).await.unwrap());
    assert!(!bus.discard(second[0].id).await.unwrap());
    assert!(!bus.replay(second[0].id).await.unwrap());
    assert!(bus.dead_letters(0, 10).await.unwrap().is_empty());
    none(&queue).await;
}

pub async fn silence_ends_among_the_dead(host: &mut impl Host) {
    let bus = host.open().await;
    let queue = bus.queue(quick(2)).await.unwrap();
    bus.publish(vec![message("pin.assign", "x")]).await.unwrap();
    for attempt in 1..=2 {
        assert_eq!(one(&queue).await.attempt, attempt);
    }
    // Whoever takes next finds that it was delivered often enough.
    let quiet = queue.next(1, Duration::from_millis(1_600)).await.unwrap();
    assert!(quiet.is_empty(), "{quiet:?}");
    let dead = bus.dead_letters(0, 10).await.unwrap();
    assert_eq!(dead.len(), 1);
    assert_eq!(dead[0].reason, "no verdict after 2 deliveries");
    assert!(bus.replay(dead[0].id).await.unwrap());
    let again = one(&queue).await;
    assert_eq!(again.attempt, 1, "a replay begins anew");
    again.receipt.ack().await.unwrap();
}

pub async fn retries_end_among_the_dead(host: &mut impl Host) {
    let bus = host.open().await;
    let few = QueueSpec {
        max_attempts: 2,
        ..spec("w", "pin.assign")
    };
    let queue = bus.queue(few).await.unwrap();
    bus.publish(vec![message("pin.assign", "x")]).await.unwrap();
    for attempt in 1..=2 {
        let taken = one(&queue).await;
        assert_eq!(taken.attempt, attempt);
        taken.receipt.retry_after(Duration::ZERO).await.unwrap();
    }
    none(&queue).await;
    let dead = bus.dead_letters(0, 10).await.unwrap();
    assert_eq!(dead.len(), 1);
    assert_eq!(dead[0].reason, "handed back at the last of 2 deliveries");
}

pub async fn dead_letters_are_listed_in_order(host: &mut impl Host) {
    let bus = host.open().await;
    let queue = bus.queue(spec("w", "pin.assign")).await.unwrap();
    let sent = (0..30).map(|n| message("pin.assign", &n.to_string()));
    bus.publish(sent.collect()).await.unwrap();
    for n in 0..30 {
        let taken = queue.next(1, LONG).await.unwrap();
        taken[0]
            .receipt
            .give_up(&format!("because {n}"))
            .await
            .unwrap();
    }
    let mut after = 0;
    let mut reasons = Vec::new();
    loop {
        let page = bus.dead_letters(after, 7).await.unwrap();
        let Some(last) = page.last() else { break };
        after = last.id;
        assert!(page.len() <= 7);
        reasons.extend(page.into_iter().map(|d| d.reason));
    }
    let expected: Vec<_> = (0..30).map(|n| format!("because {n}")).collect();
    assert_eq!(reasons, expected);
    assert!(bus.dead_letters(0, 0).await.unwrap().is_empty());
    assert!(queue.next(1, SHORT).await.unwrap().is_empty());
}
