//! Hosts on the loopback interface.
#![allow(dead_code, reason = "not every test file uses every helper")]
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    reason = "a test may panic"
)]

use std::future::Future;
use std::time::Duration;

use ues_p2p::{Network, NetworkConfig, NetworkState};
use zeroize::Zeroizing;

/// A test that waits longer than this has failed.
pub const PATIENCE: Duration = Duration::from_secs(60);

pub fn secret() -> Zeroizing<[u8; 32]> {
    let mut secret = Zeroizing::new([0; 32]);
    getrandom::fill(secret.as_mut_slice()).unwrap();
    secret
}

pub fn on_tcp() -> NetworkConfig {
    NetworkConfig {
        listen: vec!["/ip4/127.0.0.1/tcp/0".parse().unwrap()],
        ..NetworkConfig::default()
    }
}

pub async fn start(config: NetworkConfig) -> Network {
    Network::start(config, secret()).await.unwrap()
}

/// Two hosts, the second connected to the first.
pub async fn pair() -> (Network, Network) {
    let (one, two) = (start(on_tcp()).await, start(on_tcp()).await);
    connect(&two, &one).await;
    (one, two)
}

pub async fn connect(from: &Network, to: &Network) {
    let address = to.listen_addresses().await.remove(0);
    assert_eq!(from.connect(address).await.unwrap(), to.peer_id());
}

pub async fn soon<T>(what: &str, future: impl Future<Output = T>) -> T {
    tokio::time::timeout(PATIENCE, future)
        .await
        .unwrap_or_else(|_| panic!("{what} did not happen"))
}

/// Waits until the state of a host is so.
pub async fn state_where(
    network: &Network,
    what: &str,
    is_so: impl FnMut(&NetworkState) -> bool,
) -> NetworkState {
    let mut states = network.watch();
    let found = soon(what, states.wait_for(is_so)).await.unwrap();
    NetworkState::clone(&found)
}
