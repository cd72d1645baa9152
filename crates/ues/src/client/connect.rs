//! Finding the node of a data folder.

use std::path::Path;
use std::time::{Duration, Instant};

use ues_storage::OpenError;

use super::{Client, Transport};
use crate::config::Config;
use crate::failure::{Failure, Outcome};
use crate::node::{Node, NodeError, run_file::RunFile, secret};

/// How long a command waits for another one that has the folder open.
const PATIENCE: Duration = Duration::from_secs(10);
/// How often it looks again.
const LOOK_AGAIN: Duration = Duration::from_millis(50);

/// The node of the configured data folder: the one that runs, else one opened here.
///
/// # Errors
/// [`crate::failure::Exit::NotFound`] when no node was ever there, [`crate::failure::Exit::Unavailable`] when
/// another process holds the folder and does not answer.
pub async fn connect(config: &Config) -> Outcome<Client> {
    let dir = &config.data;
    if !Node::exists(dir) {
        return Err(
            Failure::not_found(format!("there is no node in {}", dir.display()))
                .hint("ues up makes one and starts it; --data names another folder"),
        );
    }
    let started = Instant::now();
    loop {
        if let Some(client) = connect_to(dir).await {
            return Ok(client);
        }
        match Node::open(config).await {
            Ok(node) => {
                let secret = node.secret().to_owned();
                return Ok(Client {
                    transport: Transport::local(node),
                    secret,
                });
            }
            Err(NodeError::Open(OpenError::InUse(_))) if started.elapsed() < PATIENCE => {
                tokio::time::sleep(LOOK_AGAIN).await;
            }
            Err(error) => return Err(error.into()),
        }
    }
}

/// The node that runs on a folder, if one does.
pub async fn connect_to(dir: &Path) -> Option<Client> {
    let run = RunFile::read(dir)?;
    let secret = secret::read(dir).ok()?;
    let client = Client {
        transport: Transport::remote(run.url),
        secret,
    };
    client.admin_get("ping", &[]).await.ok().map(|_| client)
}
