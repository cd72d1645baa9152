//! Hosts that meet on the loopback interface: connections, streams, topics, providers.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    reason = "a test may panic"
)]

mod common;

use std::time::Duration;

use common::{connect, on_tcp, pair, secret, soon, start, state_where};
use futures::{AsyncReadExt, AsyncWriteExt, StreamExt};
use libp2p::swarm::SwarmEvent;
use tokio::sync::broadcast;
use ues_p2p::config::Limits;
use ues_p2p::rate::Rate;
use ues_p2p::{
    ConnectError, Kademlia, KademliaMode, KnownPeer, Multiaddr, Network, NetworkConfig,
    NetworkError, NetworkEvent, OpenStreamError, PeerId, PrivateNetworkKey, StreamProtocol,
    TopicError, Verdict,
};
use zeroize::Zeroizing;

const ECHO: StreamProtocol = StreamProtocol::new("/ues/test/echo/1");

async fn echo(network: &Network) {
    let mut streams = network.accept_streams(ECHO).unwrap();
    tokio::spawn(async move {
        while let Some((_, stream)) = streams.next().await {
            tokio::spawn(async move {
                let (reader, mut writer) = stream.split();
                let _ = futures::io::copy(reader, &mut writer).await;
                let _ = writer.close().await;
            });
        }
    });
}

async fn send_and_read(network: &Network, peer: PeerId, data: &[u8]) -> Vec<u8> {
    let stream = network.open_stream(peer, ECHO).await.unwrap();
    let (mut reader, mut writer) = stream.split();
    let mut back = Vec::new();
    let send = async {
        writer.write_all(data).await.unwrap();
        writer.close().await.unwrap();
    };
    let read = reader.read_to_end(&mut back);
    soon("the echo", futures::future::join(send, read))
        .await
        .1
        .unwrap();
    back
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_stream_carries_bytes_both_ways_over_every_transport() {
    for listen in [
        "/ip4/127.0.0.1/tcp/0",
        "/ip4/127.0.0.1/tcp/0/ws",
        "/ip4/127.0.0.1/udp/0/quic-v1",
    ] {
        let one = start(NetworkConfig {
            listen: vec![listen.parse().unwrap()],
            ..NetworkConfig::default()
        })
        .await;
        let two = start(NetworkConfig::default()).await;
        echo(&one).await;
        connect(&two, &one).await;
        let data: Vec<u8> = (0..300_000_u32).map(|n| n as u8).collect();
        assert_eq!(send_and_read(&two, one.peer_id(), &data).await, data);
        let state = state_where(&two, "identify and ping", |state| {
            state.peers.iter().any(|peer| {
                peer.round_trip().is_some()
                    && peer.protocols.iter().any(|p| p == ECHO.as_ref())
                    && peer.bytes_in >= 300_000
                    && peer.bytes_out >= 300_000
            })
        })
        .await;
        assert_eq!(state.peers.len(), 1);
        assert_eq!(state.peers[0].peer, one.peer_id());
        assert!(state.peers[0].agent.starts_with("ues/"));
        assert!(!state.peers[0].connections[0].relayed);
        let json = serde_json::to_value(&state).unwrap();
        let there = &json["peers"][0];
        assert_eq!(there["peer"], one.peer_id().to_string());
        assert_eq!(there["connections"][0]["direction"], "outgoing");
        assert!(there["connections"][0]["roundTripMicros"].is_u64());
        two.shutdown().await;
        state_where(&one, "the goodbye", |state| state.peers.is_empty()).await;
        one.shutdown().await;
        assert!(one.state().await.is_none());
    }
}

#[tokio::test]
async fn the_peer_id_is_the_key() {
    let key = secret();
    let keypair = libp2p::identity::Keypair::ed25519_from_bytes(&mut key.clone()[..]).unwrap();
    let network = Network::start(NetworkConfig::default(), key).await.unwrap();
    assert_eq!(network.peer_id(), keypair.public().to_peer_id());
}

#[tokio::test]
async fn a_stream_of_an_unknown_protocol_is_refused() {
    let (one, two) = pair().await;
    let error = two.open_stream(one.peer_id(), ECHO).await.unwrap_err();
    assert!(
        matches!(error, OpenStreamError::Unsupported { .. }),
        "{error}"
    );
    let _streams = one.accept_streams(ECHO).unwrap();
    let error = one.accept_streams(ECHO).unwrap_err();
    assert!(
        matches!(error, OpenStreamError::AlreadyAccepted(_)),
        "{error}"
    );
}

#[tokio::test]
async fn a_stream_ends_with_its_connection_on_both_sides() {
    let (one, two) = pair().await;
    let mut streams = one.accept_streams(ECHO).unwrap();
    let mut here = two.open_stream(one.peer_id(), ECHO).await.unwrap();
    here.write_all(b"hello").await.unwrap();
    here.flush().await.unwrap();
    let (_, mut there) = soon("the stream", streams.next()).await.unwrap();
    there.read_exact(&mut [0; 5]).await.unwrap();
    // Both wait for more when the connection goes.
    let waiting = [here, there].map(|mut stream| {
        let (reads, reading) = tokio::sync::oneshot::channel();
        let waiting = tokio::spawn(async move {
            let _ = reads.send(());
            stream.read(&mut [0]).await
        });
        (reading, waiting)
    });
    let [(here_reads, here), (there_reads, there)] = waiting;
    here_reads.await.unwrap();
    there_reads.await.unwrap();
    assert!(two.disconnect(one.peer_id()).await);
    for (side, ended) in [("here", here), ("there", there)] {
        let read = soon(side, ended).await.unwrap();
        assert!(matches!(read, Ok(0) | Err(_)), "{side}: {read:?}");
    }
}

#[tokio::test]
async fn streams_that_nobody_takes_are_bounded() {
    let limits = Limits {
        waiting_streams: 3,
        ..Limits::default()
    };
    let one = start(NetworkConfig { limits, ..on_tcp() }).await;
    let two = start(on_tcp()).await;
    connect(&two, &one).await;
    let mut streams = one.accept_streams(ECHO).unwrap();
    let mut opened = Vec::new();
    for _ in 0..8 {
        opened.push(two.open_stream(one.peer_id(), ECHO).await.unwrap());
    }
    // Those that were refused are reset, which their reader sees.
    for stream in opened.iter_mut().skip(3) {
        let mut byte = [0];
        let read = soon("the reset", stream.read(&mut byte)).await;
        assert!(matches!(read, Ok(0) | Err(_)), "{read:?}");
    }
    for _ in 0..3 {
        assert!(soon("a stream", streams.next()).await.is_some());
    }
}

#[tokio::test]
async fn wrong_settings_and_peers_are_told() {
    let config = NetworkConfig {
        listen: vec!["/ip4/127.0.0.1/tcp/0/http".parse().unwrap()],
        ..NetworkConfig::default()
    };
    let error = Network::start(config, secret()).await.unwrap_err();
    assert!(matches!(error, NetworkError::Listen { .. }), "{error}");

    let (one, two) = (start(on_tcp()).await, start(on_tcp()).await);
    let stranger = PeerId::random();
    let error = two.connect_peer(stranger, vec![]).await.unwrap_err();
    assert!(matches!(error, ConnectError::NoAddress(_)), "{error}");
    let addresses = one.state().await.unwrap().listening;
    let error = two.connect_peer(stranger, addresses).await.unwrap_err();
    assert!(
        matches!(
            error,
            ConnectError::WrongPeer { .. } | ConnectError::Unreachable(_)
        ),
        "{error}"
    );
}

async fn disconnected(events: &mut broadcast::Receiver<NetworkEvent>, peer: PeerId) {
    let gone = NetworkEvent::PeerDisconnected(peer);
    soon("the end of the connection", async {
        while events.recv().await.unwrap() != gone {}
    })
    .await;
}

#[tokio::test]
async fn a_blocked_peer_and_a_stranger_stay_outside() {
    let (one, two) = pair().await;
    let mut events = two.events();
    one.block(two.peer_id(), true).await;
    disconnected(&mut events, one.peer_id()).await;
    let three = start(NetworkConfig {
        allow_only: Some(vec![one.peer_id()]),
        ..on_tcp()
    })
    .await;
    connect(&one, &three).await;
    let address = three.listen_addresses().await.remove(0);
    // The refusal comes after the handshake, so the caller may see a connection that ends at once.
    if two.connect(address.clone()).await.is_ok() {
        disconnected(&mut events, three.peer_id()).await;
    }
    let state = three.state().await.unwrap();
    assert_eq!(state.peers.len(), 1);
    assert_eq!(state.peers[0].peer, one.peer_id());
    three.allow(two.peer_id(), true).await;
    two.connect(address).await.unwrap();
    state_where(&three, "the second peer", |state| state.peers.len() == 2).await;
}

/// To the wrong key a handshake is noise, which may look like the beginning of something.
fn impatient() -> NetworkConfig {
    let limits = Limits {
        answer: Duration::from_secs(2),
        ..Limits::default()
    };
    NetworkConfig { limits, ..on_tcp() }
}

#[tokio::test]
async fn a_private_network_needs_the_key() {
    let private = |key| NetworkConfig {
        private_network: Some(PrivateNetworkKey::new(Zeroizing::new([key; 32]))),
        ..impatient()
    };
    let one = start(private(1)).await;
    let friend = start(private(1)).await;
    let stranger = start(private(2)).await;
    let passer_by = start(impatient()).await;
    connect(&friend, &one).await;
    let address = one.listen_addresses().await.remove(0);
    assert!(stranger.connect(address.clone()).await.is_err());
    assert!(passer_by.connect(address).await.is_err());
    assert_eq!(one.state().await.unwrap().peers.len(), 1);
}

#[tokio::test]
async fn a_known_peer_is_dialed_again_when_it_comes_back() {
    let key = secret();
    let one = Network::start(on_tcp(), key.clone()).await.unwrap();
    let peer = one.peer_id();
    let addresses = one.state().await.unwrap().listening;
    let two = start(NetworkConfig {
        peers: vec![KnownPeer {
            peer,
            addresses: addresses.clone(),
        }],
        ..on_tcp()
    })
    .await;
    let state = state_where(&two, "the first connection", |s| s.peers.len() == 1).await;
    assert!(state.peers[0].known);
    one.shutdown().await;
    state_where(&two, "the loss", |s| s.peers.is_empty()).await;
    let again = NetworkConfig {
        listen: addresses,
        ..NetworkConfig::default()
    };
    let _one = Network::start(again, key).await.unwrap();
    state_where(&two, "the second connection", |s| s.peers.len() == 1).await;
    assert!(!two.known_peers().await[0].addresses.is_empty());
    assert!(two.remove_known_peer(peer).await);
    assert!(two.known_peers().await.is_empty());
}

/// A peer that answers pings and does nothing else.
async fn idle_peer() -> (PeerId, Multiaddr) {
    let mut swarm = libp2p::SwarmBuilder::with_new_identity()
        .with_tokio()
        .with_tcp(
            libp2p::tcp::Config::default(),
            libp2p::noise::Config::new,
            libp2p::yamux::Config::default,
        )
        .unwrap()
        .with_behaviour(|_| libp2p::ping::Behaviour::default())
        .unwrap()
        .with_swarm_config(|config| config.with_idle_connection_timeout(common::PATIENCE))
        .build();
    let listen = "/ip4/127.0.0.1/tcp/0".parse().unwrap();
    swarm.listen_on(listen).unwrap();
    let peer = *swarm.local_peer_id();
    loop {
        if let SwarmEvent::NewListenAddr { address, .. } = swarm.select_next_some().await {
            tokio::spawn(swarm.for_each(|_| async {}));
            return (peer, address);
        }
    }
}

#[tokio::test]
async fn a_known_peer_stays_connected_without_streams_and_others_do_not() {
    let limits = Limits {
        idle: Duration::from_millis(100),
        ..Limits::default()
    };
    let one = start(NetworkConfig { limits, ..on_tcp() }).await;
    let ((known, known_at), (other, other_at)) = (idle_peer().await, idle_peer().await);
    one.add_known_peer(KnownPeer {
        peer: known,
        addresses: vec![known_at],
    })
    .await;
    let mut events = one.events();
    let mut states = one.watch();
    soon("the known peer", states.wait_for(|s| s.peers.len() == 1))
        .await
        .unwrap();
    // Five times somebody comes and goes, and the known peer stays all the while.
    for _ in 0..5 {
        one.connect_peer(other, vec![other_at.clone()])
            .await
            .unwrap();
        loop {
            match soon("the idle one to go", events.recv()).await.unwrap() {
                NetworkEvent::PeerDisconnected(peer) => {
                    assert_eq!(peer, other);
                    break;
                }
                _ => assert_ne!(one.state().await.unwrap().peers.len(), 0),
            }
        }
    }
    assert_eq!(one.state().await.unwrap().peers[0].peer, known);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn gossip_travels_only_when_it_is_accepted() {
    // one - two - three: what two refuses, three never hears
    let (one, two) = pair().await;
    let three = start(on_tcp()).await;
    connect(&three, &two).await;
    let mut at_two = two.subscribe("news").await.unwrap();
    let mut at_three = three.subscribe("news").await.unwrap();
    let error = two.subscribe("news").await.unwrap_err();
    assert!(matches!(error, TopicError::AlreadySubscribed(_)), "{error}");
    soon("a listener", async {
        while one.publish("news", "bad").await.is_err() {
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    })
    .await;
    let bad = soon("the first message", at_two.next()).await.unwrap();
    assert_eq!(bad.author, one.peer_id());
    assert_eq!(bad.judge(Verdict::Reject), "bad");
    let judge = tokio::spawn(async move {
        while let Some(message) = at_two.next().await {
            message.judge(Verdict::Accept);
        }
    });
    // The mesh between two and three may still be growing, so the good message is said until it is heard.
    let heard = soon("a good message", async {
        loop {
            one.publish("news", "good").await.unwrap();
            let next = tokio::time::timeout(Duration::from_millis(200), at_three.next());
            if let Ok(Some(message)) = next.await {
                break message;
            }
        }
    })
    .await;
    assert_eq!(heard.author, one.peer_id());
    assert_eq!(heard.from, two.peer_id());
    assert_eq!(heard.judge(Verdict::Accept), "good");
    while let Ok(Some(message)) =
        tokio::time::timeout(Duration::from_millis(300), at_three.next()).await
    {
        assert_eq!(message.judge(Verdict::Accept), "good");
    }
    judge.abort();
}

#[tokio::test]
async fn a_chatterbox_is_cut_short() {
    let limits = Limits {
        gossip_rate: Rate {
            burst: 5,
            per_second: 1,
        },
        ..Limits::default()
    };
    let one = start(NetworkConfig { limits, ..on_tcp() }).await;
    let two = start(on_tcp()).await;
    connect(&two, &one).await;
    let mut messages = one.subscribe("news").await.unwrap();
    soon("a listener", async {
        while two.publish("news", "first").await.is_err() {
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    })
    .await;
    for n in 0..50 {
        two.publish("news", format!("message {n}")).await.unwrap();
    }
    let state = state_where(&one, "the drops", |s| s.gossip_dropped >= 30).await;
    let mut heard = 0;
    while heard + state.gossip_dropped < 51 {
        let Some(message) = soon("a message", messages.next()).await else {
            break;
        };
        message.judge(Verdict::Accept);
        heard += 1;
    }
    assert!((5..=20).contains(&heard), "{heard} messages came through");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn providers_are_found_through_a_third_peer() {
    let with = |mode, bootstrap: Vec<_>| NetworkConfig {
        kademlia: Some(Kademlia {
            mode,
            bootstrap,
            ..Kademlia::default()
        }),
        ..on_tcp()
    };
    let server = start(with(KademliaMode::Server, vec![])).await;
    let bootstrap = server.listen_addresses().await;
    let one = start(with(KademliaMode::Client, bootstrap.clone())).await;
    let two = start(with(KademliaMode::Client, bootstrap)).await;
    for client in [&one, &two] {
        connect(client, &server).await;
        state_where(client, "identify", |s| {
            s.peers.iter().any(|peer| !peer.agent.is_empty())
        })
        .await;
    }
    let address = one.listen_addresses().await.remove(0);
    one.add_external_address(address).await;
    let cid = ues_data::raw_cid(b"something");
    soon("the record", one.provide(&cid)).await.unwrap();
    // Nobody confirms a provider record, so it may come a little later.
    let found = soon("the provider", async {
        loop {
            let found = two.find_providers(&cid).await.unwrap();
            if !found.is_empty() {
                break found;
            }
        }
    })
    .await;
    assert_eq!(found, [one.peer_id()]);
    let other = ues_data::raw_cid(b"something else");
    let found = soon("the answer", two.find_providers(&other))
        .await
        .unwrap();
    assert_eq!(found, []);
    let off = start(on_tcp()).await;
    assert!(off.find_providers(&cid).await.is_err());
}
