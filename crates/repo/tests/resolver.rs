//! The resolver against small servers of the test's own.

#![allow(clippy::unwrap_used, clippy::panic)]

use std::collections::HashMap;
use std::net::SocketAddr;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use hickory_resolver::proto::op::{Message, OpCode, ResponseCode};
use hickory_resolver::proto::rr::rdata::TXT;
use hickory_resolver::proto::rr::{RData, Record};
use serde_json::json;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, UdpSocket};
use ues_repo::crypto::{KeyKind, SigningKey};
use ues_repo::identity::plc::directory::{Directory, DirectoryOptions};
use ues_repo::identity::plc::{self, AccountIdentity};
use ues_repo::identity::{DidDocument, ResolveError, Resolver, ResolverOptions};
use ues_repo::syntax::{AtIdentifier, Did, Handle};
use ues_storage::engine::MemoryEngine;
use ues_storage::{Store, StoreOptions};

/// An HTTP server that answers by `host path`.
struct Server {
    address: SocketAddr,
    answers: Arc<Mutex<HashMap<String, String>>>,
    asked: Arc<AtomicUsize>,
}

impl Server {
    async fn start() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let answers = Arc::new(Mutex::new(HashMap::<String, String>::new()));
        let asked = Arc::new(AtomicUsize::new(0));
        let (for_server, count) = (answers.clone(), asked.clone());
        tokio::spawn(async move {
            while let Ok((mut stream, _)) = listener.accept().await {
                let (answers, count) = (for_server.clone(), count.clone());
                tokio::spawn(async move {
                    let mut request = Vec::new();
                    while !request.ends_with(b"\r\n\r\n") {
                        request.push(stream.read_u8().await?);
                    }
                    count.fetch_add(1, Ordering::SeqCst);
                    let request = String::from_utf8_lossy(&request).to_lowercase();
                    let path = request.split(' ').nth(1).unwrap().to_owned();
                    let host = request.split("\r\nhost: ").nth(1).unwrap();
                    let host = host.split("\r\n").next().unwrap();
                    let found = answers
                        .lock()
                        .unwrap()
                        .get(&format!("{host} {path}"))
                        .cloned();
                    let answer = match found {
                        Some(raw) if raw.starts_with("HTTP/") => raw,
                        Some(body) => format!(
                            "HTTP/1.1 200 OK\r\ncontent-length: {}\r\nconnection: close\r\n\r\n{body}",
                            body.len()
                        ),
                        None => "HTTP/1.1 404 Not Found\r\ncontent-length: 0\r\nconnection: close\r\n\r\n".to_owned(),
                    };
                    stream.write_all(answer.as_bytes()).await
                });
            }
        });
        Self {
            address,
            answers,
            asked,
        }
    }

    fn says(&self, host: &str, path: &str, body: &str) {
        let mut answers = self.answers.lock().unwrap();
        answers.insert(format!("{host} {path}"), body.to_owned());
    }

    fn url(&self) -> String {
        format!("http://{}", self.address)
    }

    fn asked(&self) -> usize {
        self.asked.load(Ordering::SeqCst)
    }
}

/// A DNS server that knows TXT records by name.
async fn dns_server(records: &[(&str, &[&str])]) -> SocketAddr {
    let socket = UdpSocket::bind("127.0.0.1:0").await.unwrap();
    let address = socket.local_addr().unwrap();
    let records: HashMap<String, Vec<String>> = records
        .iter()
        .map(|(name, texts)| {
            (
                name.to_string(),
                texts.iter().map(|t| t.to_string()).collect(),
            )
        })
        .collect();
    tokio::spawn(async move {
        let mut buffer = [0; 1500];
        while let Ok((length, from)) = socket.recv_from(&mut buffer).await {
            let Ok(question) = Message::from_vec(&buffer[..length]) else {
                continue;
            };
            let query = question.queries[0].clone();
            let name = query.name().to_string().to_lowercase();
            let mut answer = Message::response(question.metadata.id, OpCode::Query);
            match records.get(&name) {
                Some(texts) => {
                    for text in texts {
                        let data = RData::TXT(TXT::new(vec![text.clone()]));
                        answer.add_answer(Record::from_rdata(query.name().clone(), 60, data));
                    }
                }
                None => answer.metadata.response_code = ResponseCode::NXDomain,
            }
            answer.add_query(query);
            socket
                .send_to(&answer.to_vec().unwrap(), from)
                .await
                .unwrap();
        }
    });
    address
}

fn did(text: &str) -> Did {
    Did::parse(text).unwrap()
}

fn handle(text: &str) -> Handle {
    Handle::parse(text).unwrap()
}

fn document(did: &Did, name: &str) -> String {
    let key = SigningKey::from_bytes(KeyKind::K256, &[1; 32]).unwrap();
    let document =
        DidDocument::for_account(did, &handle(name), key.verifying_key(), "https://pds.test");
    serde_json::to_string(&document).unwrap()
}

fn options() -> ResolverOptions {
    let mut options = ResolverOptions::default();
    options.timeout = Duration::from_secs(20);
    options.plc_url = String::new();
    options
}

fn with_local_test(server: &Server) -> ResolverOptions {
    let mut options = options();
    options.plc_url = server.url();
    options.local_hosts.insert("test".to_owned(), server.url());
    options
}

#[tokio::test]
async fn an_account_is_verified_in_both_directions() {
    let server = Server::start().await;
    let host = server.address.to_string();
    let alice = did("did:plc:alice");
    server.says("alice.test", "/.well-known/atproto-did", "did:plc:alice\n");
    server.says("mallory.test", "/.well-known/atproto-did", "did:plc:alice");
    server.says(&host, "/did:plc:alice", &document(&alice, "Alice.test"));
    server.says(
        &host,
        "/did:plc:bob",
        &document(&did("did:plc:bob"), "alice.test"),
    );
    let resolver = Resolver::new(with_local_test(&server));

    for name in ["alice.test", "ALICE.test", "did:plc:alice"] {
        let identity = resolver
            .resolve(&AtIdentifier::parse(name).unwrap())
            .await
            .unwrap();
        assert_eq!(
            (identity.did.as_str(), identity.handle.as_str()),
            ("did:plc:alice", "alice.test")
        );
    }
    // two questions in all, the rest came from the caches
    assert_eq!(server.asked(), 2);
    let stranger = resolver
        .resolve(&AtIdentifier::parse("mallory.test").unwrap())
        .await;
    assert_eq!(
        stranger.unwrap_err(),
        ResolveError::HandleNotFound(handle("mallory.test"))
    );
    let bob = resolver
        .resolve(&AtIdentifier::parse("did:plc:bob").unwrap())
        .await
        .unwrap();
    assert!(bob.handle.is_invalid());
    assert!(resolver.signing_key(&alice).await.is_ok());
}

#[tokio::test]
async fn a_definite_no_is_remembered_until_it_is_forgotten() {
    let server = Server::start().await;
    let host = server.address.to_string();
    let resolver = Resolver::new(with_local_test(&server));
    let late = did("did:plc:late");
    for _ in 0..3 {
        assert_eq!(
            resolver.resolve_did(&late).await,
            Err(ResolveError::DidNotFound(late.clone()))
        );
    }
    assert_eq!(server.asked(), 1);
    server.says(&host, "/did:plc:late", &document(&late, "late.test"));
    resolver.forget_did(&late);
    assert!(resolver.resolve_did(&late).await.is_ok());
    assert!(resolver.refresh_did(&late).await.is_ok());
    assert_eq!(server.asked(), 3);
}

#[tokio::test]
async fn bad_answers_are_refused() {
    let server = Server::start().await;
    let host = server.address.to_string();
    let resolver = Resolver::new(with_local_test(&server));
    server.says(&host, "/did:plc:a", &document(&did("did:plc:b"), "a.test"));
    server.says(&host, "/did:plc:c", "not json");
    server.says(&host, "/did:plc:d", &"x".repeat(70_000));
    server.says(
        &host,
        "/did:plc:e",
        "HTTP/1.1 500 No\r\ncontent-length: 0\r\n\r\n",
    );
    let elsewhere = format!(
        "HTTP/1.1 302 Found\r\nlocation: {}/did:plc:g\r\ncontent-length: 0\r\n\r\n",
        server.url()
    );
    server.says(&host, "/did:plc:f", &elsewhere);
    for (name, definite) in [
        ("a", true),
        ("c", true),
        ("d", false),
        ("e", false),
        ("f", false),
    ] {
        let error = resolver
            .resolve_did(&did(&format!("did:plc:{name}")))
            .await
            .unwrap_err();
        assert_eq!(error.is_definite(), definite, "{error}");
    }
    server.says("long.test", "/.well-known/atproto-did", &"d".repeat(5000));
    server.says("none.test", "/.well-known/atproto-did", "<html>");
    for name in ["long.test", "none.test", "missing.test"] {
        assert!(
            resolver.resolve_handle(&handle(name)).await.is_err(),
            "{name}"
        );
    }
    assert_eq!(
        resolver.resolve_did(&did("did:example:x")).await,
        Err(ResolveError::UnsupportedMethod(did("did:example:x")))
    );
}

#[tokio::test]
async fn strangers_do_not_lead_to_this_machine() {
    let server = Server::start().await;
    let local = did(&format!("did:web:localhost%3A{}", server.address.port()));
    let host = format!("localhost:{}", server.address.port());
    server.says(&host, "/.well-known/did.json", &document(&local, "a.test"));
    let careful = Resolver::new(options());
    let error = careful.resolve_did(&local).await.unwrap_err();
    assert!(error.to_string().contains("no public address"), "{error}");
    assert_eq!(server.asked(), 0);

    let mut open = options();
    open.allow_private_addresses = true;
    let resolver = Resolver::new(open);
    assert_eq!(resolver.resolve_did(&local).await.unwrap().id, local);
    for name in ["a.localhost", "a.local", "a.onion", "a.internal"] {
        assert_eq!(
            resolver.resolve_handle(&handle(name)).await,
            Err(ResolveError::ReservedDomain(handle(name)))
        );
    }
    // .test is never asked about outside
    assert!(matches!(
        resolver.resolve_handle(&handle("a.test")).await,
        Err(ResolveError::HandleNotFound(_))
    ));
}

#[tokio::test]
async fn dns_names_the_did() {
    let dns = dns_server(&[
        (
            "_atproto.alice.invalid-domain.com.",
            &["v=1", "did=did:plc:alice"],
        ),
        (
            "_atproto.two.invalid-domain.com.",
            &["did=did:plc:a", "did=did:plc:b"],
        ),
    ])
    .await;
    let mut with_dns = options();
    with_dns.dns_servers = vec![dns];
    let resolver = Resolver::new(with_dns);
    assert_eq!(
        resolver
            .resolve_handle(&handle("Alice.invalid-domain.com"))
            .await
            .unwrap(),
        "did:plc:alice"
    );
    for name in ["two.invalid-domain.com", "none.invalid-domain.com"] {
        assert_eq!(
            resolver.resolve_handle(&handle(name)).await,
            Err(ResolveError::HandleNotFound(handle(name)))
        );
    }
}

#[tokio::test]
async fn the_embedded_directory_is_asked_first() {
    let server = Server::start().await;
    let engine = Arc::new(MemoryEngine::default());
    let store = Store::with_engine(engine, StoreOptions::default()).unwrap();
    let directory = Directory::open(&store, DirectoryOptions::default()).unwrap();
    let rotation = SigningKey::from_bytes(KeyKind::K256, &[1; 32]).unwrap();
    let identity = AccountIdentity {
        signing_key: rotation.verifying_key().clone(),
        rotation_keys: vec![rotation.verifying_key().clone()],
        handle: handle("alice.test"),
        pds: server.url(),
    };
    let made = plc::create(&identity, &rotation).unwrap();
    let end = plc::tombstone(&made.operation, &rotation).unwrap();
    directory.submit(&made.did, made.operation).await.unwrap();

    let mut options = with_local_test(&server);
    options.directory = Some(directory.clone());
    let resolver = Resolver::new(options);
    let found = resolver.resolve_did(&made.did).await.unwrap();
    assert_eq!(found.pds_endpoint(), Some(server.url().as_str()));
    directory.submit(&made.did, end).await.unwrap();
    assert_eq!(
        resolver.refresh_did(&made.did).await,
        Err(ResolveError::DidNotFound(made.did.clone()))
    );
    assert_eq!(server.asked(), 0);
    // one that it does not know may be known elsewhere
    let other = did("did:plc:other");
    let host = server.address.to_string();
    server.says(&host, "/did:plc:other", &document(&other, "other.test"));
    assert!(resolver.resolve_did(&other).await.is_ok());
}

#[tokio::test]
async fn a_did_key_needs_no_network() {
    let resolver = Resolver::new(options());
    let key = SigningKey::from_bytes(KeyKind::P256, &[3; 32]).unwrap();
    let found = resolver.resolve_did(&did(&key.did_key())).await.unwrap();
    assert_eq!(
        serde_json::to_value(&*found).unwrap()["verificationMethod"][0]["publicKeyMultibase"],
        json!(key.verifying_key().multikey())
    );
    assert!(resolver.resolve_did(&did("did:key:zzz")).await.is_err());
}
