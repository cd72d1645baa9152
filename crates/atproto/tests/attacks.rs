//! What strangers send who mean harm: slowly, packed, nested, to find out who is there, or from other pages.
#![allow(clippy::unwrap_used, clippy::panic)]

mod common;

use std::net::SocketAddr;
use std::time::Duration;

use axum::body::Body;
use common::{Answer, Node, config};
use http::{Request, StatusCode};
use serde_json::json;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::oneshot;
use tokio::task::JoinHandle;

/// Long enough for any machine; reached only when something is wrong.
const PATIENCE: Duration = Duration::from_secs(60);
const FORM: &str = "application/x-www-form-urlencoded";

/// Everything that the node answers to bytes that end nowhere, until it closes the connection.
async fn answer_to(address: SocketAddr, bytes: &str) -> String {
    let mut stream = TcpStream::connect(address).await.unwrap();
    stream.write_all(bytes.as_bytes()).await.unwrap();
    let mut answer = Vec::new();
    let read = stream.read_to_end(&mut answer);
    tokio::time::timeout(PATIENCE, read).await.unwrap().unwrap();
    String::from_utf8_lossy(&answer).into_owned()
}

#[tokio::test]
async fn who_sends_slowly_is_not_waited_for() {
    let mut config = config();
    config.connections.header_timeout_s = 1;
    config.connections.body_idle_timeout_s = 1;
    config.connections.body_timeout_s = 1;
    let (address, stop, task) = listening(Node::with(config)).await;
    let silence = answer_to(address, "").await;
    assert_eq!(silence, "");
    let headers = answer_to(address, "GET / HTTP/1.1\r\nhost: localhost\r\nx-slow: ").await;
    assert!(!headers.contains("200 OK"), "{headers}");
    for (path, kind) in [
        ("/oauth/par", FORM),
        ("/oauth/token", FORM),
        ("/oauth/authorize", FORM),
        ("/account", FORM),
        ("/account/security", FORM),
        ("/account/passkeys", FORM),
        ("/xrpc/com.atproto.server.createSession", "application/json"),
    ] {
        let head = format!(
            "POST {path} HTTP/1.1\r\nhost: localhost\r\nconnection: close\r\ncontent-type: {kind}\r\ncontent-length: 1000\r\n\r\n{{\"a"
        );
        let answer = answer_to(address, &head).await;
        let status = answer.split(' ').nth(1).unwrap_or_default();
        assert!(["400", "408"].contains(&status), "{path}: {answer}");
    }
    stop.send(()).unwrap();
    task.await.unwrap();
}

/// A node on a port, until `stop` is told; gives its task.
async fn listening(mut node: Node) -> (SocketAddr, oneshot::Sender<()>, JoinHandle<()>) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let (stop, stopped) = oneshot::channel::<()>();
    let server = node.server.take().unwrap();
    let task = tokio::spawn(async move {
        let served = server.serve(listener, async {
            let _ = stopped.await;
        });
        served.await.unwrap();
        drop(node);
    });
    (address, stop, task)
}

/// A client of a proxy on this machine asks whether the node is well.
async fn health(address: SocketAddr, client: &str) -> String {
    let head = format!(
        "GET /xrpc/_health HTTP/1.1\r\nhost: localhost\r\nx-forwarded-for: {client}\r\nconnection: close\r\n\r\n"
    );
    answer_to(address, &head).await
}

/// Sends the head of a request and then a byte now and then, until the node ends the connection; gives its answer.
async fn trickle(address: SocketAddr, head: String) -> String {
    let stream = TcpStream::connect(address).await.unwrap();
    let (mut reader, mut writer) = stream.into_split();
    writer.write_all(head.as_bytes()).await.unwrap();
    let drip = tokio::spawn(async move {
        while writer.write_all(b" ").await.is_ok() {
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
    });
    let mut answer = Vec::new();
    let read = reader.read_to_end(&mut answer);
    // A connection that is reset has ended as well.
    let _ = tokio::time::timeout(PATIENCE, read).await.unwrap();
    drip.abort();
    String::from_utf8_lossy(&answer).into_owned()
}

#[tokio::test(flavor = "multi_thread")]
async fn bodies_that_trickle_come_to_an_end() {
    let mut config = config();
    config.connections.body_idle_timeout_s = 30;
    config.connections.body_timeout_s = 2;
    config.connections.body_span_s = 2;
    let node = Node::with(config);
    let user = node.user("alice").await;
    let bearer = format!("authorization: Bearer {}\r\n", user.access);
    let (address, stop, task) = listening(node).await;
    let json = "application/json";
    let ways = [
        ("/xrpc/com.atproto.server.createSession", json, ""),
        ("/xrpc/com.atproto.repo.createRecord", json, bearer.as_str()),
        (
            "/xrpc/com.atproto.repo.uploadBlob",
            "image/png",
            bearer.as_str(),
        ),
        ("/oauth/token", FORM, ""),
        ("/account", FORM, ""),
        ("/admin", FORM, ""),
        ("/plc/did:plc:aaaaaaaaaaaaaaaaaaaaaaaa", json, ""),
    ];
    let began = std::time::Instant::now();
    let slow = ways.map(|(path, kind, more)| {
        let head = format!(
            "POST {path} HTTP/1.1\r\nhost: localhost\r\n{more}content-type: {kind}\r\ncontent-length: 1000\r\n\r\n"
        );
        let connection = tokio::spawn(trickle(address, head));
        async move { (path, connection.await.unwrap()) }
    });
    let slow = tokio::spawn(futures::future::join_all(slow));
    while !slow.is_finished() {
        let well = health(address, "192.0.2.1").await;
        assert!(well.starts_with("HTTP/1.1 200"), "{well}");
        tokio::time::sleep(Duration::from_millis(200)).await;
    }
    // Without an end to their time, a thousand bytes take 100 seconds.
    assert!(
        began.elapsed() < Duration::from_secs(50),
        "{:?}",
        began.elapsed()
    );
    for (path, answer) in slow.await.unwrap() {
        let status = answer.split(' ').nth(1).unwrap_or_default();
        assert!(["400", "408", ""].contains(&status), "{path}: {answer}");
    }
    stop.send(()).unwrap();
    task.await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_full_house_loses_those_who_ask_for_nothing() {
    let mut config = config();
    config.connections.max = 8;
    let (address, stop, task) = listening(Node::with(config)).await;
    let mut silent = Vec::new();
    for n in 0..20 {
        let mut stream = TcpStream::connect(address).await.unwrap();
        // Some say a little, and some begin what they do not end.
        let start = [
            "",
            "GET / HT",
            "POST /account HTTP/1.1\r\ncontent-length: 9\r\n\r\n",
        ];
        stream.write_all(start[n % 3].as_bytes()).await.unwrap();
        silent.push(stream);
    }
    let well = health(address, "192.0.2.1").await;
    assert!(well.starts_with("HTTP/1.1 200"), "{well}");
    let mut end = [0; 1];
    let first = tokio::time::timeout(PATIENCE, silent[0].read(&mut end)).await;
    assert!(matches!(first.unwrap(), Ok(0) | Err(_)));
    stop.send(()).unwrap();
    task.await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn one_client_of_a_proxy_does_not_take_all_of_it() {
    let mut config = config();
    config.connections.per_client = 3;
    let (address, stop, task) = listening(Node::with(config)).await;
    let mut held = Vec::new();
    for _ in 0..3 {
        let mut stream = TcpStream::connect(address).await.unwrap();
        let head = "POST /account HTTP/1.1\r\nhost: localhost\r\nx-forwarded-for: 192.0.2.1\r\ncontent-type: application/x-www-form-urlencoded\r\ncontent-length: 9\r\n\r\n";
        stream.write_all(head.as_bytes()).await.unwrap();
        held.push(stream);
    }
    let mut refused = String::new();
    for _ in 0..100 {
        refused = health(address, "192.0.2.1").await;
        if refused.starts_with("HTTP/1.1 429") {
            break;
        }
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    assert!(
        refused.starts_with("HTTP/1.1 429") && refused.contains("RateLimitExceeded"),
        "{refused}"
    );
    let other = health(address, "192.0.2.2").await;
    assert!(other.starts_with("HTTP/1.1 200"), "{other}");
    drop(held);
    let mut again = String::new();
    for _ in 0..100 {
        again = health(address, "192.0.2.1").await;
        if again.starts_with("HTTP/1.1 200") {
            break;
        }
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    assert!(again.starts_with("HTTP/1.1 200"), "{again}");
    stop.send(()).unwrap();
    task.await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn heads_that_are_too_large_are_answered() {
    let (address, stop, task) = listening(Node::new()).await;
    let head = |line: &str, more: &str| format!("{line}\r\nhost: localhost\r\n{more}\r\n");
    let many: String = (0..101).map(|n| format!("x-{n}: 1\r\n")).collect();
    let long = format!("x-long: {}\r\n", "x".repeat(1 << 20));
    let path = format!("GET /{} HTTP/1.1", "x".repeat(100_000));
    for (sent, status) in [
        (head("GET / HTTP/1.1", &many), "431"),
        (head("GET / HTTP/1.1", &long), "431"),
        (head(&path, ""), "414"),
    ] {
        let answer = answer_to(address, &sent).await;
        assert_eq!(answer.split(' ').nth(1), Some(status), "{answer}");
    }
    stop.send(()).unwrap();
    task.await.unwrap();
}

async fn post(node: &Node, path: &str, kind: &str, more: &[(&str, &str)], body: Vec<u8>) -> Answer {
    let mut request = Request::post(path)
        .header("content-type", kind)
        .header("content-length", body.len());
    for (name, value) in more {
        request = request.header(*name, *value);
    }
    node.send(request.body(Body::from(body)).unwrap()).await
}

#[tokio::test(flavor = "multi_thread")]
async fn bodies_are_not_unpacked_and_not_followed_down() {
    let node = Node::new();
    let json = "application/json";
    let create = "/xrpc/com.atproto.server.createSession";
    for packed in ["gzip", "deflate", "br", "zstd"] {
        let more = [("content-encoding", packed)];
        let refused = post(&node, create, json, &more, vec![0x1f; 100]).await;
        assert_eq!(refused.status, StatusCode::UNSUPPORTED_MEDIA_TYPE);
        // A form is read as what it is, and says nothing then.
        let form = post(&node, "/oauth/par", FORM, &more, vec![0x1f; 100]).await;
        assert_eq!(form.status, StatusCode::BAD_REQUEST);
    }
    let deep = format!("{{\"identifier\":{}", "[".repeat(100_000));
    let refused = post(&node, create, json, &[], deep.into_bytes()).await;
    assert_eq!(refused.status, StatusCode::BAD_REQUEST);

    // A repository whose only block is a million lists, each in the one before.
    let user = node.user("alice").await;
    let block = [vec![0x81; 1_000_000], vec![0xf6]].concat();
    let cid = ues_data::dag_cbor_cid(&block);
    let header = ues_data::dag_cbor::encode(&ues_data::Ipld::Map(
        [
            (
                "roots".to_owned(),
                ues_data::Ipld::List(vec![ues_data::Ipld::Link(cid)]),
            ),
            ("version".to_owned(), ues_data::Ipld::Integer(1)),
        ]
        .into(),
    ))
    .unwrap();
    let mut archive = Vec::new();
    varint(&mut archive, header.len());
    archive.extend_from_slice(&header);
    add_block(&mut archive, &block);
    let import = "com.atproto.repo.importRepo";
    let refused = node
        .upload(&user, import, "application/vnd.ipld.car", archive)
        .await;
    assert!(refused.status.is_client_error(), "{refused:?}");
    node.post_text(&user, "and goes on").await;
}

/// Adds a block to an archive.
fn add_block(archive: &mut Vec<u8>, block: &[u8]) -> ues_data::Cid {
    let cid = ues_data::dag_cbor_cid(block);
    varint(archive, cid.to_bytes().len() + block.len());
    archive.extend_from_slice(&cid.to_bytes());
    archive.extend_from_slice(block);
    cid
}

#[tokio::test(flavor = "multi_thread")]
async fn blocks_that_no_repository_names_are_not_kept() {
    let node = Node::new();
    let user = node.user("alice").await;
    node.post_text(&user, "mine").await;
    let params = [("did", user.did.as_str())];
    let exported = node.query("com.atproto.sync.getRepo", &params).await;
    let mut archive = exported.body;
    let foreign = add_block(&mut archive, &[0x63, b'e', b'v', b'i']).to_string();
    let mime = "application/vnd.ipld.car";
    let import = "com.atproto.repo.importRepo";
    let taken = node.upload(&user, import, mime, archive).await;
    assert_eq!(taken.status, StatusCode::OK);
    let blocks = [("did", user.did.as_str()), ("cids", foreign.as_str())];
    let served = node.query("com.atproto.sync.getBlocks", &blocks).await;
    assert_eq!(served.refused().0, 400);
}

fn varint(out: &mut Vec<u8>, mut number: usize) {
    while number >= 0x80 {
        out.push(number as u8 | 0x80);
        number >>= 7;
    }
    out.push(number as u8);
}

#[tokio::test]
async fn who_is_not_there_is_answered_like_who_is() {
    let node = Node::new();
    let user = node.user("alice").await;
    let method = "com.atproto.server.createSession";
    let mut answers = Vec::new();
    for identifier in [
        user.handle.as_str(),
        &user.did,
        "alice@test.com",
        "nobody.test",
        "did:plc:aaaaaaaaaaaaaaaaaaaaaaaa",
        "nobody@test.com",
    ] {
        let body = json!({ "identifier": identifier, "password": "wrong" });
        let refused = node.post(None, method, &body).await;
        answers.push((refused.status, refused.body));
    }
    assert!(answers.iter().all(|answer| *answer == answers[0]));
}

#[tokio::test]
async fn pages_are_framed_and_kept_by_nobody() {
    let node = Node::new();
    for path in [
        "/account",
        "/account?sign_up=1",
        "/account/security",
        "/account/passkeys.js",
        "/oauth/authorize",
        "/oauth/authorize?client_id=x&request_uri=y",
        "/admin",
    ] {
        let page = node.get(path).await;
        let header = |name: &str| {
            let value = page.headers.get(name).map(|v| v.to_str().unwrap());
            value.unwrap_or_else(|| panic!("{path} has no {name}"))
        };
        assert!(header("content-security-policy").contains("default-src 'none'"));
        assert!(header("content-security-policy").contains("frame-ancestors 'none'"));
        assert_eq!(header("x-frame-options"), "DENY", "{path}");
        assert_eq!(header("x-content-type-options"), "nosniff", "{path}");
        if path != "/account/passkeys.js" {
            assert_eq!(header("cache-control"), "no-store", "{path}");
        }
    }
}

#[tokio::test]
async fn forms_of_other_pages_do_nothing() {
    let node = Node::new();
    node.user("alice").await;
    let cookie = node.get("/account").await;
    let cookie = cookie.headers.get("set-cookie").unwrap().to_str().unwrap();
    let cookie = cookie.split(';').next().unwrap();
    let login = "do=sign_in&identifier=alice.test&password=a+password";
    for (path, more) in [
        ("/account", vec![("origin", "https://evil.example")]),
        ("/account", vec![("origin", "null")]),
        ("/account", vec![("sec-fetch-site", "cross-site")]),
        ("/account", vec![("sec-fetch-site", "same-site")]),
        ("/account", vec![]),
        ("/account/security", vec![("sec-fetch-site", "cross-site")]),
        ("/oauth/authorize", vec![("origin", "https://evil.example")]),
        (
            "/account/passkeys",
            vec![("origin", "https://evil.example")],
        ),
    ] {
        let more: Vec<_> = more.into_iter().chain([("cookie", cookie)]).collect();
        let refused = post(&node, path, FORM, &more, login.into()).await;
        assert_ne!(refused.status, StatusCode::OK, "{path} {more:?}");
        assert!(
            refused.headers.get("set-cookie").is_none(),
            "{path} {more:?}"
        );
    }
    let page = node
        .send(
            Request::get("/account")
                .header("cookie", cookie)
                .body(Body::empty())
                .unwrap(),
        )
        .await;
    assert!(String::from_utf8_lossy(&page.body).contains("name=\"password\""));
}
