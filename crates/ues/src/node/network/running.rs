//! The running network: host, sync and pairing.

use ues_p2p::pairing::PairingService;
use ues_p2p::sync::SyncService;
use ues_p2p::{KnownPeer, Multiaddr, Network, NetworkConfig, identity};
use ues_repo::crypto::VerifyingKey;
use ues_sync::pairing::DeviceName;
use ues_sync::store::Replicas;

use super::known::KnownRows;
use super::{NetworkError, cannot};
use crate::config;

/// See the module. Cheap to clone.
#[derive(Clone)]
pub(super) struct Running {
    pub network: Network,
    pub sync: SyncService,
    pub pairing: PairingService,
}

impl Running {
    pub async fn start(
        config: &config::Network,
        replicas: &Replicas,
        known: &KnownRows,
    ) -> Result<Self, NetworkError> {
        let secret = replicas.device().to_bytes();
        let mut peers = known.read().map_err(cannot)?;
        for did in replicas.list() {
            for device in replicas.devices(&did).map_err(cannot)? {
                let key = VerifyingKey::from_did_key(&device.key).ok();
                let peer = key.as_ref().and_then(identity::peer_with);
                let wanted = !device.here && !device.root && !device.revoked;
                if let Some(peer) = peer.filter(|_| wanted)
                    && !peers.iter().any(|known| known.peer == peer)
                {
                    peers.push(KnownPeer {
                        peer,
                        addresses: Vec::new(),
                    });
                }
            }
        }
        let listen: Vec<Multiaddr> = config
            .listen
            .iter()
            .map(|text| text.parse().map_err(|_| address(text)))
            .collect::<Result<_, _>>()?;
        let settings = |listen| NetworkConfig {
            listen,
            mdns: config.mdns,
            relay_server: config.relay_server,
            peers: peers.clone(),
            agent: concat!("ues/", env!("CARGO_PKG_VERSION")).to_owned(),
            ..NetworkConfig::default()
        };
        let network = match Network::start(settings(listen.clone()), secret.clone()).await {
            Ok(network) => network,
            Err(e) => {
                // Another node on this machine has the ports: any others will do, peers find them out.
                tracing::warn!(error = %e, "the network listens on other ports than it should");
                let free = listen.iter().map(any_port).collect();
                Network::start(settings(free), secret)
                    .await
                    .map_err(cannot)?
            }
        };
        let sync = SyncService::start(network.clone(), replicas.clone()).map_err(cannot)?;
        let name = device_name(&config.device_name);
        let pairing =
            PairingService::start(network.clone(), replicas.clone(), name).map_err(cannot)?;
        Ok(Self {
            network,
            sync,
            pairing,
        })
    }
}

fn address(text: &str) -> NetworkError {
    NetworkError(format!(
        "network.listen: an address such as /ip4/0.0.0.0/tcp/4100 expected, found {text:?}"
    ))
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
fn device_name(configured: &str) -> DeviceName {
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
}
