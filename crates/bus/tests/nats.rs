//! The bus on a real NATS server: the conformance suite, and what happens when the server or its streams go away.
//! `cargo test -p ues-bus --test nats -- --ignored`; the server is built by tests/peers/install.sh, or named by
//! `UES_TEST_NATS`.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    reason = "a test may panic"
)]

mod conformance;
mod server;

use std::sync::Arc;
use std::time::{Duration, Instant};

use ues_bus::{Bus, BusError, NatsBus, NatsOptions, NatsTls, QueueSpec};

use conformance::{Host, LONG, drain, idle, message, none, one, spec, text};
use server::Server;

/// A server of its own for each test.
struct Nats(Server);

impl Nats {
    fn start() -> Self {
        Self(Server::start("", ""))
    }

    fn options(&self) -> NatsOptions {
        NatsOptions {
            urls: vec![self.0.url()],
            timeout: Duration::from_secs(2),
            ..NatsOptions::default()
        }
    }

    async fn bus(&self) -> Arc<dyn Bus> {
        NatsBus::connect(self.options()).await.unwrap()
    }

    /// The streams, as an operator sees them.
    async fn jetstream(&self) -> async_nats::jetstream::Context {
        let client = async_nats::connect(self.0.url()).await.unwrap();
        async_nats::jetstream::new(client)
    }
}

#[async_trait::async_trait]
impl Host for Nats {
    async fn open(&mut self) -> Arc<dyn Bus> {
        self.bus().await
    }

    async fn reopen(&mut self) -> Arc<dyn Bus> {
        self.bus().await
    }
}

conformance!(Nats::start(), #[ignore = "needs nats-server; run by ./test all"]);

#[tokio::test]
#[ignore = "needs nats-server; run by ./test all"]
async fn a_restart_of_the_server_loses_nothing() {
    let mut nats = Nats::start();
    let bus = nats.bus().await;
    let queue = bus.queue(spec("w", "pin.assign")).await.unwrap();
    bus.publish(vec![message("pin.assign", "1"), message("pin.assign", "2")])
        .await
        .unwrap();
    assert_eq!(drain(&queue, 1).await, ["1"]);
    // The server has the acknowledgement when it can tell so.
    while bus.stats().await.unwrap()[0].in_flight > 0 {}
    nats.0.stop();
    let sleeper = tokio::spawn({
        let queue = Arc::clone(&queue);
        async move {
            loop {
                match queue.next(1, LONG).await {
                    Ok(mut taken) => return taken.remove(0),
                    Err(BusError::Unavailable(_)) => (),
                    Err(other) => panic!("{other}"),
                }
            }
        }
    });
    let began = Instant::now();
    let away = bus.publish(vec![message("pin.assign", "3")]).await;
    assert!(matches!(away, Err(BusError::Unavailable(_))), "{away:?}");
    let away = bus.stats().await;
    assert!(matches!(away, Err(BusError::Unavailable(_))), "{away:?}");
    let away = queue.next(1, Duration::ZERO).await;
    assert!(matches!(away, Err(BusError::Unavailable(_))), "{away:?}");
    let away = bus.queue(spec("s", "pin.status")).await.err();
    assert!(matches!(away, Some(BusError::Unavailable(_))), "{away:?}");
    assert!(
        began.elapsed() < Duration::from_secs(20),
        "{:?}",
        began.elapsed()
    );
    nats.0.restart();
    let taken = sleeper.await.unwrap();
    assert_eq!(text(&taken), "2");
    taken.receipt.ack().await.unwrap();
    bus.publish(vec![message("pin.assign", "4")]).await.unwrap();
    assert_eq!(drain(&queue, 1).await, ["4"]);
}

#[tokio::test]
#[ignore = "needs nats-server; run by ./test all"]
async fn what_is_deleted_is_made_anew() {
    let nats = Nats::start();
    let bus = nats.bus().await;
    let queue = bus.queue(spec("w", "pin.assign")).await.unwrap();
    let jetstream = nats.jetstream().await;
    let all = || async {
        let context = jetstream.clone();
        let mut names = context.stream_names();
        let mut all = Vec::new();
        while let Some(name) = futures::StreamExt::next(&mut names).await {
            all.push(name.unwrap());
        }
        all.sort();
        all
    };
    bus.publish(vec![message("pin.assign", "1")]).await.unwrap();
    one(&queue).await.receipt.give_up("bad").await.unwrap();
    assert_eq!(all().await, ["BUS_DEAD", "PIN_ASSIGN"]);

    // Publishing makes the stream anew, taking makes the consumer anew.
    for name in all().await {
        jetstream.delete_stream(name).await.unwrap();
    }
    bus.publish(vec![message("pin.assign", "2")]).await.unwrap();
    assert_eq!(drain(&queue, 1).await, ["2"]);
    // The consumer alone.
    idle(&bus).await;
    jetstream
        .delete_consumer_from_stream("w", "PIN_ASSIGN")
        .await
        .unwrap();
    bus.publish(vec![message("pin.assign", "3")]).await.unwrap();
    assert_eq!(drain(&queue, 1).await, ["3"]);
    // While somebody waits.
    let sleeper = tokio::spawn({
        let queue = Arc::clone(&queue);
        async move { drain(&queue, 1).await }
    });
    none(&queue).await;
    jetstream.delete_stream("PIN_ASSIGN").await.unwrap();
    bus.publish(vec![message("pin.assign", "4")]).await.unwrap();
    assert_eq!(sleeper.await.unwrap(), ["4"]);
    // The dead letters.
    assert!(bus.dead_letters(0, 10).await.unwrap().is_empty());
    assert!(!bus.discard(1).await.unwrap());
    assert!(!bus.replay(1).await.unwrap());
    bus.publish(vec![message("pin.assign", "5")]).await.unwrap();
    one(&queue).await.receipt.give_up("bad").await.unwrap();
    assert_eq!(bus.dead_letters(0, 10).await.unwrap().len(), 1);
    assert_eq!(bus.stats().await.unwrap().len(), 1);
}

#[tokio::test]
#[ignore = "needs nats-server; run by ./test all"]
async fn what_waits_for_a_queue_is_kept() {
    let nats = Nats::start();
    let bus = nats.bus().await;
    bus.publish(vec![message("billing.event", "early")])
        .await
        .unwrap();
    let queue = bus.queue(spec("billing", "billing.event")).await.unwrap();
    assert_eq!(drain(&queue, 1).await, ["early"]);
}

#[tokio::test]
#[ignore = "needs nats-server; run by ./test all"]
async fn a_cancelled_call_keeps_nothing() {
    let nats = Nats::start();
    let bus = nats.bus().await;
    let queue = bus.queue(spec("w", "pin.assign")).await.unwrap();
    for n in 0..10 {
        let publish = bus.publish(vec![message("pin.assign", "x")]);
        let (taken, published) = tokio::join!(
            tokio::time::timeout(Duration::from_millis(n), queue.next(1, LONG)),
            publish
        );
        published.unwrap();
        let taken = match taken {
            Ok(taken) => taken.unwrap().remove(0),
            Err(_) => one(&queue).await,
        };
        taken.receipt.ack().await.unwrap();
    }
    none(&queue).await;
}

#[tokio::test]
#[ignore = "needs nats-server; run by ./test all"]
async fn a_full_stream_takes_nothing() {
    let nats = Nats::start();
    let options = NatsOptions {
        max_messages: 3,
        ..nats.options()
    };
    let bus: Arc<dyn Bus> = NatsBus::connect(options).await.unwrap();
    let queue = bus.queue(spec("w", "pin.assign")).await.unwrap();
    bus.publish(vec![message("pin.assign", "x"); 3])
        .await
        .unwrap();
    let full = bus.publish(vec![message("pin.assign", "y")]).await;
    assert!(matches!(full, Err(BusError::Full { .. })), "{full:?}");
    drain(&queue, 3).await;
    idle(&bus).await;
    bus.publish(vec![message("pin.assign", "y")]).await.unwrap();
    // Another limit is taken over.
    let bus = nats.bus().await;
    bus.publish(vec![message("pin.assign", "z"); 9])
        .await
        .unwrap();
}

#[tokio::test]
#[ignore = "needs nats-server; run by ./test all"]
async fn two_services_share_an_account() {
    let nats = Nats::start();
    let of = |prefix: &str| NatsOptions {
        prefix: Some(prefix.to_owned()),
        ..nats.options()
    };
    let blue: Arc<dyn Bus> = NatsBus::connect(of("blue")).await.unwrap();
    let green: Arc<dyn Bus> = NatsBus::connect(of("green")).await.unwrap();
    let plain = nats.bus().await;
    let wanted = QueueSpec {
        max_attempts: 1,
        ..spec("w", "pin.assign")
    };
    let mut queues = Vec::new();
    for (name, bus) in [("blue", &blue), ("green", &green), ("plain", &plain)] {
        queues.push(bus.queue(wanted.clone()).await.unwrap());
        bus.publish(vec![message("pin.assign", name)])
            .await
            .unwrap();
    }
    for (name, queue) in ["blue", "green", "plain"].iter().zip(&queues) {
        let taken = one(queue).await;
        assert_eq!(
            (text(&taken), taken.subject.as_str()),
            (*name, "pin.assign")
        );
        taken.receipt.retry_after(Duration::ZERO).await.unwrap();
        none(queue).await;
    }
    for bus in [&blue, &green, &plain] {
        assert_eq!(bus.dead_letters(0, 10).await.unwrap().len(), 1);
        assert_eq!(bus.stats().await.unwrap().len(), 1);
    }
}

#[tokio::test]
#[ignore = "needs nats-server; run by ./test all"]
async fn a_password_is_asked_for() {
    let server = Server::start("", "authorization { user: ues, password: secret }");
    let with = |user: Option<(&str, &str)>| NatsOptions {
        urls: vec![server.url()],
        user: user.map(|(u, p)| (u.to_owned(), p.to_owned())),
        timeout: Duration::from_secs(2),
        ..NatsOptions::default()
    };
    for user in [None, Some(("ues", "wrong"))] {
        let refused = NatsBus::connect(with(user)).await.err();
        assert!(matches!(refused, Some(BusError::Refused(_))), "{refused:?}");
    }
    let bus = NatsBus::connect(with(Some(("ues", "secret"))))
        .await
        .unwrap();
    let queue = bus.queue(spec("w", "pin.assign")).await.unwrap();
    bus.publish(vec![message("pin.assign", "x")]).await.unwrap();
    assert_eq!(drain(&queue, 1).await, ["x"]);
}

#[tokio::test]
#[ignore = "needs nats-server; run by ./test all"]
async fn both_sides_show_certificates() {
    let file = |name: &str| {
        let folder = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/server/tls");
        std::path::Path::new(folder).join(name)
    };
    let tls = format!(
        "tls {{ cert_file: {:?}, key_file: {:?}, ca_file: {:?}, verify: true }}",
        file("server.pem"),
        file("server-key.pem"),
        file("ca.pem")
    );
    let server = Server::start("tls", &tls);
    let with = |ca: Option<&str>, client: bool| NatsOptions {
        urls: vec![server.url()],
        tls: NatsTls {
            required: true,
            ca: ca.map(file),
            client: client.then(|| (file("client.pem"), file("client-key.pem"))),
        },
        timeout: Duration::from_secs(2),
        ..NatsOptions::default()
    };
    let bus = NatsBus::connect(with(Some("ca.pem"), true)).await.unwrap();
    let queue = bus.queue(spec("w", "pin.assign")).await.unwrap();
    bus.publish(vec![message("pin.assign", "x")]).await.unwrap();
    assert_eq!(drain(&queue, 1).await, ["x"]);
    assert!(NatsBus::connect(with(None, true)).await.is_err());
    assert!(NatsBus::connect(with(Some("ca.pem"), false)).await.is_err());
}

#[tokio::test]
#[ignore = "needs nats-server; run by ./test all"]
async fn nobody_there_is_told_soon() {
    let began = Instant::now();
    let mut nats = Nats::start();
    nats.0.stop();
    let away = NatsBus::connect(nats.options()).await.err();
    assert!(matches!(away, Some(BusError::Unavailable(_))), "{away:?}");
    assert!(began.elapsed() < Duration::from_secs(10));
    let bad = NatsOptions {
        urls: vec!["http://x:y:z".to_owned()],
        ..nats.options()
    };
    let refused = NatsBus::connect(bad).await.err();
    assert!(matches!(refused, Some(BusError::Refused(_))), "{refused:?}");
}
