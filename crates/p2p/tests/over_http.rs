//! Hosts that are reached through a web server only.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    reason = "a test may panic"
)]

mod common;

use std::net::SocketAddr;
use std::time::{Duration, Instant};

use common::{secret, soon, start, state_where};
use futures::{AsyncReadExt, AsyncWriteExt};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};
use tokio_tungstenite::tungstenite::handshake::derive_accept_key;
use ues_p2p::config::Limits;
use ues_p2p::http::{Full, PATH, address};
use ues_p2p::{
    Multiaddr, Network, NetworkConfig, NetworkError, OverHttp, PrivateNetworkKey, StreamProtocol,
};

const ECHO: StreamProtocol = StreamProtocol::new("/ues/test/echo/1");

/// Answers every request for the path with a WebSocket, and lets it in to the host.
async fn serve(listener: TcpListener, host: Network) {
    while let Ok((mut stream, from)) = listener.accept().await {
        let Ok(place) = host.entrance().unwrap().place(from) else {
            continue;
        };
        tokio::spawn(async move {
            let mut head = Vec::new();
            while !head.ends_with(b"\r\n\r\n") {
                head.push(stream.read_u8().await.unwrap());
            }
            let head = String::from_utf8(head).unwrap();
            assert!(
                head.starts_with(&format!("GET {PATH} HTTP/1.1\r\n")),
                "{head}"
            );
            let lines = head.lines().filter_map(|line| line.split_once(": "));
            let mut keys = lines.filter(|(name, _)| name.eq_ignore_ascii_case("sec-websocket-key"));
            let accept = derive_accept_key(keys.next().unwrap().1.as_bytes());
            let answer = format!(
                "HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\
                 Sec-WebSocket-Accept: {accept}\r\n\r\n"
            );
            stream.write_all(answer.as_bytes()).await.unwrap();
            place.enter(stream);
        });
    }
}

/// A host that listens nowhere but behind a web server, and where that is.
async fn behind_a_server(limits: Limits) -> (Network, SocketAddr) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let at = listener.local_addr().unwrap();
    let host = start(NetworkConfig {
        http: Some(OverHttp {
            address: Some(address("127.0.0.1", at.port(), false)),
        }),
        limits,
        ..NetworkConfig::default()
    })
    .await;
    tokio::spawn(serve(listener, host.clone()));
    (host, at)
}

/// A WebSocket to the host that has said nothing yet.
async fn upgraded(at: SocketAddr) -> TcpStream {
    let mut stream = TcpStream::connect(at).await.unwrap();
    let request = format!(
        "GET {PATH} HTTP/1.1\r\nHost: a\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\
         Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA==\r\n\r\n"
    );
    stream.write_all(request.as_bytes()).await.unwrap();
    let mut answer = Vec::new();
    while !answer.ends_with(b"\r\n\r\n") {
        answer.push(stream.read_u8().await.unwrap());
    }
    assert!(answer.starts_with(b"HTTP/1.1 101"));
    stream
}

/// Waits until the other end closes, whatever it says before.
async fn closed(mut stream: TcpStream) {
    let mut rest = Vec::new();
    let _ = soon("the end", stream.read_to_end(&mut rest)).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_host_that_listens_nowhere_else_is_reached_and_speaks_like_any_other() {
    let (one, at) = behind_a_server(Limits::default()).await;
    let mut streams = one.accept_streams(ECHO).unwrap();
    tokio::spawn(async move {
        while let Some((_, stream)) = streams.next().await {
            let (reader, mut writer) = stream.split();
            let _ = futures::io::copy(reader, &mut writer).await;
            let _ = writer.close().await;
        }
    });
    let told = one.addresses_to_tell(3).await;
    assert_eq!(told, [address("127.0.0.1", at.port(), false)]);
    let two = start(NetworkConfig::default()).await;
    let peer = two.connect(told[0].clone()).await.unwrap();
    assert_eq!(peer, one.peer_id());

    let data: Vec<u8> = (0..3_000_000_u32).map(|n| (n / 7) as u8).collect();
    let stream = two.open_stream(peer, ECHO).await.unwrap();
    let (mut reader, mut writer) = stream.split();
    let mut back = Vec::new();
    let send = async {
        writer.write_all(&data).await.unwrap();
        writer.close().await.unwrap();
    };
    let read = reader.read_to_end(&mut back);
    let (_, read) = soon("the echo", futures::future::join(send, read)).await;
    read.unwrap();
    assert_eq!(back, data);

    let state = state_where(&one, "a ping", |state| {
        state.peers.iter().any(|peer| peer.round_trip().is_some())
    })
    .await;
    let from: Multiaddr = state.peers[0].connections[0].address.clone();
    assert!(
        from.to_string().starts_with("/ip4/127.0.0.1/tcp/"),
        "{from}"
    );
    assert!(from.to_string().ends_with("/ws/http-path/p2p"), "{from}");
    two.shutdown().await;
    state_where(&one, "the goodbye", |state| state.peers.is_empty()).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn who_is_no_host_is_let_go_and_its_place_is_free_again() {
    let limits = Limits {
        http_connections: 3,
        answer: Duration::from_secs(2),
        ..Limits::default()
    };
    let (host, at) = behind_a_server(limits).await;
    let begun = Instant::now();
    let silent = upgraded(at).await;
    let mut text = upgraded(at).await;
    let mut huge = upgraded(at).await;
    let full = host.entrance().unwrap().place(at).unwrap_err();
    assert_eq!(full, Full::All);
    // A text of no length, and a frame of 2 MiB.
    text.write_all(&[0x81, 0x80, 0, 0, 0, 0]).await.unwrap();
    huge.write_all(&[0x82, 0xff, 0, 0, 0, 0, 0, 0x20, 0, 0, 0, 0, 0, 0])
        .await
        .unwrap();
    closed(text).await;
    closed(huge).await;
    assert!(begun.elapsed() < Duration::from_secs(2));
    let mut noise = upgraded(at).await;
    let mut frame = vec![0x82, 0xfe, 0x01, 0, 0, 0, 0, 0];
    frame.extend([0x2a; 256]);
    noise.write_all(&frame).await.unwrap();
    closed(noise).await;
    closed(silent).await;
    let two = start(NetworkConfig::default()).await;
    let there = address("127.0.0.1", at.port(), false);
    assert_eq!(two.connect(there).await.unwrap(), host.peer_id());
    soon("the places are free", async {
        while host.entrance().unwrap().place(at).is_err() {
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    })
    .await;
}

#[tokio::test]
async fn settings_that_cannot_be_are_refused() {
    let config = NetworkConfig {
        http: Some(OverHttp::default()),
        private_network: Some(PrivateNetworkKey::new(secret())),
        ..NetworkConfig::default()
    };
    let error = Network::start(config, secret()).await.unwrap_err();
    assert!(
        matches!(
            error,
            NetworkError::Setting {
                setting: "http",
                ..
            }
        ),
        "{error}"
    );
    let broken = "-----BEGIN CERTIFICATE-----\n!\n-----END CERTIFICATE-----\n";
    let config = NetworkConfig {
        tls_roots: broken.into(),
        ..NetworkConfig::default()
    };
    let error = Network::start(config, secret()).await.unwrap_err();
    assert!(error.to_string().contains("certificates in PEM"), "{error}");
    let plain = start(NetworkConfig::default()).await;
    assert!(plain.entrance().is_none());
}
