//! Pinning one thing.

use std::time::Duration;

use serde::Deserialize;
use tokio::time::{Instant, timeout_at};
use ues_data::Cid;
use ues_pins::PinMode;

use super::KuboBackend;
use super::failure::RpcError;
use super::rpc::read;
use crate::backend::{JobError, PinJob, Pinned, Progress};

/// A line of Kubo's answer to `pin/add`.
#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Line {
    pins: Option<Vec<String>>,
    #[serde(default)]
    progress: u64,
    bytes: Option<u64>,
}

/// How one of several things is pinned.
#[derive(Clone, Copy)]
pub(super) struct Care {
    pub(super) stall: Duration,
    pub(super) size: bool,
}

impl KuboBackend {
    pub(super) async fn pin_one(
        &self,
        job: &PinJob,
        care: Care,
        progress: Progress<'_>,
    ) -> Result<Pinned, JobError> {
        let cid = &job.cid;
        // Kubo takes a pin away before it walks over its content to set it again: should the walk be cut, the pin
        // would be lost.
        if job.mode == PinMode::Recursive && self.pinned_first(&[*cid], job.mode).await? == 1 {
            return Ok(self.measured(job, None, care).await);
        }
        self.connect(&job.origins).await;
        match self.add(&[*cid], job.mode, care.stall, progress).await {
            Ok(bytes) => Ok(self.measured(job, bytes, care).await),
            Err(error) if error.is_pinned_recursively() => Ok(self.measured(job, None, care).await),
            Err(error) => Err(error.into()),
        }
    }

    /// Pins all of these or fails. Tells the size of what it walked over, if this Kubo does.
    pub(super) async fn add(
        &self,
        cids: &[Cid],
        mode: PinMode,
        stall: Duration,
        progress: Progress<'_>,
    ) -> Result<Option<u64>, RpcError> {
        let names: Vec<String> = cids.iter().map(Cid::to_string).collect();
        let recursive = (mode == PinMode::Recursive).to_string();
        let mut query = vec![("progress", "true"), ("recursive", recursive.as_str())];
        query.extend(names.iter().map(|name| ("arg", name.as_str())));

        let stalled = |_| RpcError::Stalled(stall);
        let mut deadline = Instant::now() + stall;
        let calling = self.rpc.lines("pin/add", &query);
        let mut lines = timeout_at(deadline, calling).await.map_err(stalled)??;
        let (mut blocks, mut bytes, mut pinned) = (0, None, false);
        while let Some(line) = timeout_at(deadline, lines.next())
            .await
            .map_err(stalled)??
        {
            let line: Line = read(&line)?;
            if line.progress > blocks {
                blocks = line.progress;
                deadline = Instant::now() + stall;
                progress(blocks);
            }
            bytes = line.bytes.or(bytes);
            pinned |= line.pins.is_some_and(|pins| pins.len() == cids.len());
        }
        if pinned {
            Ok(bytes)
        } else {
            Err(RpcError::Cut("it does not say that it pinned".to_owned()))
        }
    }

    /// Adds the size, where it is wanted and can be had.
    async fn measured(&self, job: &PinJob, walked: Option<u64>, care: Care) -> Pinned {
        if !care.size {
            return Pinned::default();
        }
        let bytes = match (job.mode, walked) {
            (PinMode::Recursive, Some(bytes)) => Some(bytes),
            _ => self.size_of(&job.cid, job.mode).await,
        };
        Pinned { bytes }
    }
}
