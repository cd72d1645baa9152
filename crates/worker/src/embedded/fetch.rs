//! Fetching what a pin needs and is not here.
//!
//! The DAG is walked from its root; what is here is read, what is not is asked for, so many blocks at a time. What comes
//! is held by an upload: when the rest does not come, the next try goes on from there until the upload expires.

use std::collections::HashSet;

use async_trait::async_trait;
use bytes::Bytes;
use futures::StreamExt;
use futures::stream::FuturesUnordered;
use ues_data::Cid;
use ues_data::content_id::{IDENTITY, RAW};
use ues_pins::PinMode;

use super::EmbeddedBackend;
use super::core::Core;
use super::layout::Entry;
use super::stack::{Stack, Turn};
use super::upload::Upload;
use super::walk::{Key, key, store_failed, too_wide};
use crate::backend::{JobError, PinJob, Pinned, Progress};
use crate::links::links;

/// Blocks that are asked for at a time.
const WINDOW: usize = 32;

/// Brings blocks that are not here.
#[async_trait]
pub trait Fetcher: Send + Sync + 'static {
    /// Begins to fetch a DAG. `origins` are multiaddrs of peers that should have it.
    ///
    /// # Errors
    /// Why nobody can be asked, for the owner of the pin.
    async fn session(
        &self,
        root: &Cid,
        origins: &[String],
    ) -> Result<Box<dyn FetchSession>, String>;
}

/// Fetches blocks of one DAG.
#[async_trait]
pub trait FetchSession: Send + Sync {
    /// The bytes of a block, checked against its hash.
    ///
    /// # Errors
    /// Why it did not come, for the owner of the pin.
    async fn get(&self, cid: &Cid) -> Result<Bytes, String>;
}

/// What is still to be visited.
struct Ahead {
    stack: Stack,
    seen: HashSet<Key>,
    max_seen: usize,
    mode: PinMode,
}

impl EmbeddedBackend {
    /// Fetches what is missing and pins it.
    pub(super) async fn fetch_and_pin(
        &self,
        fetcher: &dyn Fetcher,
        job: &PinJob,
        progress: Progress<'_>,
    ) -> Result<Pinned, JobError> {
        let session = fetcher.session(&job.cid, &job.origins).await;
        let session = session.map_err(JobError::Retry)?;
        let mut upload = self.upload().await.map_err(store_failed)?;
        match self.fetch(&*session, job, &mut upload, progress).await {
            Ok(()) => {
                let pinned = upload.pin(vec![Entry::of(job)]).await;
                let pinned = pinned.map_err(store_failed)?.pop();
                pinned.unwrap_or_else(|| Err(JobError::Retry("the job was not worked on".into())))
            }
            Err(error) => {
                upload.leave().await.map_err(store_failed)?;
                Err(error)
            }
        }
    }

    async fn fetch(
        &self,
        session: &dyn FetchSession,
        job: &PinJob,
        upload: &mut Upload,
        progress: Progress<'_>,
    ) -> Result<(), JobError> {
        let options = &self.0.options;
        let mut ahead = Ahead {
            stack: Stack::new(options.max_walk_bytes),
            seen: HashSet::new(),
            max_seen: options.max_remembered,
            mode: job.mode,
        };
        ahead.stack.push(&job.cid, Turn::Enter).map_err(too_wide)?;
        let mut coming = FuturesUnordered::new();
        let mut blocks = 0;
        loop {
            let room = WINDOW - coming.len();
            let looked = self.blocking(move |core| (ahead.look(core, room), ahead));
            let (missing, rest) = looked.await?;
            ahead = rest;
            for cid in missing? {
                coming.push(async move { (cid, session.get(&cid).await) });
            }
            let Some((cid, came)) = coming.next().await else {
                return Ok(());
            };
            let bytes = came.map_err(JobError::Retry)?;
            upload.put(&cid, &bytes).await.map_err(store_failed)?;
            ahead.follow(&cid, &bytes)?;
            blocks += 1;
            progress(blocks);
        }
    }
}

impl Ahead {
    /// Goes on through what is here, until so many blocks are found that are not.
    fn look(&mut self, core: &Core, room: usize) -> Result<Vec<Cid>, JobError> {
        let mut missing = Vec::new();
        while missing.len() < room
            && let Some((cid, _)) = self.stack.pop()
        {
            if self.seen.contains(&key(&cid)) {
                continue;
            }
            if self.seen.len() < self.max_seen {
                self.seen.insert(key(&cid));
            }
            let mh = cid.hash();
            let ends = cid.codec() == RAW || self.mode == PinMode::Direct;
            let here = if mh.code() == IDENTITY {
                Some(Bytes::copy_from_slice(mh.digest()))
            } else if ends {
                let has = core.store.has_block(mh).map_err(store_failed)?;
                has.then(Bytes::new)
            } else {
                core.store.block(mh).map_err(store_failed)?
            };
            match here {
                Some(bytes) => self.follow(&cid, &bytes)?,
                None => missing.push(cid),
            }
        }
        Ok(missing)
    }

    /// Puts what a block links to ahead.
    fn follow(&mut self, cid: &Cid, bytes: &Bytes) -> Result<(), JobError> {
        if self.mode == PinMode::Direct || cid.codec() == RAW {
            return Ok(());
        }
        let below = links(cid.codec(), bytes)
            .map_err(|e| JobError::Terminal(format!("block {cid} cannot be followed: {e}")))?;
        for link in below.iter().rev() {
            self.stack.push(link, Turn::Enter).map_err(too_wide)?;
        }
        Ok(())
    }
}
