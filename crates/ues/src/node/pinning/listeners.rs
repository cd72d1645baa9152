//! The pin service's own listeners.

use std::net::SocketAddr;
use std::sync::Arc;

use axum::Router;
use tokio::net::TcpListener;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use ues_pins::auth::Caller;
use ues_pins::intake::Intake;
use ues_pins::{Owner, cluster};

use super::{Parts, callers};

/// Open listeners.
#[derive(Default)]
pub struct Listeners {
    stop: CancellationToken,
    tasks: TaskTracker,
}

impl Listeners {
    /// Opens those that are configured. A port that another program holds is a warning, not the end of the node.
    pub async fn open(parts: &Parts) -> Self {
        let listeners = Self::default();
        let address = parts.cluster_listen.as_str();
        if let Some(address) = read("pins.cluster_listen", address) {
            // As in IPFS-Cluster, who reaches a listener of this machine alone needs to show nothing.
            let local = address.ip().is_loopback();
            let anonymous = local.then(|| Caller::operator(Owner::default_owner()));
            let authenticate = callers::authenticate(&parts.access, &parts.secret, anonymous);
            let options = cluster::Options {
                local: parts.worker.clone(),
                tokens: None,
            };
            let intake = parts.content.clone();
            let intake = intake.map(|content| Arc::new(content) as Arc<dyn Intake>);
            let routes = cluster::routes(parts.pins.clone(), authenticate, intake, options);
            let what = "the IPFS-Cluster REST API";
            listeners
                .listen(what, "pins.cluster_listen", address, routes)
                .await;
        }
        listeners.tasks.close();
        listeners
    }

    /// Closes them, and waits until requests in flight have ended.
    pub async fn stop(self) {
        self.stop.cancel();
        self.tasks.wait().await;
    }

    async fn listen(&self, what: &str, setting: &str, address: SocketAddr, routes: Router) {
        match TcpListener::bind(address).await {
            Ok(listener) => {
                let stop = self.stop.clone();
                self.tasks.spawn(async move {
                    let serving = axum::serve(listener, routes);
                    let served = serving.with_graceful_shutdown(stop.cancelled_owned()).await;
                    if let Err(error) = served {
                        tracing::error!(%error, "a listener of the pin service ended");
                    }
                });
            }
            Err(error) => tracing::warn!(
                "{what}: {address} cannot be had ({error}); the node runs without it. {setting} names another address, or none"
            ),
        }
    }
}

/// The address in a setting; `None` when it is empty or none.
fn read(setting: &str, address: &str) -> Option<SocketAddr> {
    if address.is_empty() {
        return None;
    }
    let read = address.parse();
    if read.is_err() {
        tracing::error!("{setting}: an IP address and a port expected, found {address:?}");
    }
    read.ok()
}
