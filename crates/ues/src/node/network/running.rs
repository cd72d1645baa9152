//! The running network: host, sync, blobs, pairing, Bitswap.

use std::sync::Arc;

use ues_p2p::pairing::PairingService;
use ues_p2p::repositories::RepositoryServer;
use ues_p2p::sync::SyncService;
use ues_p2p::{
    Bitswap, BitswapLimits, BlobMode, BlobOptions, BlobService, KnownPeer, Network, identity,
};
use ues_repo::crypto::VerifyingKey;
use ues_sync::store::Replicas;

use super::blocks::PublicBlocks;
use super::heads::Telling;
use super::known::KnownRows;
use super::provide::Providing;
use super::readers::Readers;
use super::remember::Remembering;
use super::repositories::ServedRepositories;
use super::{NetworkError, Parts, cannot, over_http, settings};
use crate::config::{NetworkBlobs, NetworkKademlia};

/// See the module. Cheap to clone.
#[derive(Clone)]
pub(in crate::node) struct Running {
    pub network: Network,
    pub sync: SyncService,
    pub blobs: BlobService,
    pub pairing: PairingService,
    pub bitswap: Option<Bitswap>,
    pub readers: Readers,
    _telling: Arc<Telling>,
    _remembering: Arc<Remembering>,
    _providing: Option<Arc<Providing>>,
    _repositories: Arc<RepositoryServer>,
}

impl Running {
    pub(super) async fn start(parts: &Parts) -> Result<Self, NetworkError> {
        let (config, replicas) = (&parts.config, &parts.replicas);
        let secret = replicas.device().to_bytes();
        let mut host = settings::host(config, known(replicas, &parts.known)?)?;
        if config.http {
            host.http = Some(over_http::settings(parts.ctx.config.endpoint()));
        }
        let network = match Network::start(host.clone(), secret.clone()).await {
            Ok(network) => network,
            Err(e @ ues_p2p::NetworkError::Listen { .. }) => {
                // Another node on this machine has the ports: any others will do, peers find them out.
                tracing::warn!(error = %e, "the network listens on other ports than it should");
                host.listen = settings::any_ports(&host.listen);
                Network::start(host, secret).await.map_err(cannot)?
            }
            Err(e) => return Err(cannot(e)),
        };
        let readers = Readers::new(parts.ctx.clone(), replicas.clone());
        let bitswap = if config.bitswap {
            let blocks = Arc::new(PublicBlocks::new(readers.clone()));
            let limits = BitswapLimits::default();
            Some(Bitswap::start(&network, blocks, limits).map_err(cannot)?)
        } else {
            None
        };
        let source = ServedRepositories::new(readers.clone());
        let repositories = RepositoryServer::start(&network, Arc::new(source)).map_err(cannot)?;
        let sync = SyncService::start(network.clone(), replicas.clone()).map_err(cannot)?;
        let options = BlobOptions {
            mode: match config.blobs {
                NetworkBlobs::All => BlobMode::All,
                NetworkBlobs::Demand => BlobMode::Demand,
                NetworkBlobs::None => BlobMode::None,
            },
            max_bytes: parts.ctx.config.sizes.blob,
        };
        let blobs = BlobService::start_for(
            network.clone(),
            replicas.clone(),
            options,
            Arc::new(readers.clone()),
        )
        .map_err(cannot)?;
        let name = settings::device_name(&config.device_name);
        let pairing =
            PairingService::start(network.clone(), replicas.clone(), name).map_err(cannot)?;
        let remembering = Remembering::start(
            network.clone(),
            replicas.clone(),
            &sync,
            parts.known.clone(),
        );
        let providing = (config.kademlia != NetworkKademlia::Off).then(|| {
            Arc::new(Providing::start(
                network.clone(),
                replicas.clone(),
                parts.ctx.mirrors.clone(),
            ))
        });
        Ok(Self {
            sync,
            blobs,
            pairing,
            bitswap,
            _telling: Arc::new(Telling::start(network.clone(), readers.clone())),
            readers,
            network,
            _remembering: Arc::new(remembering),
            _providing: providing,
            _repositories: Arc::new(repositories),
        })
    }
}

/// The peers to dial: those that were met, and all devices of the repositories here.
fn known(replicas: &Replicas, rows: &KnownRows) -> Result<Vec<KnownPeer>, NetworkError> {
    let mut peers = rows.read().map_err(cannot)?;
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
    Ok(peers)
}
