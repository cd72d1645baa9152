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
    let mut node = Node::with(config);
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let (stop, stopped) = oneshot::channel::<()>();
    let server = node.server.take().unwrap();
    let task = tokio::spawn(server.serve(listener, async {
        let _ = stopped.await;
    }));
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
    task.await.unwrap().unwrap();
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
