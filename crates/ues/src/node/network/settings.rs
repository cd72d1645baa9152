//! From the configuration to the host's settings.

use std::fs;

use ues_p2p::config::peer_of;
use ues_p2p::{
    Kademlia, KademliaMode, KnownPeer, Multiaddr, NetworkConfig, PeerId, StreamProtocol,
};
use ues_sync::pairing::DeviceName;

use super::NetworkError;
use crate::config::{Network, NetworkKademlia};

/// Largest file with certificates that is read.
const MAX_ROOTS: u64 = 1 << 20;

/// The settings of a host that knows these peers.
///
/// # Errors
/// Where something is no address, or no name of a protocol, or a file cannot be read.
pub(super) fn host(config: &Network, peers: Vec<KnownPeer>) -> Result<NetworkConfig, NetworkError> {
    let bootstrap = named(&config.bootstrap, "network.bootstrap")?;
    let relays = named(&config.relays, "network.relays")?;
    let mode = match config.kademlia {
        NetworkKademlia::Off => None,
        NetworkKademlia::Client => Some(KademliaMode::Client),
        NetworkKademlia::Server => Some(KademliaMode::Server),
    };
    let protocol = || {
        let name = config.kademlia_protocol.clone();
        StreamProtocol::try_from_owned(name).map_err(|_| {
            NetworkError(format!(
                "network.kademlia_protocol: a name such as /ues/kad/1.0.0 expected, found {:?}",
                config.kademlia_protocol
            ))
        })
    };
    let addresses = |list: &[(Multiaddr, PeerId)]| list.iter().map(|(a, _)| a.clone()).collect();
    let kademlia = match mode {
        None => None,
        Some(mode) => Some(Kademlia {
            mode,
            protocol: protocol()?,
            bootstrap: addresses(&bootstrap),
        }),
    };
    Ok(NetworkConfig {
        listen: parse(&config.listen, "network.listen")?,
        external: parse(&config.external, "network.external")?,
        tls_roots: roots(&config.tls_ca_file)?,
        relays: addresses(&relays),
        mdns: config.mdns,
        relay_server: config.relay_server,
        kademlia,
        peers: with(peers, bootstrap),
        agent: concat!("ues/", env!("CARGO_PKG_VERSION")).to_owned(),
        ..NetworkConfig::default()
    })
}

/// The certificates in a file, if there is one.
fn roots(file: &str) -> Result<Vec<u8>, NetworkError> {
    let wrong = |e: String| NetworkError(format!("network.tls_ca_file: {file}: {e}"));
    if file.is_empty() {
        return Ok(Vec::new());
    }
    let size = fs::metadata(file).map_err(|e| wrong(e.to_string()))?.len();
    if size > MAX_ROOTS {
        let text = format!("at most {MAX_ROOTS} bytes expected, found {size}");
        return Err(wrong(text));
    }
    fs::read(file).map_err(|e| wrong(e.to_string()))
}

fn with(mut peers: Vec<KnownPeer>, more: Vec<(Multiaddr, PeerId)>) -> Vec<KnownPeer> {
    for (address, peer) in more {
        match peers.iter_mut().find(|known| known.peer == peer) {
            Some(known) if !known.addresses.contains(&address) => known.addresses.push(address),
            Some(_) => {}
            None => peers.push(KnownPeer {
                peer,
                addresses: vec![address],
            }),
        }
    }
    peers
}

fn parse(list: &[String], setting: &str) -> Result<Vec<Multiaddr>, NetworkError> {
    let address = |text: &String| {
        text.parse().map_err(|_| {
            NetworkError(format!(
                "{setting}: an address such as /ip4/0.0.0.0/tcp/4100 expected, found {text:?}"
            ))
        })
    };
    list.iter().map(address).collect()
}

fn named(list: &[String], setting: &str) -> Result<Vec<(Multiaddr, PeerId)>, NetworkError> {
    let with_peer = |address: Multiaddr| match peer_of(&address) {
        Some(peer) => Ok((address, peer)),
        None => Err(NetworkError(format!(
            "{setting}: an address that ends with /p2p/ID expected, found {address}"
        ))),
    };
    parse(list, setting)?.into_iter().map(with_peer).collect()
}

/// The same addresses with any ports.
pub(super) fn any_ports(addresses: &[Multiaddr]) -> Vec<Multiaddr> {
    addresses.iter().map(any_port).collect()
}

fn any_port(address: &Multiaddr) -> Multiaddr {
    let text: Vec<String> = address.to_string().split('/').map(str::to_owned).collect();
    let mut out = Vec::with_capacity(text.len());
    let mut before = String::new();
    for part in text {
        let port = matches!(before.as_str(), "tcp" | "udp");
        out.push(if port { "0".to_owned() } else { part.clone() });
        before = part;
    }
    out.join("/").parse().unwrap_or_else(|_| address.clone())
}

/// What this device is called: what the configuration says, else the machine's name.
pub(super) fn device_name(configured: &str) -> DeviceName {
    let machine = || std::fs::read_to_string("/etc/hostname").unwrap_or_default();
    let name = match configured {
        "" => machine(),
        name => name.to_owned(),
    };
    let fallback = || "device".parse::<DeviceName>();
    match name.trim().parse().or_else(|_| fallback()) {
        Ok(name) => name,
        // "device" is a name; nothing else can come here.
        Err(_) => unreachable!("a plain word is a device's name"),
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a test may panic")]

    use super::*;

    #[test]
    fn ports_are_let_go_of_and_nothing_else() {
        let free = |text: &str| any_port(&text.parse().unwrap()).to_string();
        assert_eq!(free("/ip4/0.0.0.0/tcp/4100"), "/ip4/0.0.0.0/tcp/0");
        assert_eq!(free("/ip6/::/udp/4100/quic-v1"), "/ip6/::/udp/0/quic-v1");
    }

    #[test]
    fn a_device_always_has_a_name() {
        assert_eq!(device_name("laptop").as_str(), "laptop");
        assert_eq!(device_name("a\u{7}b").as_str(), "device");
    }

    #[test]
    fn peers_to_stay_connected_with_have_a_name() {
        let peer = PeerId::random();
        let (a, b) = ("/ip4/10.0.0.1/tcp/1", "/ip4/10.0.0.2/tcp/2");
        let list = [a, b].map(|address| format!("{address}/p2p/{peer}"));
        let known = with(Vec::new(), named(&list, "network.bootstrap").unwrap());
        assert_eq!((known.len(), known[0].addresses.len()), (1, 2));
        let error = named(&[a.to_owned()], "network.relays").unwrap_err();
        assert!(
            error
                .to_string()
                .contains("network.relays: an address that ends with /p2p/ID"),
            "{error}"
        );
        assert!(parse(&["somewhere".to_owned()], "network.listen").is_err());
    }
}
