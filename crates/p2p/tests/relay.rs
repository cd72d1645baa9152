//! Peers that meet through a relay.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    reason = "a test may panic"
)]

mod common;

use common::{on_tcp, soon, start, state_where};
use futures::{AsyncReadExt, AsyncWriteExt};
use ues_p2p::{Multiaddr, Network, NetworkConfig, NetworkEvent, StreamProtocol};

const HELLO: StreamProtocol = StreamProtocol::new("/ues/test/hello/1");

/// A relay and its address.
async fn relay() -> (Network, Multiaddr) {
    let relay = start(NetworkConfig {
        relay_server: true,
        ..on_tcp()
    })
    .await;
    let address = relay.listen_addresses().await.remove(0);
    relay.add_external_address(address.clone()).await;
    (relay, address)
}

fn through(relay: &Multiaddr, to: &Network) -> Multiaddr {
    format!("{relay}/p2p-circuit/p2p/{}", to.peer_id())
        .parse()
        .unwrap()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_peer_that_listens_nowhere_is_reached_through_its_relay() {
    let (relay, address) = relay().await;
    let hidden = start(NetworkConfig {
        relays: vec![address.clone()],
        ..NetworkConfig::default()
    })
    .await;
    let state = state_where(&hidden, "the reservation", |s| !s.reservations.is_empty()).await;
    assert_eq!(state.reservations, [relay.peer_id()]);
    state_where(&relay, "its other side", |s| s.reserved_for == 1).await;

    let mut streams = hidden.accept_streams(HELLO).unwrap();
    let caller = start(NetworkConfig::default()).await;
    let peer = caller.connect(through(&address, &hidden)).await.unwrap();
    assert_eq!(peer, hidden.peer_id());
    let mut stream = caller.open_stream(peer, HELLO).await.unwrap();
    stream.write_all(b"hello").await.unwrap();
    stream.close().await.unwrap();
    let (from, mut stream) = soon("the stream", streams.next()).await.unwrap();
    assert_eq!(from, caller.peer_id());
    let mut heard = Vec::new();
    soon("the words", stream.read_to_end(&mut heard))
        .await
        .unwrap();
    assert_eq!(heard, b"hello");
    let state = caller.state().await.unwrap();
    let there = state.peers.iter().find(|p| p.peer == peer).unwrap();
    assert!(there.connections.iter().all(|c| c.relayed));

    // the reservation comes back when the relay does
    relay.disconnect(hidden.peer_id()).await;
    state_where(&hidden, "the loss", |s| s.reservations.is_empty()).await;
    state_where(&hidden, "the new reservation", |s| {
        !s.reservations.is_empty()
    })
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_host_that_is_no_relay_gives_no_reservation() {
    let plain = start(on_tcp()).await;
    let target = start(NetworkConfig::default()).await;
    let address = plain.listen_addresses().await.remove(0);
    target.connect(address.clone()).await.unwrap();
    let caller = start(NetworkConfig::default()).await;
    let reached = caller.connect(through(&address, &target)).await;
    assert!(reached.is_err());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn peers_that_met_through_a_relay_find_a_direct_way() {
    let (_relay, address) = relay().await;
    let hidden = start(NetworkConfig {
        relays: vec![address.clone()],
        ..on_tcp()
    })
    .await;
    state_where(&hidden, "the reservation", |s| !s.reservations.is_empty()).await;
    let caller = start(on_tcp()).await;
    let (mut at_hidden, mut at_caller) = (hidden.events(), caller.events());
    let peer = caller.connect(through(&address, &hidden)).await.unwrap();
    soon("the punch", async {
        loop {
            let event = tokio::select! {
                event = at_hidden.recv() => event.unwrap(),
                event = at_caller.recv() => event.unwrap(),
            };
            if matches!(event, NetworkEvent::HolePunched(_)) {
                break;
            }
        }
    })
    .await;
    state_where(&caller, "a direct connection", |state| {
        state
            .peers
            .iter()
            .filter(|p| p.peer == peer)
            .any(|p| p.connections.iter().any(|c| !c.relayed))
    })
    .await;
}
