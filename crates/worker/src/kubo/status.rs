//! What a Kubo tells of itself.
//!
//! The name of what it holds is its peer id and a marker: a block of random bytes that is laid into its file tree
//! (MFS) when there is none. A Kubo whose repository was emptied lacks the marker and gets another one. Laying
//! it there fails when one is there already, so workers that race end with the same marker. The marker is kept by
//! the file tree, not by a pin, and so is not among the pins.

use serde::Deserialize;

use super::KuboBackend;
use super::failure::RpcError;
use crate::backend::{BackendStatus, JobError};

/// Where the marker is in Kubo's file tree.
const MARKER: &str = "/.ues/marker";

#[derive(Deserialize)]
struct Id {
    #[serde(rename = "ID")]
    id: String,
    #[serde(rename = "Addresses")]
    addresses: Option<Vec<String>>,
    #[serde(rename = "AgentVersion", default)]
    agent: String,
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct RepoStat {
    repo_size: u64,
    storage_max: u64,
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct FileStat {
    hash: String,
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct BlockPut {
    key: String,
}

impl KuboBackend {
    pub(super) async fn tell_status(&self) -> Result<BackendStatus, JobError> {
        let time = self.options.answer;
        let size_only = [("size-only", "true")];
        let (id, repo, marker) = tokio::try_join!(
            self.rpc.ask::<Id>("id", &[], time),
            self.rpc.ask::<RepoStat>("repo/stat", &size_only, time),
            self.marker(),
        )?;
        Ok(BackendStatus {
            content_id: format!("{}/{marker}", id.id),
            free: repo.storage_max.saturating_sub(repo.repo_size),
            used: repo.repo_size,
            pins: None,
            ipfs_id: Some(id.id),
            ipfs_addresses: id.addresses.unwrap_or_default(),
            agent: id.agent,
        })
    }

    async fn marker(&self) -> Result<String, RpcError> {
        match self.find_marker().await {
            Err(error) if error.says("does not exist") => {}
            found => return found,
        }
        let laid = self.lay_marker().await;
        // Whoever was first has laid it: what is there now counts, also after a failure.
        self.find_marker()
            .await
            .map_err(|error| laid.err().unwrap_or(error))
    }

    async fn find_marker(&self) -> Result<String, RpcError> {
        let query = [("arg", MARKER)];
        let stat = self
            .rpc
            .ask("files/stat", &query, self.options.answer)
            .await;
        stat.map(|stat: FileStat| stat.hash)
    }

    async fn lay_marker(&self) -> Result<(), RpcError> {
        let mut random = [0; 32];
        getrandom::fill(&mut random).map_err(|e| RpcError::Garbage(e.to_string()))?;
        let time = self.options.answer;
        let raw = [("cid-codec", "raw"), ("mhtype", "sha2-256")];
        let put: BlockPut = self.rpc.put("block/put", &raw, &random, time).await?;
        let source = format!("/ipfs/{}", put.key);
        let query = [
            ("arg", source.as_str()),
            ("arg", MARKER),
            ("parents", "true"),
        ];
        self.rpc.tell("files/cp", &query, time).await
    }
}
