//! The ways to reach a peer: TCP, WebSocket, QUIC, and circuits through relays.

use std::time::Duration;

use libp2p::core::muxing::StreamMuxerBox;
use libp2p::core::transport::timeout::TransportTimeout;
use libp2p::core::transport::{Boxed, OrTransport, Transport};
use libp2p::core::upgrade::Version;
use libp2p::dns::{ResolverConfig, ResolverOpts};
use libp2p::identity::Keypair;
use libp2p::pnet::{PnetConfig, PreSharedKey};
use libp2p::{PeerId, dns, noise, quic, relay, tcp, websocket, yamux};

use crate::connection::watched;
use crate::error::NetworkError;
use crate::traffic::Traffic;

type Connections = Boxed<(PeerId, StreamMuxerBox)>;

/// All transports as one, and the relay client's other half.
pub(crate) fn build(
    keypair: &Keypair,
    private_network: Option<[u8; 32]>,
    longest_setup: Duration,
    traffic: Traffic,
) -> Result<(Connections, relay::client::Behaviour), NetworkError> {
    let noise = noise::Config::new(keypair).map_err(|e| NetworkError::Setup {
        part: "Noise",
        reason: e.to_string(),
    })?;
    let (relay_transport, relay_client) = relay::client::new(keypair.public().to_peer_id());
    let relayed = relay_transport
        .upgrade(Version::V1Lazy)
        .authenticate(noise.clone())
        .multiplex(yamux::Config::default())
        .map(|(peer, muxer), _| (peer, StreamMuxerBox::new(muxer)))
        .boxed();
    let direct = match private_network {
        Some(key) => private_tcp(noise, key),
        None => public(keypair, &noise),
    };
    let all = TransportTimeout::new(OrTransport::new(relayed, direct), longest_setup)
        .map(move |either, _| {
            let (peer, connection) = either.into_inner();
            (peer, watched(connection, traffic.of(peer)))
        })
        .boxed();
    Ok((all, relay_client))
}

/// Lets a transport be dialed by host names.
fn by_name<T>(make: impl Fn() -> T) -> dns::tokio::Transport<T> {
    // Without the system's resolver only numeric addresses work, which is no reason not to start.
    dns::tokio::Transport::system(make()).unwrap_or_else(|error| {
        tracing::warn!(%error, "no name servers, names in addresses cannot be resolved");
        dns::tokio::Transport::custom(make(), ResolverConfig::default(), ResolverOpts::default())
    })
}

fn tcp() -> tcp::tokio::Transport {
    tcp::tokio::Transport::new(tcp::Config::default().nodelay(true))
}

fn public(keypair: &Keypair, noise: &noise::Config) -> Connections {
    let quic_or_tcp = by_name(|| {
        let quic = quic::tokio::Transport::new(quic::Config::new(keypair))
            .map(|(peer, muxer), _| (peer, StreamMuxerBox::new(muxer)));
        let tcp = tcp()
            .upgrade(Version::V1Lazy)
            .authenticate(noise.clone())
            .multiplex(yamux::Config::default())
            .map(|(peer, muxer), _| (peer, StreamMuxerBox::new(muxer)));
        OrTransport::new(quic, tcp).map(|either, _| either.into_inner())
    });
    let websocket = websocket::Config::new(by_name(tcp))
        .upgrade(Version::V1Lazy)
        .authenticate(noise.clone())
        .multiplex(yamux::Config::default())
        .map(|(peer, muxer), _| (peer, StreamMuxerBox::new(muxer)));
    // TCP would take a WebSocket address for its own, so WebSocket comes first.
    OrTransport::new(websocket, quic_or_tcp)
        .map(|either, _| either.into_inner())
        .boxed()
}

fn private_tcp(noise: noise::Config, key: [u8; 32]) -> Connections {
    let pnet = PnetConfig::new(PreSharedKey::new(key));
    by_name(tcp)
        .and_then(move |socket, _| pnet.handshake(socket))
        .upgrade(Version::V1Lazy)
        .authenticate(noise)
        .multiplex(yamux::Config::default())
        .map(|(peer, muxer), _| (peer, StreamMuxerBox::new(muxer)))
        .boxed()
}
