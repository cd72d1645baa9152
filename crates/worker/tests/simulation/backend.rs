//! A backend that fails, stalls, lies, and loses what it holds.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use futures::StreamExt;
use futures::stream::BoxStream;
use parking_lot::Mutex;
use ues_data::Cid;
use ues_pins::PinMode;
use ues_worker::backend::{Backend, BackendStatus, JobError, PinJob, Pinned, Progress};

use crate::chance::Chance;

/// What outlives the worker's process.
#[derive(Default)]
pub struct Held {
    pub pins: BTreeMap<Cid, PinMode>,
    pub lives: u64,
    /// Calls that fail, and calls that lie, of a thousand.
    pub fail: u64,
    pub lie: u64,
}

#[derive(Clone)]
pub struct SimBackend {
    pub held: Arc<Mutex<Held>>,
    pub chance: Chance,
}

/// Content that nobody can pin: a terminal failure.
pub fn is_broken(cid: &Cid) -> bool {
    cid.hash().digest().first().is_some_and(|byte| *byte < 10)
}

impl SimBackend {
    async fn latency(&self) {
        let ms = match self.chance.below(20) {
            0 => 4000,
            1..=4 => 300,
            _ => 5,
        };
        tokio::time::sleep(Duration::from_millis(self.chance.below(ms) + 1)).await;
    }

    fn fails(&self) -> Result<(), JobError> {
        let fail = self.held.lock().fail;
        if self.chance.permille(fail) {
            return Err(JobError::Retry("it fails today".to_owned()));
        }
        Ok(())
    }
}

#[async_trait]
impl Backend for SimBackend {
    async fn pin(&self, job: &PinJob, _: Progress<'_>) -> Result<Pinned, JobError> {
        self.latency().await;
        self.fails()?;
        if is_broken(&job.cid) {
            return Err(JobError::Terminal("it cannot be pinned".to_owned()));
        }
        let mut held = self.held.lock();
        if !self.chance.permille(held.lie) {
            held.pins.insert(job.cid, job.mode);
        }
        Ok(Pinned { bytes: Some(7) })
    }

    async fn pin_many(&self, jobs: &[PinJob]) -> Vec<Result<Pinned, JobError>> {
        let mut outcomes = Vec::new();
        for job in jobs {
            outcomes.push(self.pin(job, &|_| ()).await);
        }
        outcomes
    }

    async fn unpin_many(&self, cids: &[Cid]) -> Vec<Result<(), JobError>> {
        let mut outcomes = Vec::new();
        for cid in cids {
            self.latency().await;
            outcomes.push(self.fails().map(|()| {
                let mut held = self.held.lock();
                if !self.chance.permille(held.lie) {
                    held.pins.remove(cid);
                }
            }));
        }
        outcomes
    }

    async fn pinned(&self, cids: &[Cid]) -> Result<Vec<Option<PinMode>>, JobError> {
        let held = self.held.lock();
        Ok(cids.iter().map(|cid| held.pins.get(cid).copied()).collect())
    }

    fn pins(&self) -> BoxStream<'_, Result<(Cid, PinMode), JobError>> {
        let pins: Vec<_> = self
            .held
            .lock()
            .pins
            .iter()
            .map(|(c, m)| Ok((*c, *m)))
            .collect();
        futures::stream::iter(pins).boxed()
    }

    async fn status(&self) -> Result<BackendStatus, JobError> {
        self.fails()?;
        let held = self.held.lock();
        Ok(BackendStatus {
            content_id: format!("life {}", held.lives),
            free: 1 << 40,
            used: 0,
            pins: Some(held.pins.len() as u64),
            ipfs_id: None,
            ipfs_addresses: Vec::new(),
            agent: "simulated".to_owned(),
        })
    }
}
