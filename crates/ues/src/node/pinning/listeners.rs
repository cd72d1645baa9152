//! The pin service's own listeners.

use std::net::SocketAddr;

use axum::Router;
use tokio::net::TcpListener;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use ues_pins::auth::{Authenticate, Caller};
use ues_pins::{Owner, cluster, ipfs_proxy};

use super::{Parts, callers, spans};

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
        let intake = parts.intake.clone();
        let setting = "pins.cluster_listen";
        if let Some(address) = read(setting, &parts.cluster_listen) {
            let authenticate = authenticate(parts, address);
            let options = cluster::Options {
                local: parts.worker.clone(),
                tokens: None,
            };
            let intake = intake.clone();
            let routes = cluster::routes(parts.pins.clone(), authenticate, intake, options);
            let routes = routes.layer(axum::middleware::from_fn(spans::call));
            let what = "the IPFS-Cluster REST API";
            listeners.listen(what, setting, address, routes).await;
        }
        let setting = "pins.proxy_listen";
        if let Some(address) = read(setting, &parts.proxy_listen) {
            let authenticate = authenticate(parts, address);
            let upstream = parts.upstream.clone();
            let routes = ipfs_proxy::routes(parts.pins.clone(), authenticate, intake, upstream);
            listeners
                .listen("the IPFS proxy", setting, address, routes)
                .await;
        }
        listeners.tasks.close();
        listeners
    }

    /// Closes them, and waits until requests in flight have ended.
    pub async fn stop(self) {
        self.stop.cancel();
        self.tasks.close();
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

/// Who may call on a listener. As in IPFS-Cluster, who reaches one of this machine alone needs to show nothing.
fn authenticate(parts: &Parts, address: SocketAddr) -> Authenticate {
    let local = address.ip().is_loopback();
    let anonymous = local.then(|| Caller::operator(Owner::default_owner()));
    callers::authenticate(&parts.access, &parts.secret, anonymous)
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
