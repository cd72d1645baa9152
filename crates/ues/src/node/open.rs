//! Opening a node on its folder.

use std::path::{Path, PathBuf};

use std::sync::Arc;

use axum::Router;
use tokio::net::TcpListener;
use ues_atproto::admin::OPERATOR;
use ues_atproto::{Server, TlsDoor};
use ues_repo::crypto::keystore::KeystoreError;
use ues_storage::{OpenError, Store};

use super::index::Index;
use super::mirror::Mirroring;
use super::network::PeerNetwork;
use super::operator::{self, Operator};
use super::pinning::{Pinning, PinningError};
use super::{keys, secret, settings};
use crate::config::Config;
use crate::failure::Failure;

/// Folder of the store within the data folder.
const STORE: &str = "store";

/// Why a node cannot be opened.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum NodeError {
    /// The store cannot be opened.
    #[error(transparent)]
    Open(#[from] OpenError),
    /// The data folder cannot be used.
    #[error("cannot use the folder {}: {source}", path.display())]
    Folder {
        /// The folder.
        path: PathBuf,
        /// What the system said.
        source: std::io::Error,
    },
    /// A file that the configuration names cannot be read.
    #[error("cannot read {}: {source}", path.display())]
    File {
        /// The file.
        path: PathBuf,
        /// What the system said.
        source: std::io::Error,
    },
    /// The node's keys cannot be had.
    #[error("the node's keys cannot be opened: {0}")]
    Keystore(KeystoreError),
    /// The pin service cannot start.
    #[error(transparent)]
    Pinning(#[from] PinningError),
    /// The server cannot work on what is stored.
    #[error("the server cannot start: {0}")]
    Server(String),
}

impl From<NodeError> for Failure {
    fn from(error: NodeError) -> Self {
        match &error {
            NodeError::Open(OpenError::InUse(dir)) => {
                let data = dir.parent().unwrap_or(dir).display();
                Self::unavailable(format!("another process uses the folder {data}"))
                    .hint("ues status tells whether it is a node; --data names another folder")
            }
            NodeError::Open(OpenError::NewerFormat { .. }) => {
                Self::failed(error.to_string()).hint("nothing was changed")
            }
            NodeError::Keystore(_) => Self::failed(error.to_string()).hint(
                "ues config show keys.key_file and keys.passphrase tell what is used to unlock them",
            ),
            _ => Self::failed(error.to_string()),
        }
    }
}

/// A node, open on its folder, with or without a listener.
pub struct Node {
    server: Server,
    index: Index,
    pinning: Pinning,
    network: PeerNetwork,
    mirroring: Mirroring,
    secret: String,
    data: PathBuf,
}

impl Node {
    /// Whether there is a node in a folder.
    pub fn exists(dir: &Path) -> bool {
        dir.join(STORE).is_dir()
    }

    /// Opens the node of the configured folder, making it at first use.
    ///
    /// # Errors
    /// [`NodeError`].
    pub async fn open(config: &Config) -> Result<Self, NodeError> {
        let data = config.data.clone();
        let store = Store::open(&data.join(STORE), settings::store(config))?;
        let pin_store = store.clone();
        let folder = |source| NodeError::Folder {
            path: data.clone(),
            source,
        };
        let secret = secret::read_or_make(&data).map_err(folder)?;
        let mut keys = keys::open(&data, config)?;
        keys.server.admins.add("admin", &config.admin_password);
        keys.server.admins.add(OPERATOR, &secret);
        let cannot = |e: &dyn std::fmt::Display| NodeError::Server(e.to_string());
        let mut options = settings::server(config);
        options.blob_bucket = settings::bucket(config)?;
        let server = Server::new(options, store, keys.server).map_err(|e| cannot(&e))?;
        operator::load_lexicons(server.context()).map_err(|e| cannot(&e))?;
        let index = Index::open(&data, server.context())?;
        let network =
            PeerNetwork::open(server.context(), config, keys.device).map_err(|e| cannot(&e))?;
        let mirroring = Mirroring::open(server.context(), &network);
        let app = Operator::new(&secret, data.clone(), index.clone());
        let server = server.app(Arc::new(app)).map_err(|e| cannot(&e))?;
        let pinning =
            Pinning::open(pin_store, config, keys.worker, &secret, network.fetcher()).await?;
        let server = server
            .app(Arc::new(pinning.app()))
            .map_err(|e| cannot(&e))?;
        let server = server
            .app(Arc::new(network.app().with_secret(&secret)))
            .map_err(|e| cannot(&e))?;
        let server = server
            .app(Arc::new(mirroring.app(&secret)))
            .map_err(|e| cannot(&e))?;
        Ok(Self {
            server,
            index,
            pinning,
            network,
            mirroring,
            secret,
            data,
        })
    }

    /// The operator's secret.
    pub fn secret(&self) -> &str {
        &self.secret
    }

    /// The data folder.
    pub fn data(&self) -> &Path {
        &self.data
    }

    /// All routes.
    pub fn router(&self) -> Router {
        self.server.router()
    }

    /// Where clients reach it.
    pub fn public_url(&self) -> &str {
        self.server.context().config.endpoint()
    }

    /// Host, and port if it is not the scheme's, where clients reach it.
    pub fn authority(&self) -> &str {
        self.server.context().config.authority()
    }

    /// Serves until `shutdown` completes, then closes everything.
    ///
    /// # Errors
    /// What the system says.
    pub async fn serve(
        self,
        listener: TcpListener,
        tls: Option<TlsDoor>,
        shutdown: impl Future<Output = ()>,
    ) -> std::io::Result<()> {
        let store = self.server.context().store.clone();
        let side = self.pinning.serve().await;
        self.network.serve().await;
        self.mirroring.serve();
        let pinning = &self.pinning;
        let shutdown = async move {
            shutdown.await;
            pinning.end_watching();
        };
        let served = self.server.serve_with_tls(listener, tls, shutdown).await;
        self.mirroring.stop();
        self.network.stop().await;
        side.stop().await;
        self.pinning.stop().await;
        close(store, self.index).await;
        served
    }

    /// Ends what runs in the background and closes the store.
    pub async fn close(self) {
        let store = self.server.context().store.clone();
        self.server.stop();
        self.mirroring.stop();
        self.network.stop().await;
        self.pinning.stop().await;
        close(store, self.index).await;
    }
}

/// Writes what waits; joins threads, so not on a thread that others wait for.
async fn close(store: Store, index: Index) {
    let closing = move || {
        index.stop();
        store.close();
    };
    if tokio::task::spawn_blocking(closing).await.is_err() {
        tracing::error!("closing the store failed");
    }
}
