//! The peer-to-peer network within the node: it starts when the first device is invited or joined, and from then on
//! with the node.

mod app;
mod compact;
mod file;
mod history;
mod join;
mod known;
mod running;

use std::sync::Arc;

use ues_atproto::Context;
use ues_repo::crypto::SigningKey;
use ues_sync::store::{Replicas, ReplicasError};

use crate::config::Config;

pub use app::NetworkApp;
use known::KnownRows;
use running::Running;

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
    known: KnownRows,
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
        Ok(Self(Arc::new(Parts {
            ctx: ctx.clone(),
            known: KnownRows::open(&ctx.store)?,
            config: config.network.clone(),
            replicas,
            running: tokio::sync::Mutex::new(None),
            compacting: parking_lot::Mutex::new(None),
        })))
    }

    /// Its routes.
    pub fn app(&self) -> NetworkApp {
        NetworkApp::new(self.clone())
    }

    /// Starts it if a repository is shared with other devices. A failure is told and leaves the node without.
    pub async fn serve(&self) {
        let compacting = tokio::spawn(self.clone().keep_compact());
        if let Some(before) = self.0.compacting.lock().replace(compacting) {
            before.abort();
        }
        if !self.0.config.enabled || self.0.replicas.list().is_empty() {
            return;
        }
        if let Err(e) = self.running().await {
            tracing::warn!(error = %e, "this node is not connected to its other devices");
        }
    }

    /// The running network, started at first use.
    async fn running(&self) -> Result<Running, NetworkError> {
        if !self.0.config.enabled {
            return Err(NetworkError(
                "it is switched off: network.enabled = true in the configuration".to_owned(),
            ));
        }
        let mut running = self.0.running.lock().await;
        if let Some(running) = &*running {
            return Ok(running.clone());
        }
        let started = Running::start(&self.0.config, &self.0.replicas, &self.0.known).await?;
        *running = Some(started.clone());
        Ok(started)
    }

    /// The network if it runs.
    async fn if_running(&self) -> Option<Running> {
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
