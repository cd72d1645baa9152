//! What a worker pins into: a Kubo, or the blocks of the node's own store.

use async_trait::async_trait;
use futures::stream::BoxStream;
use ues_data::Cid;
use ues_pins::PinMode;

/// One thing to pin.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PinJob {
    /// What.
    pub cid: Cid,
    /// How much of it.
    pub mode: PinMode,
    /// Multiaddrs of peers that have it, as text.
    pub origins: Vec<String>,
}

/// What came of a job that succeeded.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub struct Pinned {
    /// Size of the content in bytes with each block once, when the backend knows it cheaply.
    pub bytes: Option<u64>,
}

/// Why a job failed.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum JobError {
    /// Trying again later may help: the content is not found yet, the backend is busy or gone.
    #[error("{0}")]
    Retry(String),
    /// Trying again does not help; the reason is for the owner of the pin.
    #[error("{0}")]
    Terminal(String),
}

/// What a backend tells of itself.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct BackendStatus {
    /// A name of what it holds: changes when the content may have been lost, as with an emptied or another Kubo.
    pub content_id: String,
    /// Free space in bytes.
    pub free: u64,
    /// Used space in bytes.
    pub used: u64,
    /// Number of pins, when it knows cheaply.
    pub pins: Option<u64>,
    /// The peer id under which the content is served to others, if any.
    pub ipfs_id: Option<String>,
    /// Multiaddrs under which it is served.
    pub ipfs_addresses: Vec<String>,
    /// Name and version of the software.
    pub agent: String,
}

/// Hears how a job goes on: the number of blocks that are there so far.
pub type Progress<'a> = &'a (dyn Fn(u64) + Send + Sync);

/// Pins, unpins and tells what is pinned. Every call may be repeated without harm.
#[async_trait]
pub trait Backend: Send + Sync + 'static {
    /// Pins one thing. Returns when all of it is there and protected.
    ///
    /// # Errors
    /// [`JobError`]; a backend that hears nothing new for its stall time gives up with [`JobError::Retry`].
    async fn pin(&self, job: &PinJob, progress: Progress<'_>) -> Result<Pinned, JobError>;

    /// Pins many, probably small things, with as few calls as possible; one answer for each, in order.
    async fn pin_many(&self, jobs: &[PinJob]) -> Vec<Result<Pinned, JobError>>;

    /// Takes the protection away. Not being pinned is success.
    async fn unpin_many(&self, cids: &[Cid]) -> Vec<Result<(), JobError>>;

    /// Which of these are pinned, whether recursively or directly.
    async fn pinned(&self, cids: &[Cid]) -> Result<Vec<Option<PinMode>>, JobError>;

    /// Everything that is pinned.
    fn pins(&self) -> BoxStream<'_, Result<(Cid, PinMode), JobError>>;

    /// What it tells of itself.
    async fn status(&self) -> Result<BackendStatus, JobError>;
}
