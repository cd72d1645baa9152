//! The peer-to-peer network within the node: it starts with the node if it should, else when the first device is invited
//! or joined.

mod access;
mod app;
mod blocks;
mod compact;
mod fetcher;
mod file;
pub(in crate::node) mod heads;
mod history;
mod join;
mod known;
mod over_http;
mod page;
mod provide;
mod readers;
mod remember;
mod repositories;
mod running;
mod settings;

use std::sync::Arc;

use ues_atproto::Context;
use ues_repo::crypto::SigningKey;
use ues_sync::store::{Replicas, ReplicasError};
use ues_worker::embedded::Fetcher;

use crate::config::{Config, NetworkStart};

pub use app::NetworkApp;
use fetcher::PinFetcher;
use known::KnownRows;
pub(in crate::node) use running::Running;

/// Why the network cannot start.
#[derive(Debug, thiserror::Error)]
#[error("the network cannot start: {0}")]
pub struct NetworkError(String);

fn cannot(error: impl std::fmt::Display) -> NetworkError {
    NetworkError(error.to_string())
}

/// The network of a node. Cheap to clone.
#[derive(Clone)]
pub struct PeerNetwork(Arc<Parts>);

struct Parts {
    ctx: Context,
    replicas: Replicas,
    known: Arc<KnownRows>,
    config: crate::config::Network,
    running: tokio::sync::Mutex<Option<Running>>,
    compacting: parking_lot::Mutex<Option<tokio::task::JoinHandle<()>>>,
}

impl PeerNetwork {
    /// Opens the logs of the node's repositories. `device` is this device's key.
    ///
    /// # Errors
    /// When a log is damaged.
    pub fn open(ctx: &Context, config: &Config, device: SigningKey) -> Result<Self, ReplicasError> {
        let replicas = Replicas::open(ctx.repos.clone(), ctx.keys.clone(), device)?;
        replicas.merge_by(ctx.lexicons.clone());
        let this = Self(Arc::new(Parts {
            ctx: ctx.clone(),
            known: Arc::new(KnownRows::open(&ctx.store)?),
            config: config.network.clone(),
            replicas,
            running: tokio::sync::Mutex::new(None),
            compacting: parking_lot::Mutex::new(None),
        }));
        this.bring_blobs();
        Ok(this)
    }

    /// Has blobs that somebody asks for brought from the other devices.
    fn bring_blobs(&self) {
        // The context must not hold what holds the context.
        let parts = Arc::downgrade(&self.0);
        self.0.ctx.remote_blobs.set(Box::new(move |did, cid| {
            let parts = parts.upgrade();
            Box::pin(async move {
                let Some(parts) = parts else {
                    return false;
                };
                let running = parts.running.lock().await.clone();
                match running {
                    Some(running) => running.blobs.bring(&did, &cid).await.unwrap_or_default(),
                    None => false,
                }
            })
        }));
    }

    /// Its routes.
    pub fn app(&self) -> NetworkApp {
        NetworkApp::new(self.clone())
    }

    /// What fetches the content of pins.
    pub fn fetcher(&self) -> Arc<dyn Fetcher> {
        Arc::new(PinFetcher(self.clone()))
    }

    /// Starts it if it should always run, a repository is shared with other devices, or one of others is mirrored. A failure is told and leaves the
    /// node without.
    pub async fn serve(&self) {
        let compacting = tokio::spawn(self.clone().keep_compact());
        if let Some(before) = self.0.compacting.lock().replace(compacting) {
            before.abort();
        }
        let always = self.0.config.start == NetworkStart::Always;
        let mirrors = self.0.ctx.mirrors.list().unwrap_or_default();
        let needed = always || !self.0.replicas.list().is_empty() || !mirrors.is_empty();
        if !self.0.config.enabled || !needed {
            return;
        }
        if let Err(e) = self.running().await {
            tracing::warn!(error = %e, "this node is not connected to its peers");
        }
    }

    /// The running network, started at first use.
    pub(in crate::node) async fn running(&self) -> Result<Running, NetworkError> {
        if !self.0.config.enabled {
            return Err(NetworkError(
                "it is switched off: network.enabled = true in the configuration".to_owned(),
            ));
        }
        let mut running = self.0.running.lock().await;
        if let Some(running) = &*running {
            return Ok(running.clone());
        }
        let started = Running::start(&self.0).await?;
        *running = Some(started.clone());
        Ok(started)
    }

    /// The network if it runs.
    pub(in crate::node) async fn if_running(&self) -> Option<Running> {
        self.0.running.lock().await.clone()
    }

    /// Ends it, and keeps what it learned about peers.
    pub async fn stop(&self) {
        if let Some(compacting) = self.0.compacting.lock().take() {
            compacting.abort();
        }
        let running = self.0.running.lock().await.take();
        if let Some(running) = running {
            self.0.known.keep(running.network.known_peers().await).await;
            running.network.shutdown().await;
        }
    }
}
