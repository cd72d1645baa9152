//! From the publisher to the consumer.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::{Duration, Instant};

use ues_bus::{BusError, MAX_PAYLOAD, Message, QueueSpec};

use super::{Host, LONG, SHORT, drain, idle, message, none, one, spec, subject, text};

pub async fn a_message_comes_and_ends(host: &mut impl Host) {
    let bus = host.open().await;
    let queue = bus.queue(spec("w", "pin.assign")).await.unwrap();
    none(&queue).await;
    bus.publish(vec![message("pin.assign", "one")])
        .await
        .unwrap();
    let got = one(&queue).await;
    assert_eq!((text(&got), got.attempt), ("one", 1));
    assert_eq!((got.subject.as_str(), &got.trace), ("pin.assign", &None));
    let now = std::time::SystemTime::now()
        .duration_since(std::time::UNIX_EPOCH)
        .unwrap();
    let age = now.as_millis().abs_diff(got.published_at_ms.into());
    assert!(age < 60_000, "{age}");
    got.receipt.ack().await.unwrap();
    got.receipt.ack().await.unwrap();
    none(&queue).await;
    bus.publish(Vec::new()).await.unwrap();
    assert!(queue.next(0, LONG).await.unwrap().is_empty());
}

pub async fn messages_come_in_order(host: &mut impl Host) {
    let bus = host.open().await;
    let queue = bus.queue(spec("w", "pin.assign")).await.unwrap();
    let mut sent = Vec::new();
    for batch in 0..5 {
        let texts: Vec<_> = (0..20).map(|n| format!("{batch}-{n}")).collect();
        let batch = texts.iter().map(|t| message("pin.assign.w1", t)).collect();
        bus.publish(batch).await.unwrap();
        sent.extend(texts);
    }
    assert_eq!(drain(&queue, 100).await, sent);
}

pub async fn consumers_share(host: &mut impl Host) {
    let bus = host.open().await;
    let first = bus.queue(spec("w", "pin.assign")).await.unwrap();
    let second = bus.queue(spec("w", "pin.assign")).await.unwrap();
    let sent: BTreeSet<_> = (0..200).map(|n| n.to_string()).collect();
    let take = |queue: Arc<dyn ues_bus::WorkQueue>| async move {
        let mut got = Vec::new();
        // Small steps, so that both get some.
        while got.len() < 100 {
            for delivery in queue.next(5, LONG).await.unwrap() {
                delivery.receipt.ack().await.unwrap();
                got.push(text(&delivery).to_owned());
            }
        }
        got
    };
    let publish = async {
        let all = sent.iter().map(|t| message("pin.assign", t)).collect();
        bus.publish(all).await.unwrap();
    };
    let (mut a, b, ()) = tokio::join!(take(first), take(second), publish);
    a.extend(b);
    assert_eq!(a.len(), 200, "nothing comes twice");
    assert_eq!(a.into_iter().collect::<BTreeSet<_>>(), sent);
}

pub async fn a_sleeper_is_woken(host: &mut impl Host) {
    let bus = host.open().await;
    let queue = bus.queue(spec("w", "pin.assign")).await.unwrap();
    let sleeper = tokio::spawn({
        let queue = Arc::clone(&queue);
        async move { (one(&queue).await.receipt.ack().await, Instant::now()) }
    });
    none(&queue).await;
    let published = Instant::now();
    bus.publish(vec![message("pin.assign", "x")]).await.unwrap();
    let (acked, woken) = sleeper.await.unwrap();
    acked.unwrap();
    let took = woken - published;
    assert!(took < Duration::from_secs(2), "{took:?}");
}

pub async fn a_second_id_is_dropped(host: &mut impl Host) {
    let bus = host.open().await;
    let queue = bus.queue(spec("w", "pin.assign")).await.unwrap();
    let with_id = |id: &str, payload: &str| Message {
        id: Some(id.to_owned()),
        ..message("pin.assign", payload)
    };
    bus.publish(vec![
        with_id("a", "1"),
        with_id("a", "2"),
        with_id("b", "3"),
    ])
    .await
    .unwrap();
    bus.publish(vec![with_id("a", "4"), with_id("c", "5")])
        .await
        .unwrap();
    let (one, two) = tokio::join!(
        bus.publish(vec![with_id("d", "6")]),
        bus.publish(vec![with_id("d", "6")])
    );
    one.and(two).unwrap();
    assert_eq!(drain(&queue, 4).await, ["1", "3", "5", "6"]);
    bus.publish(vec![with_id("a", "7")]).await.unwrap();
    none(&queue).await;
    let refused = bus.publish(vec![with_id(&"x".repeat(1000), "")]).await;
    assert!(matches!(refused, Err(BusError::Refused(_))), "{refused:?}");
}

pub async fn open_deliveries_are_limited(host: &mut impl Host) {
    let bus = host.open().await;
    let limited = QueueSpec {
        max_in_flight: 3,
        ..spec("w", "pin.assign")
    };
    let queue = bus.queue(limited).await.unwrap();
    let sent = (0..5).map(|n| message("pin.assign", &n.to_string()));
    bus.publish(sent.collect()).await.unwrap();
    let mut open = Vec::new();
    while open.len() < 3 {
        open.extend(queue.next(10, LONG).await.unwrap());
    }
    assert_eq!(open.len(), 3);
    none(&queue).await;
    open.remove(0).receipt.ack().await.unwrap();
    let fourth = one(&queue).await;
    assert_eq!(text(&fourth), "3");
    none(&queue).await;
}

pub async fn subjects_are_kept_apart(host: &mut impl Host) {
    let bus = host.open().await;
    let one = bus.queue(spec("w1", "pin.assign.w1")).await.unwrap();
    let ten = bus.queue(spec("w10", "pin.assign.w10")).await.unwrap();
    let status = bus.queue(spec("status", "pin.status")).await.unwrap();
    let sent = [
        "pin.assign.w10",
        "pin.assign.w1.x",
        "pin.status",
        "pin.assign.w1",
    ];
    let sent = sent.iter().map(|to| message(to, to)).collect();
    bus.publish(sent).await.unwrap();
    assert_eq!(drain(&one, 2).await, ["pin.assign.w1.x", "pin.assign.w1"]);
    assert_eq!(drain(&ten, 1).await, ["pin.assign.w10"]);
    assert_eq!(drain(&status, 1).await, ["pin.status"]);
    for queue in [&one, &ten, &status] {
        none(queue).await;
    }
}

pub async fn queues_do_not_overlap(host: &mut impl Host) {
    let bus = host.open().await;
    bus.queue(spec("w1", "pin.assign.w1")).await.unwrap();
    for takes in ["pin.assign", "pin.assign.w1", "pin.assign.w1.x"] {
        let refused = bus.queue(spec("other", takes)).await.err();
        assert!(
            matches!(refused, Some(BusError::Refused(_))),
            "{takes}: {refused:?}"
        );
    }
    bus.queue(spec("other", "pin.assign.w2")).await.unwrap();
    for takes in ["pin", "bus.dead", "bus.dead.x"] {
        let refused = bus.queue(spec("odd", takes)).await.err();
        assert!(
            matches!(refused, Some(BusError::Refused(_))),
            "{takes}: {refused:?}"
        );
        let refused = bus.publish(vec![message(takes, "x")]).await;
        assert!(
            matches!(refused, Err(BusError::Refused(_))),
            "{takes}: {refused:?}"
        );
    }
    for name in ["", "a.b", "a b"] {
        let refused = bus.queue(spec(name, "pin.status")).await.err();
        assert!(
            matches!(refused, Some(BusError::Refused(_))),
            "{name}: {refused:?}"
        );
    }
}

pub async fn a_restart_keeps_messages(host: &mut impl Host) {
    let bus = host.open().await;
    let queue = bus.queue(spec("w", "pin.assign")).await.unwrap();
    let sent = (0..4).map(|n| message("pin.assign", &n.to_string()));
    bus.publish(sent.collect()).await.unwrap();
    assert_eq!(drain(&queue, 2).await, ["0", "1"]);
    drop((bus, queue));
    let bus = host.reopen().await;
    // Without a consumer too: the queue is remembered.
    bus.publish(vec![message("pin.assign", "4")]).await.unwrap();
    let queue = bus.queue(spec("w", "pin.assign")).await.unwrap();
    assert_eq!(drain(&queue, 3).await, ["2", "3", "4"]);
    none(&queue).await;
}

pub async fn a_restart_counts_attempts(host: &mut impl Host) {
    let short = QueueSpec {
        ack_wait: Duration::from_millis(300),
        max_attempts: 3,
        ..spec("w", "pin.assign")
    };
    let mut bus = host.open().await;
    bus.queue(short.clone()).await.unwrap();
    bus.publish(vec![message("pin.assign", "poison")])
        .await
        .unwrap();
    for attempt in 1..=3 {
        let queue = bus.queue(short.clone()).await.unwrap();
        let taken = one(&queue).await;
        assert_eq!((text(&taken), taken.attempt), ("poison", attempt));
        drop((taken, queue, bus));
        bus = host.reopen().await;
    }
    let queue = bus.queue(short).await.unwrap();
    let deadline = Instant::now() + LONG;
    let dead = loop {
        none(&queue).await;
        let dead = bus.dead_letters(0, 10).await.unwrap();
        if !dead.is_empty() {
            break dead;
        }
        assert!(Instant::now() < deadline);
    };
    assert_eq!(dead.len(), 1);
    assert_eq!(&dead[0].payload[..], b"poison");
    bus.publish(vec![message("pin.assign", "good")])
        .await
        .unwrap();
    assert_eq!(drain(&queue, 1).await, ["good"]);
}

pub async fn large_payloads_have_a_limit(host: &mut impl Host) {
    let bus = host.open().await;
    let queue = bus.queue(spec("w", "pin.assign")).await.unwrap();
    let of = |bytes| Message::new(subject("pin.assign"), vec![7u8; bytes]);
    bus.publish(vec![of(MAX_PAYLOAD), of(0)]).await.unwrap();
    let refused = bus.publish(vec![of(1), of(MAX_PAYLOAD + 1)]).await;
    match refused {
        Err(BusError::TooLarge { limit, found }) => {
            assert_eq!((limit, found), (MAX_PAYLOAD, MAX_PAYLOAD + 1));
        }
        other => panic!("{other:?}"),
    }
    let mut sizes = Vec::new();
    for _ in 0..2 {
        let got = one(&queue).await;
        got.receipt.ack().await.unwrap();
        sizes.push(got.payload.len());
    }
    assert_eq!(sizes, [MAX_PAYLOAD, 0]);
    none(&queue).await;
}

pub async fn a_trace_passes(host: &mut impl Host) {
    let bus = host.open().await;
    let queue = bus.queue(spec("w", "pin.assign")).await.unwrap();
    let trace = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01";
    for trace in [trace, "not\r\na trace"] {
        let traced = Message {
            trace: Some(trace.to_owned()),
            ..message("pin.assign", "x")
        };
        bus.publish(vec![traced]).await.unwrap();
    }
    let got = one(&queue).await;
    assert_eq!(got.trace.as_deref(), Some(trace));
    assert_eq!(
        one(&queue).await.trace,
        None,
        "what is no trace is left out"
    );
}

pub async fn fullness_is_told(host: &mut impl Host) {
    let bus = host.open().await;
    let queue = bus.queue(spec("w", "pin.assign")).await.unwrap();
    bus.queue(spec("s", "pin.status")).await.unwrap();
    let sent = (0..5).map(|n| message("pin.assign", &n.to_string()));
    bus.publish(sent.collect()).await.unwrap();
    let open = one(&queue).await;
    none(&bus.queue(spec("s", "pin.status")).await.unwrap()).await;
    let stats = bus.stats().await.unwrap();
    let names: Vec<_> = stats.iter().map(|s| s.name.as_str()).collect();
    assert_eq!(names, ["s", "w"]);
    assert_eq!(
        (stats[0].waiting, stats[0].in_flight, stats[0].oldest_ms),
        (0, 0, 0)
    );
    assert_eq!((stats[1].waiting, stats[1].in_flight), (4, 1));
    assert!(
        (100..60_000).contains(&stats[1].oldest_ms),
        "{}",
        stats[1].oldest_ms
    );
    open.receipt.ack().await.unwrap();
    drain(&queue, 4).await;
    idle(&bus).await;
    assert_eq!(bus.stats().await.unwrap()[1].oldest_ms, 0);
}

pub async fn many_messages_pass(host: &mut impl Host) {
    let bus = host.open().await;
    let wide = QueueSpec {
        max_in_flight: 10_000,
        ..spec("w", "pin.assign")
    };
    let queue = bus.queue(wide).await.unwrap();
    let count = 20_000;
    let sent: Vec<_> = (0..count).map(|n| n.to_string()).collect();
    for part in sent.chunks(5_000) {
        let part = part.iter().map(|t| message("pin.assign", t)).collect();
        bus.publish(part).await.unwrap();
    }
    assert_eq!(drain(&queue, count).await, sent);
    none(&queue).await;
}

pub async fn a_queue_can_be_changed(host: &mut impl Host) {
    let bus = host.open().await;
    let mut wanted = QueueSpec {
        max_in_flight: 1,
        ..spec("w", "pin.assign")
    };
    let queue = bus.queue(wanted.clone()).await.unwrap();
    let sent = (0..3).map(|n| message("pin.assign", &n.to_string()));
    bus.publish(sent.collect()).await.unwrap();
    let open = one(&queue).await;
    none(&queue).await;
    wanted.max_in_flight = 2;
    wanted.max_attempts = 9;
    let changed = bus.queue(wanted.clone()).await.unwrap();
    let more = one(&changed).await;
    none(&queue).await;
    drop((open, more, changed, queue, bus));
    let bus = host.reopen().await;
    bus.queue(wanted).await.unwrap();
}

pub async fn what_is_told_reaches_who_listens(host: &mut impl Host) {
    use futures::StreamExt;
    let bus = host.open().await;
    let news = subject("pin.news");
    bus.tell(&news, "early".into()).await.unwrap();
    let (mut first, mut second) = (
        bus.listen(&news).await.unwrap(),
        bus.listen(&news).await.unwrap(),
    );
    let mut other = bus.listen(&subject("pin.news.of.others")).await.unwrap();
    for text in ["one", "two"] {
        bus.tell(&news, text.into()).await.unwrap();
    }
    for heard in [&mut first, &mut second] {
        for text in ["one", "two"] {
            let told = tokio::time::timeout(LONG, heard.next()).await.unwrap();
            assert_eq!(told.unwrap(), text);
        }
    }
    assert!(tokio::time::timeout(SHORT, other.next()).await.is_err());
    // No queue holds it, and nothing of it is kept.
    none(&bus.queue(spec("w", "pin.news")).await.unwrap()).await;
    assert!(
        bus.tell(&news, vec![0; ues_bus::MAX_PAYLOAD + 1].into())
            .await
            .is_err()
    );
}
