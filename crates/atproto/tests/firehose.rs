//! The event stream over real sockets.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

mod common;

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::time::Duration;

use common::{Node, User};
use futures::{SinkExt, StreamExt};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::oneshot;
use tokio::task::JoinHandle;
use tokio_tungstenite::tungstenite::Message;
use tokio_tungstenite::{MaybeTlsStream, WebSocketStream};
use ues_data::Ipld;
use ues_data::dag_cbor::{Limits, decode, decode_prefix};

/// Long enough for any machine; reached only when something is wrong.
const PATIENCE: Duration = Duration::from_secs(60);

struct Served {
    node: Node,
    address: SocketAddr,
    stop: Option<oneshot::Sender<()>>,
    task: JoinHandle<std::io::Result<()>>,
}

impl Served {
    async fn start(config: ues_atproto::Config) -> Self {
        let mut node = Node::with(config);
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let (stop, stopped) = oneshot::channel::<()>();
        let server = node.server.take().unwrap();
        let task = tokio::spawn(server.serve(listener, async {
            let _ = stopped.await;
        }));
        Self {
            node,
            address,
            stop: Some(stop),
            task,
        }
    }

    async fn subscribe(&self, cursor: Option<i64>) -> Subscriber {
        let query = cursor.map_or(String::new(), |c| format!("?cursor={c}"));
        let url = format!(
            "ws://{}/xrpc/com.atproto.sync.subscribeRepos{query}",
            self.address
        );
        let (socket, _) = tokio_tungstenite::connect_async(url).await.unwrap();
        Subscriber(socket)
    }
}

struct Subscriber(WebSocketStream<MaybeTlsStream<TcpStream>>);

type Fields = BTreeMap<String, Ipld>;

impl Subscriber {
    async fn message(&mut self) -> Message {
        tokio::time::timeout(PATIENCE, self.0.next())
            .await
            .unwrap()
            .unwrap()
            .unwrap()
    }

    /// The next frame: the kind in its header (`None`: an error) and its body.
    async fn frame(&mut self) -> (Option<String>, Fields) {
        loop {
            if let Message::Binary(bytes) = self.message().await {
                return parse(&bytes);
            }
        }
    }

    /// Reads events up to a sequence number.
    async fn read_to(&mut self, last: u64) -> Vec<(u64, String)> {
        let mut out: Vec<(u64, String)> = Vec::new();
        while out.last().is_none_or(|(seq, _)| *seq < last) {
            let (kind, body) = self.frame().await;
            out.push((seq(&body), kind.unwrap()));
        }
        out
    }

    async fn closed(&mut self) -> u16 {
        loop {
            match self.message().await {
                Message::Close(Some(frame)) => return frame.code.into(),
                Message::Close(None) => return 0,
                _ => {}
            }
        }
    }
}

fn parse(bytes: &[u8]) -> (Option<String>, Fields) {
    let (header, used) = decode_prefix(bytes, Limits::GENERAL).unwrap();
    let (Ipld::Map(header), Ipld::Map(body)) = (header, decode(&bytes[used..]).unwrap()) else {
        panic!("no maps");
    };
    let kind = match &header["op"] {
        Ipld::Integer(1) => Some(text(&header["t"])),
        Ipld::Integer(-1) => None,
        other => panic!("op {other:?}"),
    };
    (kind, body)
}

fn seq(body: &Fields) -> u64 {
    match body["seq"] {
        Ipld::Integer(n) => n as u64,
        ref other => panic!("{other:?}"),
    }
}

fn text(value: &Ipld) -> String {
    match value {
        Ipld::String(text) => text.clone(),
        other => panic!("{other:?}"),
    }
}

async fn write(node: &Node, user: &User, count: usize) {
    for n in 0..count {
        node.post_text(user, &format!("post {n}")).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn an_account_comes_in_the_right_order() {
    let served = Served::start(common::config()).await;
    let mut live = served.subscribe(None).await;
    let mut from_start = served.subscribe(Some(0)).await;
    let alice = served.node.user("alice").await;
    served.node.post_text(&alice, "hello").await;
    let expected: Vec<(u64, String)> = ["#identity", "#account", "#commit", "#sync", "#commit"]
        .iter()
        .zip(1..)
        .map(|(kind, seq)| (seq, (*kind).to_owned()))
        .collect();
    assert_eq!(from_start.read_to(5).await, expected);
    assert_eq!(live.read_to(5).await, expected);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_commit_carries_what_was_written() {
    let served = Served::start(common::config()).await;
    let alice = served.node.user("alice").await;
    let written = served.node.post_text(&alice, "hello").await;
    let mut events = served.subscribe(Some(4)).await;
    let (kind, body) = events.frame().await;
    assert_eq!(kind.as_deref(), Some("#commit"));
    assert_eq!(text(&body["repo"]), alice.did);
    assert_eq!(text(&body["rev"]), common::text(&written["commit"]["rev"]));
    let Ipld::List(ops) = &body["ops"] else {
        panic!("no ops")
    };
    let Ipld::Map(op) = &ops[0] else {
        panic!("no op")
    };
    assert_eq!(text(&op["action"]), "create");
    let Ipld::Link(cid) = op["cid"] else {
        panic!("no cid")
    };
    assert_eq!(cid.to_string(), common::text(&written["cid"]));
    let Ipld::Bytes(car) = &body["blocks"] else {
        panic!("no blocks")
    };
    let blocks = ues_data::car::CarReader::new(&car[..], Default::default()).unwrap();
    assert!(blocks.map(|b| b.unwrap().0).any(|found| found == cid));
}

#[tokio::test(flavor = "multi_thread")]
async fn many_who_come_back_at_once_all_read_the_whole_log() {
    let mut config = common::config();
    // Nothing is ever in the ring: everybody reads the log.
    config.firehose.ring_bytes = 1;
    let served = Served::start(config).await;
    let alice = served.node.user("alice").await;
    write(&served.node, &alice, 60).await;
    for _round in 0..2 {
        let wanted = (0..40).map(|_| served.subscribe(Some(0)));
        let mut subscribers = futures::future::join_all(wanted).await;
        let read = subscribers.iter_mut().map(|s| s.read_to(64));
        for events in futures::future::join_all(read).await {
            let seqs: Vec<u64> = events.into_iter().map(|(seq, _)| seq).collect();
            assert_eq!(seqs, (1..=64).collect::<Vec<_>>());
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn backfill_goes_over_into_live_without_gap_or_double() {
    let served = Served::start(common::config()).await;
    let alice = served.node.user("alice").await;
    write(&served.node, &alice, 100).await;
    let mut subscribers = Vec::new();
    for cursor in [0, 3, 50, 104] {
        subscribers.push((cursor, served.subscribe(Some(cursor)).await));
    }
    write(&served.node, &alice, 100).await;
    for (cursor, subscriber) in &mut subscribers {
        let seqs: Vec<u64> = subscriber
            .read_to(204)
            .await
            .into_iter()
            .map(|(s, _)| s)
            .collect();
        assert_eq!(seqs, (*cursor as u64 + 1..=204).collect::<Vec<_>>());
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn cursors_that_cannot_be_served() {
    let served = Served::start(common::config()).await;
    let alice = served.node.user("alice").await;
    write(&served.node, &alice, 10).await;
    let mut future = served.subscribe(Some(1000)).await;
    let (kind, body) = future.frame().await;
    assert_eq!(
        (kind, text(&body["error"])),
        (None, "FutureCursor".to_owned())
    );
    assert_eq!(future.closed().await, 1008);
    let mut negative = served.subscribe(Some(-1)).await;
    assert_eq!(text(&negative.frame().await.1["error"]), "InvalidRequest");

    let store = served.node.ctx.store.clone();
    tokio::task::spawn_blocking(move || store.log().trim(8).unwrap())
        .await
        .unwrap();
    let mut outdated = served.subscribe(Some(2)).await;
    let (kind, body) = outdated.frame().await;
    assert_eq!(
        (kind.as_deref(), text(&body["name"]).as_str()),
        (Some("#info"), "OutdatedCursor")
    );
    let seqs: Vec<u64> = outdated
        .read_to(14)
        .await
        .into_iter()
        .map(|(s, _)| s)
        .collect();
    assert_eq!(seqs, (8..=14).collect::<Vec<_>>());
}

#[tokio::test(flavor = "multi_thread")]
async fn pings_are_answered() {
    let served = Served::start(common::config()).await;
    let mut subscriber = served.subscribe(None).await;
    subscriber
        .0
        .send(Message::Ping("beat".into()))
        .await
        .unwrap();
    assert_eq!(subscriber.message().await, Message::Pong("beat".into()));
    subscriber.0.close(None).await.unwrap();
    assert_eq!(subscriber.closed().await, 1000);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_stop_tells_subscribers() {
    let mut served = Served::start(common::config()).await;
    let mut subscriber = served.subscribe(Some(0)).await;
    served.node.user("alice").await;
    subscriber.read_to(4).await;
    served.stop.take().unwrap().send(()).unwrap();
    assert_eq!(subscriber.closed().await, 1001);
    tokio::time::timeout(PATIENCE, served.task)
        .await
        .unwrap()
        .unwrap()
        .unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn who_does_not_keep_up_is_cut_off_and_holds_nobody_up() {
    let mut config = common::config();
    config.firehose.max_lag_events = 40;
    let served = Served::start(config).await;
    let alice = served.node.user("alice").await;
    let mut quick = served.subscribe(Some(0)).await;
    quick.read_to(4).await;
    // A subscriber that reads only the handshake, on a socket with little room.
    let socket = tokio::net::TcpSocket::new_v4().unwrap();
    socket.set_recv_buffer_size(4096).unwrap();
    let mut slow = socket.connect(served.address).await.unwrap();
    let request = "GET /xrpc/com.atproto.sync.subscribeRepos HTTP/1.1\r\nhost: x\r\nconnection: upgrade\r\n\
                   upgrade: websocket\r\nsec-websocket-version: 13\r\nsec-websocket-key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n";
    slow.write_all(request.as_bytes()).await.unwrap();
    let mut head = [0; 12];
    slow.read_exact(&mut head).await.unwrap();
    assert_eq!(&head, b"HTTP/1.1 101");
    // Large records fill what the system buffers for it.
    let keeping_up = tokio::spawn(async move {
        quick.read_to(104).await;
        quick
    });
    for n in 0..100 {
        let body = serde_json::json!({
            "repo": alice.did, "collection": "com.example.large",
            "record": {"text": "x".repeat(400_000), "n": n},
        });
        served
            .node
            .call(&alice, "com.atproto.repo.createRecord", &body)
            .await
            .ok();
    }
    let mut quick = keeping_up.await.unwrap();
    // It is let go by itself: only the quick one remains.
    tokio::time::timeout(PATIENCE, async {
        while served.node.ctx.hub.subscribers() > 1 {
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    })
    .await
    .unwrap();
    served.node.post_text(&alice, "still here").await;
    quick.read_to(105).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn methods_answer_over_both_versions_of_http() {
    let served = Served::start(common::config()).await;
    let url = format!(
        "http://{}/xrpc/com.atproto.server.describeServer",
        served.address
    );
    let old = reqwest::Client::builder().http1_only().build().unwrap();
    let new = reqwest::Client::builder()
        .http2_prior_knowledge()
        .build()
        .unwrap();
    for (client, version) in [(old, http::Version::HTTP_11), (new, http::Version::HTTP_2)] {
        let answer = client.get(&url).send().await.unwrap();
        assert_eq!((answer.version(), answer.status().as_u16()), (version, 200));
    }
}
