//! Pins content into the node's own store.
//!
//! Every block of a pinned DAG has a reference in the name of that pin, so that the store's collector keeps it while
//! any pin, upload, repository or other holder needs it, and frees it when none does. Content comes in through an
//! [`Upload`], or is fetched by whoever this backend was given for it ([`Fetcher`]).
//!
//! | file | subject |
//! |---|---|
//! | `layout` | the rows on the disk |
//! | `walk`, `unwind`, `stack` | the ways over a DAG to pin and to release it |
//! | `pin`, `release` | the writes, in an order that a crash cannot spoil |
//! | `upload`, `intake` | taking content in |
//! | `fetch` | fetching what is missing |
//! | `files` | taking in what clients of the pin service send |
//! | `sweep` | what is left over |

mod busy;
mod core;
mod fetch;
mod files;
mod intake;
mod layout;
mod numbers;
mod options;
mod pin;
mod release;
mod stack;
mod sweep;
mod unwind;
mod upload;
mod walk;

use std::ops::Bound;
use std::sync::Arc;

use async_trait::async_trait;
use bytes::Bytes;
use futures::stream::{self, BoxStream, StreamExt, TryStreamExt};
use tokio::sync::watch;
use ues_data::content_id::{IDENTITY, cid_from_bytes};
use ues_data::{BlockSource, BlockSourceError, Cid};
use ues_pins::PinMode;
use ues_storage::{CommitError, StorageError, Store};

use self::core::Core;
use self::layout::{PinRow, damaged};
use self::walk::store_failed;
use crate::backend::{Backend, BackendStatus, JobError, PinJob, Pinned, Progress};

pub use fetch::{FetchSession, Fetcher};
pub use layout::{Entry, is_pinned, pinned_roots};
pub use options::EmbeddedOptions;
pub use sweep::Swept;
pub use upload::{IntakeError, Upload};

/// Pins that are read at a time when all are told.
const PAGE: usize = 1024;

/// The backend that keeps content in a store. Cheap to clone.
#[derive(Clone)]
pub struct EmbeddedBackend(Arc<Core>, Option<Arc<dyn Fetcher>>);

impl EmbeddedBackend {
    /// Opens the content in a store. What an earlier process has left half done is released by the first
    /// [`sweep`](Self::sweep).
    ///
    /// # Errors
    /// When the store cannot be read or written.
    pub fn open(store: Store, options: EmbeddedOptions) -> Result<Self, StorageError> {
        Ok(Self(Arc::new(Core::open(store, options)?), None))
    }

    /// Fetches what is to be pinned and is not here.
    #[must_use]
    pub fn with_fetcher(self, fetcher: Arc<dyn Fetcher>) -> Self {
        Self(self.0, Some(fetcher))
    }

    /// Begins to take content in.
    ///
    /// # Errors
    /// When the store cannot write.
    pub async fn upload(&self) -> Result<Upload, IntakeError> {
        let core = Arc::clone(&self.0);
        Ok(tokio::task::spawn_blocking(|| Upload::begin(core)).await??)
    }

    /// Releases uploads that have expired at this time (milliseconds since the Unix epoch), and what an earlier process
    /// has left half done. To be called at the start and every few minutes.
    ///
    /// # Errors
    /// When the store cannot be read or written.
    pub async fn sweep(&self, now_ms: u64) -> Result<Swept, StorageError> {
        let core = Arc::clone(&self.0);
        let swept = tokio::task::spawn_blocking(move || core.sweep(now_ms)).await;
        swept.unwrap_or(Err(StorageError::Commit(CommitError::Closed)))
    }

    /// Pins on a thread that may block, until it is done or this future is dropped.
    async fn pin_heard(
        &self,
        entries: Vec<Entry>,
        progress: Progress<'_>,
    ) -> Result<Vec<Result<Pinned, JobError>>, JobError> {
        let (tell, mut hear) = watch::channel(0);
        let work = self.blocking(move |core| {
            core.pin_all(&entries, &|blocks| {
                tell.send_if_modified(|heard| {
                    blocks > std::mem::replace(heard, blocks.max(*heard))
                });
                !tell.is_closed()
            })
        });
        let mut work = std::pin::pin!(work);
        loop {
            tokio::select! {
                biased;
                Ok(()) = hear.changed() => progress(*hear.borrow_and_update()),
                done = &mut work => return done,
            }
        }
    }

    /// Runs work that blocks.
    async fn blocking<T: Send + 'static>(
        &self,
        work: impl FnOnce(&Core) -> T + Send + 'static,
    ) -> Result<T, JobError> {
        let core = Arc::clone(&self.0);
        let done = tokio::task::spawn_blocking(move || work(&core)).await;
        done.map_err(|e| JobError::Retry(format!("the work was cut short: {e}")))
    }
}

impl std::fmt::Debug for EmbeddedBackend {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_tuple("EmbeddedBackend").field(&self.0).finish()
    }
}

/// Blocks of the store, whoever holds them.
impl BlockSource for EmbeddedBackend {
    fn block(&self, cid: &Cid) -> Result<Option<Bytes>, BlockSourceError> {
        if cid.hash().code() == IDENTITY {
            return Ok(Some(Bytes::copy_from_slice(cid.hash().digest())));
        }
        BlockSource::block(&self.0.store, cid)
    }
}

#[async_trait]
impl Backend for EmbeddedBackend {
    async fn pin(&self, job: &PinJob, progress: Progress<'_>) -> Result<Pinned, JobError> {
        let done = self.pin_heard(vec![Entry::of(job)], progress).await?.pop();
        match (done, &self.1) {
            (Some(Err(JobError::Retry(_))), Some(fetcher)) => {
                self.fetch_and_pin(&**fetcher, job, progress).await
            }
            (Some(done), _) => done,
            (None, _) => Err(JobError::Retry("the job was not worked on".to_owned())),
        }
    }

    async fn pin_many(&self, jobs: &[PinJob]) -> Vec<Result<Pinned, JobError>> {
        let entries = jobs.iter().map(Entry::of).collect();
        match self.pin_heard(entries, &|_| ()).await {
            Ok(answers) => answers,
            Err(error) => jobs.iter().map(|_| Err(error.clone())).collect(),
        }
    }

    async fn unpin_many(&self, cids: &[Cid]) -> Vec<Result<(), JobError>> {
        let owned = cids.to_vec();
        match self.blocking(move |core| core.unpin_all(&owned)).await {
            Ok(answers) => answers,
            Err(error) => cids.iter().map(|_| Err(error.clone())).collect(),
        }
    }

    async fn pinned(&self, cids: &[Cid]) -> Result<Vec<Option<PinMode>>, JobError> {
        let cids = cids.to_vec();
        let modes = self.blocking(move |core| {
            let mode = |cid: &Cid| Ok(core.row(cid)?.map(|row| row.mode));
            cids.iter().map(mode).collect::<Result<_, StorageError>>()
        });
        modes.await?.map_err(store_failed)
    }

    fn pins(&self) -> BoxStream<'_, Result<(Cid, PinMode), JobError>> {
        let pages = stream::try_unfold(Some(Bound::Unbounded), move |after| async move {
            let Some(after) = after else {
                return Ok::<_, JobError>(None);
            };
            let page = self.blocking(move |core| page(core, after)).await?;
            let (pins, next) = page.map_err(store_failed)?;
            Ok(Some((stream::iter(pins.into_iter().map(Ok)), next)))
        });
        pages.try_flatten().boxed()
    }

    async fn status(&self) -> Result<BackendStatus, JobError> {
        let status = self.blocking(|core| {
            let stats = core.store.stats().map_err(store_failed)?;
            if let Some(reason) = stats.poisoned {
                return Err(store_failed(reason));
            }
            let free = match &core.options.folder {
                Some(folder) => {
                    let disk = rustix::fs::statvfs(folder)
                        .map_err(|e| JobError::Retry(format!("free space cannot be told: {e}")))?;
                    disk.f_bavail.saturating_mul(disk.f_frsize)
                }
                None => u64::MAX,
            };
            Ok(BackendStatus {
                content_id: core.content_id.clone(),
                free,
                used: stats.disk_bytes,
                pins: Some(core.count()),
                ipfs_id: None,
                ipfs_addresses: Vec::new(),
                agent: concat!("ues/", env!("CARGO_PKG_VERSION")).to_owned(),
            })
        });
        status.await?
    }
}

impl Entry {
    fn of(job: &PinJob) -> Self {
        Self {
            cid: job.cid,
            mode: job.mode,
        }
    }
}

/// Where the next page begins.
type After = Bound<Vec<u8>>;

/// Pins, and where the next ones begin, if there are any.
type Page = (Vec<(Cid, PinMode)>, Option<After>);

fn page(core: &Core, after: After) -> Result<Page, StorageError> {
    let mut pins = Vec::with_capacity(PAGE);
    let mut last = None;
    let rows = core.ks.pins.range::<Vec<u8>>((after, Bound::Unbounded));
    for row in rows.take(PAGE) {
        let (key, row) = row?;
        let cid = cid_from_bytes(&key).map_err(|_| damaged("content_pins", &key))?;
        pins.push((cid, PinRow::decode(&row)?.mode));
        last = Some(key);
    }
    let next = last.filter(|_| pins.len() == PAGE);
    Ok((pins, next.map(|key| Bound::Excluded(key.to_vec()))))
}
