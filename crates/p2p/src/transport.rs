//! The ways to reach a peer: TCP, WebSocket, QUIC, circuits through relays, and what comes in by HTTP.

use std::time::Duration;

use libp2p::core::muxing::StreamMuxerBox;
use libp2p::core::transport::timeout::TransportTimeout;
use libp2p::core::transport::{Boxed, OptionalTransport, OrTransport, Transport};
use libp2p::core::upgrade::Version;
use libp2p::dns::{ResolverConfig, ResolverOpts};
use libp2p::identity::Keypair;
use libp2p::pnet::{PnetConfig, PreSharedKey};
use libp2p::{PeerId, dns, noise, quic, relay, tcp, websocket, yamux};
use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::PemObject;

use crate::connection::watched;
use crate::error::NetworkError;
use crate::http::{Arrivals, MAX_FRAME, Paths};
use crate::traffic::Traffic;

type Connections = Boxed<(PeerId, StreamMuxerBox)>;

/// What the transports depend on.
pub(crate) struct Options<'a> {
    pub private_network: Option<[u8; 32]>,
    /// What comes in by HTTP.
    pub arrivals: Option<Arrivals>,
    /// Certificates in PEM that servers are believed by, besides those of public authorities.
    pub tls_roots: &'a [u8],
    pub longest_setup: Duration,
}

/// All transports as one, and the relay client's other half.
pub(crate) fn build(
    keypair: &Keypair,
    options: Options<'_>,
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
    let direct = match options.private_network {
        Some(key) => private_tcp(noise, key),
        None => public(keypair, &noise, options.arrivals, tls(options.tls_roots)?),
    };
    let all = TransportTimeout::new(OrTransport::new(relayed, direct), options.longest_setup)
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

/// How servers are verified that are reached by HTTPS: by the authorities that browsers believe, and by `roots`.
fn tls(roots: &[u8]) -> Result<websocket::tls::Config, NetworkError> {
    let wrong = |found: String| NetworkError::Setting {
        setting: "tls_roots",
        expected: "certificates in PEM",
        found,
    };
    let mut tls = websocket::tls::Config::builder();
    for root in CertificateDer::pem_slice_iter(roots) {
        let root = root.map_err(|e| wrong(e.to_string()))?;
        let root = websocket::tls::Certificate::new(root.as_ref().to_vec());
        tls.add_trust(&root).map_err(|e| wrong(e.to_string()))?;
    }
    Ok(tls.finish())
}

fn public(
    keypair: &Keypair,
    noise: &noise::Config,
    arrivals: Option<Arrivals>,
    tls: websocket::tls::Config,
) -> Connections {
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
    let mut websocket = websocket::Config::new(by_name(tcp));
    websocket.set_max_data_size(MAX_FRAME).set_tls_config(tls);
    let websocket = Paths(websocket)
        .upgrade(Version::V1Lazy)
        .authenticate(noise.clone())
        .multiplex(yamux::Config::default())
        .map(|(peer, muxer), _| (peer, StreamMuxerBox::new(muxer)));
    let arrivals = match arrivals {
        Some(arrivals) => OptionalTransport::some(arrivals),
        None => OptionalTransport::none(),
    };
    let arrived = arrivals
        .upgrade(Version::V1Lazy)
        .authenticate(noise.clone())
        .multiplex(yamux::Config::default())
        .map(|(peer, muxer), _| (peer, StreamMuxerBox::new(muxer)));
    // TCP would take a WebSocket address for its own, so WebSocket comes first.
    let outward = OrTransport::new(websocket, quic_or_tcp).map(|either, _| either.into_inner());
    OrTransport::new(arrived, outward)
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
