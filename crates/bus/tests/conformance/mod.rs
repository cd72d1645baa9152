//! What every bus does. A test program brings a [`Host`] and gets one test for each function of the two modules.

pub mod delivery;
pub mod verdicts;

use std::sync::Arc;
use std::time::{Duration, Instant};

use ues_bus::{Bus, Delivery, Message, QueueSpec, Subject, WorkQueue};

/// Where a bus lives.
#[async_trait::async_trait]
pub trait Host: Send {
    /// The bus; an empty one in a new host.
    async fn open(&mut self) -> Arc<dyn Bus>;

    /// The same bus as another process would see it after the present one ended. Earlier handles must be dropped.
    async fn reopen(&mut self) -> Arc<dyn Bus>;
}

/// Longer than anything that comes takes to come.
pub const LONG: Duration = Duration::from_secs(20);
/// Shows that nothing comes.
pub const SHORT: Duration = Duration::from_millis(150);

pub fn subject(text: &str) -> Subject {
    Subject::new(text).unwrap()
}

pub fn message(to: &str, payload: &str) -> Message {
    Message::new(subject(to), payload.to_owned())
}

/// A queue that takes its time.
pub fn spec(name: &str, takes: &str) -> QueueSpec {
    QueueSpec {
        name: name.to_owned(),
        subject: subject(takes),
        ack_wait: Duration::from_secs(60),
        max_attempts: 5,
        max_in_flight: 1_000,
    }
}

pub fn text(delivery: &Delivery) -> &str {
    std::str::from_utf8(&delivery.payload).unwrap()
}

/// The next message, which must come.
pub async fn one(queue: &Arc<dyn WorkQueue>) -> Delivery {
    let mut taken = queue.next(1, LONG).await.unwrap();
    assert_eq!(taken.len(), 1, "a message was expected");
    taken.remove(0)
}

/// Nothing comes.
pub async fn none(queue: &Arc<dyn WorkQueue>) {
    let taken = queue.next(10, SHORT).await.unwrap();
    assert!(taken.is_empty(), "nothing was expected, got {taken:?}");
}

/// Takes so many messages, acknowledges them and returns their payloads.
pub async fn drain(queue: &Arc<dyn WorkQueue>, count: usize) -> Vec<String> {
    let mut got = Vec::new();
    while got.len() < count {
        let taken = queue.next(count - got.len(), LONG).await.unwrap();
        assert!(!taken.is_empty(), "got {} of {count}", got.len());
        for delivery in taken {
            delivery.receipt.ack().await.unwrap();
            got.push(text(&delivery).to_owned());
        }
    }
    got
}

/// Waits until every verdict has taken effect and nothing waits.
pub async fn idle(bus: &Arc<dyn Bus>) {
    let deadline = Instant::now() + LONG;
    loop {
        let stats = bus.stats().await.unwrap();
        if stats.iter().all(|s| (s.waiting, s.in_flight) == (0, 0)) {
            return;
        }
        assert!(Instant::now() < deadline, "{stats:?}");
    }
}

/// Makes a test of each function of the suite. The attributes apply to each.
#[macro_export]
macro_rules! conformance {
    ($host:expr, $(#[$attribute:meta])*) => {
        $crate::conformance!(@ $host, [$(#[$attribute])*], delivery: [
            a_message_comes_and_ends, messages_come_in_order, consumers_share, a_sleeper_is_woken,
            a_second_id_is_dropped, open_deliveries_are_limited, subjects_are_kept_apart,
            queues_do_not_overlap, a_restart_keeps_messages, a_restart_counts_attempts,
            large_payloads_have_a_limit, a_trace_passes, fullness_is_told, many_messages_pass,
            a_queue_can_be_changed, what_is_told_reaches_who_listens,
        ]);
        $crate::conformance!(@ $host, [$(#[$attribute])*], verdicts: [
            silence_brings_it_again, a_sleeper_gets_what_another_leaves, a_late_acknowledgement_counts, a_retry_waits, progress_keeps_it,
            given_up_replayed_discarded, silence_ends_among_the_dead, retries_end_among_the_dead,
            dead_letters_are_listed_in_order,
        ]);
    };
    (@ $host:expr, $attributes:tt, $module:ident: [$($name:ident),* $(,)?]) => {
        $($crate::conformance!(@@ $host, $attributes, $module, $name);)*
    };
    (@@ $host:expr, [$(#[$attribute:meta])*], $module:ident, $name:ident) => {
        #[tokio::test]
        $(#[$attribute])*
        async fn $name() {
            let mut host = $host;
            $crate::conformance::$module::$name(&mut host).await;
        }
    };
}
