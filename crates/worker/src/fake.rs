//! A backend in memory for tests and simulation. It fails, stalls, forgets and lies on command; time and chance play
//! no part in it.

use std::collections::{BTreeMap, HashMap, HashSet, VecDeque};

use async_trait::async_trait;
use bytes::Bytes;
use futures::stream::{self, BoxStream, StreamExt};
use parking_lot::Mutex;
use tokio::sync::watch;
use ues_data::Cid;
use ues_data::content_id::IDENTITY;
use ues_pins::PinMode;

use crate::backend::{Backend, BackendStatus, JobError, PinJob, Pinned, Progress};
use crate::links::links;

/// What is in it, and what is to go wrong.
#[derive(Debug, Default)]
struct State {
    /// Whether everything that is asked for counts as there, one block of one byte each.
    has_everything: bool,
    blocks: HashMap<Cid, Bytes>,
    pins: BTreeMap<Cid, PinMode>,
    /// How many times it was emptied.
    wiped: u64,
    /// What the next jobs answer.
    failures: VecDeque<JobError>,
    lies: bool,
    jobs: u64,
}

/// The backend. Everything it is told takes effect at once.
#[derive(Debug)]
pub struct FakeBackend {
    name: String,
    state: Mutex<State>,
    stalled: watch::Sender<bool>,
}

impl FakeBackend {
    /// An empty one, whose content is named after this.
    pub fn new(name: &str) -> Self {
        Self {
            name: name.to_owned(),
            state: Mutex::default(),
            stalled: watch::Sender::new(false),
        }
    }

    /// One that has the content of every CID.
    pub fn with_everything(name: &str) -> Self {
        let fake = Self::new(name);
        fake.state.lock().has_everything = true;
        fake
    }

    /// Makes a block available.
    pub fn put(&self, cid: Cid, bytes: Bytes) {
        self.state.lock().blocks.insert(cid, bytes);
    }

    /// Lets the next `count` jobs, pins and unpins alike, fail with this.
    pub fn fail_next(&self, count: usize, error: &JobError) {
        let failures = std::iter::repeat_n(error.clone(), count);
        self.state.lock().failures.extend(failures);
    }

    /// Holds up all jobs, or lets them go on.
    pub fn stall(&self, stalled: bool) {
        self.stalled.send_replace(stalled);
    }

    /// From now on jobs succeed without anything being done, or are done again.
    pub fn lie(&self, lies: bool) {
        self.state.lock().lies = lies;
    }

    /// Forgets a pin, as if somebody had removed it behind our back; tells whether it was there.
    pub fn forget(&self, cid: &Cid) -> bool {
        self.state.lock().pins.remove(cid).is_some()
    }

    /// Loses all content and pins, and is known under another content id from then on.
    pub fn wipe(&self) {
        let mut state = self.state.lock();
        state.pins.clear();
        state.blocks.clear();
        state.wiped += 1;
    }

    /// How many jobs were asked for, those that failed included.
    pub fn jobs(&self) -> u64 {
        self.state.lock().jobs
    }

    /// Resolves when nothing holds up jobs.
    async fn go(&self) {
        // The sender lives as long as this does.
        let _ = self.stalled.subscribe().wait_for(|held| !held).await;
    }
}

impl State {
    fn begin(&mut self) -> Result<(), JobError> {
        self.jobs += 1;
        self.failures.pop_front().map_or(Ok(()), Err)
    }

    /// Blocks and bytes of what is to be pinned.
    fn measure(&self, cid: &Cid, mode: PinMode) -> Result<(u64, u64), JobError> {
        if self.has_everything {
            return Ok((1, 1));
        }
        let (mut blocks, mut size) = (0, 0);
        let mut seen = HashSet::new();
        let mut left = vec![*cid];
        while let Some(cid) = left.pop() {
            if !seen.insert(cid) {
                continue;
            }
            let inlined = Bytes::copy_from_slice(cid.hash().digest());
            let bytes = if cid.hash().code() == IDENTITY {
                &inlined
            } else {
                self.blocks
                    .get(&cid)
                    .ok_or_else(|| JobError::Retry(format!("block {cid} is not here yet")))?
            };
            blocks += 1;
            size += bytes.len() as u64;
            if mode == PinMode::Recursive {
                let below = links(cid.codec(), bytes);
                left.extend(below.map_err(|e| JobError::Terminal(e.to_string()))?);
            }
        }
        Ok((blocks, size))
    }

    fn pin(&mut self, job: &PinJob) -> Result<(u64, Pinned), JobError> {
        self.begin()?;
        let (blocks, bytes) = self.measure(&job.cid, job.mode)?;
        if !self.lies {
            let mode = self.pins.entry(job.cid).or_insert(job.mode);
            if job.mode == PinMode::Recursive {
                *mode = job.mode;
            }
        }
        Ok((blocks, Pinned { bytes: Some(bytes) }))
    }

    fn unpin(&mut self, cid: &Cid) -> Result<(), JobError> {
        self.begin()?;
        if !self.lies {
            self.pins.remove(cid);
        }
        Ok(())
    }
}

#[async_trait]
impl Backend for FakeBackend {
    async fn pin(&self, job: &PinJob, progress: Progress<'_>) -> Result<Pinned, JobError> {
        self.go().await;
        let (blocks, pinned) = self.state.lock().pin(job)?;
        progress(blocks);
        Ok(pinned)
    }

    async fn pin_many(&self, jobs: &[PinJob]) -> Vec<Result<Pinned, JobError>> {
        self.go().await;
        let mut state = self.state.lock();
        let pin = |job| state.pin(job).map(|(_, pinned)| pinned);
        jobs.iter().map(pin).collect()
    }

    async fn unpin_many(&self, cids: &[Cid]) -> Vec<Result<(), JobError>> {
        self.go().await;
        let mut state = self.state.lock();
        cids.iter().map(|cid| state.unpin(cid)).collect()
    }

    async fn pinned(&self, cids: &[Cid]) -> Result<Vec<Option<PinMode>>, JobError> {
        let state = self.state.lock();
        Ok(cids
            .iter()
            .map(|cid| state.pins.get(cid).copied())
            .collect())
    }

    fn pins(&self) -> BoxStream<'_, Result<(Cid, PinMode), JobError>> {
        let pins = self.state.lock().pins.clone();
        stream::iter(pins.into_iter().map(Ok)).boxed()
    }

    async fn status(&self) -> Result<BackendStatus, JobError> {
        let state = self.state.lock();
        Ok(BackendStatus {
            content_id: format!("{}-{}", self.name, state.wiped),
            free: 1 << 40,
            used: state.blocks.values().map(|bytes| bytes.len() as u64).sum(),
            pins: Some(state.pins.len() as u64),
            ipfs_id: None,
            ipfs_addresses: Vec::new(),
            agent: "fake/1".to_owned(),
        })
    }
}
