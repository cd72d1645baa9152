//! Pinning many things with few calls: one call for each fifty pins twice as fast as one for each.

use futures::StreamExt;
use futures::stream;
use ues_data::Cid;
use ues_pins::PinMode;

use super::KuboBackend;
use super::pin::Care;
use crate::backend::{JobError, PinJob, Pinned};

type Outcome = Result<Pinned, JobError>;

impl KuboBackend {
    pub(super) async fn pin_all(&self, jobs: &[PinJob]) -> Vec<Outcome> {
        let mut groups = Vec::new();
        for mode in [PinMode::Recursive, PinMode::Direct] {
            let numbered = jobs.iter().enumerate();
            let jobs: Vec<_> = numbered.filter(|(_, job)| job.mode == mode).collect();
            groups.extend(
                jobs.chunks(self.group())
                    .map(|group| self.pin_group(mode, group.to_vec())),
            );
        }
        let mut outcomes = vec![Ok(Pinned::default()); jobs.len()];
        let mut work = stream::iter(groups).buffer_unordered(self.concurrency());
        while let Some(group) = work.next().await {
            for (number, outcome) in group {
                if let Some(place) = outcomes.get_mut(number) {
                    *place = outcome;
                }
            }
        }
        drop(work);
        outcomes
    }

    /// Pins things of one mode, and finds out how large they are.
    async fn pin_group(
        &self,
        mode: PinMode,
        group: Vec<(usize, &PinJob)>,
    ) -> Vec<(usize, Outcome)> {
        let (numbers, jobs): (Vec<usize>, Vec<&PinJob>) = group.into_iter().unzip();
        let mut outcomes = self.pin_together(mode, &jobs).await;
        if self.options.sizes {
            let pinned = jobs
                .iter()
                .zip(&outcomes)
                .filter(|(_, outcome)| outcome.is_ok());
            let cids: Vec<Cid> = pinned.map(|(job, _)| job.cid).collect();
            let sizes = self.sizes_of(&cids, mode).await;
            for (job, outcome) in jobs.iter().zip(&mut outcomes) {
                if let Ok(pinned) = outcome {
                    pinned.bytes = sizes.get(&job.cid).copied();
                }
            }
        }
        numbers.into_iter().zip(outcomes).collect()
    }

    /// Pins with one call, or each alone if that fails.
    async fn pin_together(&self, mode: PinMode, jobs: &[&PinJob]) -> Vec<Outcome> {
        let care = Care {
            stall: self.options.stall.min(self.options.group_stall),
            size: false,
        };
        let together = async {
            let cids: Vec<Cid> = jobs.iter().map(|job| job.cid).collect();
            // work that is done again finds all of it pinned
            let done = self.pinned_first(&cids, mode).await?;
            let cids = cids.get(done..).unwrap_or_default();
            if cids.is_empty() {
                return Ok(());
            }
            let origins = jobs.iter().flat_map(|job| job.origins.iter().cloned());
            self.connect(&origins.collect::<Vec<_>>()).await;
            self.add(cids, mode, care.stall, &|_| ()).await.map(drop)
        };
        match together.await {
            Ok(()) => return vec![Ok(Pinned::default()); jobs.len()],
            Err(error) if error.is_gone() => return vec![Err(error.into()); jobs.len()],
            Err(error) => tracing::debug!(%error, "a group is pinned one by one"),
        }
        let singles: Vec<_> = jobs.iter().map(|job| self.pin_alone(job, care)).collect();
        stream::iter(singles)
            .buffered(self.concurrency())
            .collect()
            .await
    }

    /// Pins one of a group, whose origins are connected to already.
    async fn pin_alone(&self, job: &PinJob, care: Care) -> Outcome {
        let job = PinJob {
            origins: Vec::new(),
            ..job.clone()
        };
        self.pin_one(&job, care, &|_| ()).await
    }
}
