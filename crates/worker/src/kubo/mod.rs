//! A Kubo as backend, driven over its HTTP RPC.
//!
//! | module | what it does |
//! |---|---|
//! | `rpc`, `lines`, `failure` | calls, their answers, and what goes wrong with them |
//! | `pin`, `group`, `origins`, `size` | pinning, alone and in groups |
//! | `unpin` | taking pins away |
//! | `intake`, `multipart` | taking content in |
//! | `upstream` | calls of others that are passed on |
//! | `list`, `lookup` | what is pinned |
//! | `status` | what Kubo tells of itself, and whether it still is the one that it was |
//!
//! Everything that is asked is bounded in time and everything that is read in size: a Kubo may be overloaded,
//! half dead, or another program altogether.

mod failure;
mod group;
mod intake;
mod lines;
mod list;
mod lookup;
mod multipart;
mod options;
mod origins;
mod pin;
mod rpc;
mod size;
mod status;
mod unpin;
mod upstream;

use std::sync::Arc;

use async_trait::async_trait;
use futures::stream::BoxStream;
use ues_data::Cid;
use ues_pins::PinMode;

pub use options::{KuboAuth, KuboError, KuboOptions};

use crate::backend::{Backend, BackendStatus, JobError, PinJob, Pinned, Progress};

/// A Kubo that pins for us.
///
/// - What is pinned recursively already is not looked at again: Kubo's pin stands for its content.
/// - What is pinned recursively counts as pinned directly, too; it stays recursive.
/// - Things that are pinned as a group have less time to be found than one that is pinned alone.
/// - [`Backend::pins`] tells one that becomes recursive meanwhile twice.
pub struct KuboBackend {
    options: KuboOptions,
    rpc: Arc<rpc::Rpc>,
    failed: origins::Failed,
}

impl KuboBackend {
    /// Makes ready to talk to a Kubo. It need not be there yet.
    ///
    /// # Errors
    /// [`KuboError::Client`].
    pub fn new(options: KuboOptions) -> Result<Self, KuboError> {
        Ok(Self {
            rpc: Arc::new(rpc::Rpc::new(&options)?),
            options,
            failed: origins::Failed::default(),
        })
    }

    /// CIDs in one call; all of them are in its URL.
    fn group(&self) -> usize {
        self.options.group.clamp(1, 1000)
    }

    fn concurrency(&self) -> usize {
        self.options.concurrency.max(1)
    }
}

#[async_trait]
impl Backend for KuboBackend {
    async fn pin(&self, job: &PinJob, progress: Progress<'_>) -> Result<Pinned, JobError> {
        let care = pin::Care {
            stall: self.options.stall,
            size: self.options.sizes,
        };
        self.pin_one(job, care, progress).await
    }

    async fn pin_many(&self, jobs: &[PinJob]) -> Vec<Result<Pinned, JobError>> {
        self.pin_all(jobs).await
    }

    async fn unpin_many(&self, cids: &[Cid]) -> Vec<Result<(), JobError>> {
        self.unpin_all(cids).await
    }

    async fn pinned(&self, cids: &[Cid]) -> Result<Vec<Option<PinMode>>, JobError> {
        self.which(cids).await
    }

    fn pins(&self) -> BoxStream<'_, Result<(Cid, PinMode), JobError>> {
        self.list()
    }

    async fn status(&self) -> Result<BackendStatus, JobError> {
        self.tell_status().await
    }
}
