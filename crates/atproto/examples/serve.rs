//! A node with nothing but this crate: `cargo run -p ues-atproto --example serve -- DIR [PORT]`.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

use std::path::PathBuf;

use ues_atproto::{Config, NodeKeys, Server};
use ues_repo::crypto::keystore::{Keystore, Unlock};
use ues_storage::{Store, StoreOptions};

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let mut args = std::env::args().skip(1);
    let dir = PathBuf::from(args.next().unwrap_or_else(|| "node".to_owned()));
    let port: u16 = args.next().map_or(Ok(2583), |p| p.parse())?;
    let mut config = Config {
        public_url: format!("http://localhost:{port}"),
        ..Config::default()
    };
    config.rate_limits.enabled = false;
    config.check_outputs = std::env::var_os("CHECK_OUTPUTS").is_some();
    let store = Store::open(&dir.join("store"), StoreOptions::default())?;
    let unlock = Unlock::KeyFile(dir.join("keystore.key"));
    let mut keystore = Keystore::open(&dir.join("keystore.json"), &unlock)?;
    let keys = NodeKeys::from_keystore(&mut keystore)?;
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .build()?;
    runtime.block_on(async move {
        let server = Server::new(config, store, keys)?;
        let listener = tokio::net::TcpListener::bind(("127.0.0.1", port)).await?;
        println!("listening on http://localhost:{port}");
        let stop = async {
            let _ = tokio::signal::ctrl_c().await;
        };
        server.serve(listener, stop).await?;
        Ok(())
    })
}
