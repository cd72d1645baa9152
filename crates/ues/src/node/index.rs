//! The record index of a node: a projection in a file beside the store.

use std::path::Path;
use std::time::Duration;

use tokio::sync::watch;
use ues_atproto::Context;
use ues_repo::index::{RecordProjection, RecordQueries};
use ues_storage::{Event, Projection, ProjectionError, ProjectionHandle, WaitError};

use super::open::NodeError;

/// Folder of the indexes in the data folder; it may be deleted while the node does not run.
const FOLDER: &str = "indexes";
/// File of the record index.
const RECORDS: &str = "records.sqlite";
/// How long a query waits for the index to take in what is durable.
const PATIENCE: Duration = Duration::from_secs(10);

/// The index, kept up to date as long as this (or a clone) lives.
#[derive(Clone)]
pub struct Index {
    queries: RecordQueries,
    handle: ProjectionHandle,
    /// How often it began anew: rises when the first events are in after it was emptied.
    resets: watch::Receiver<u64>,
}

impl Index {
    /// Opens the index of a data folder and lets it follow the log.
    ///
    /// # Errors
    /// When its file cannot be used.
    pub fn open(data: &Path, ctx: &Context) -> Result<Self, NodeError> {
        let folder = data.join(FOLDER);
        std::fs::create_dir_all(&folder).map_err(|source| NodeError::Folder {
            path: folder.clone(),
            source,
        })?;
        let cannot = |e: &dyn std::fmt::Display| {
            NodeError::Server(format!(
                "the index in {} cannot be used: {e}",
                folder.display()
            ))
        };
        let (repos, lexicons) = (ctx.repos.clone(), ctx.lexicons.clone());
        let (projection, queries) = RecordProjection::open(&folder.join(RECORDS), repos, lexicons)
            .map_err(|e| cannot(&e))?;
        let (counter, resets) = watch::channel(0);
        let counted = Counted {
            projection,
            resets: counter,
            emptied: false,
        };
        let handle = ctx.store.project(counted).map_err(|e| cannot(&e))?;
        ctx.log_readers.add(handle.subscribe());
        Ok(Self {
            queries,
            handle,
            resets,
        })
    }

    /// The queries, once the index has taken in all that was durable when this was called.
    ///
    /// # Errors
    /// When that takes too long.
    pub async fn fresh(&self, durable: u64) -> Result<RecordQueries, WaitError> {
        self.handle.wait_for(durable, PATIENCE).await?;
        Ok(self.queries.clone())
    }

    /// Lets the index be built again, in the background.
    pub fn reset(&self) {
        self.handle.reset();
    }

    /// Builds the index again up to an event; `tell` hears how far it is.
    ///
    /// # Errors
    /// When the index stops meanwhile.
    pub async fn rebuild(&self, up_to: u64, mut tell: impl FnMut(u64)) -> Result<u64, String> {
        let stopped = |_| "the index has stopped".to_owned();
        let mut resets = self.resets.clone();
        let before = *resets.borrow();
        let mut cursor = self.handle.subscribe();
        self.handle.reset();
        if up_to == 0 {
            return Ok(0);
        }
        // The old cursor is gone from the channel before the first events are in.
        resets.wait_for(|n| *n > before).await.map_err(stopped)?;
        loop {
            let at = *cursor.borrow_and_update();
            if at >= up_to {
                return Ok(at);
            }
            tell(at);
            cursor.changed().await.map_err(stopped)?;
        }
    }

    /// Stops following the log.
    pub fn stop(&self) {
        self.handle.stop();
    }
}

/// The projection, with a count of how often it began anew.
struct Counted {
    projection: RecordProjection,
    resets: watch::Sender<u64>,
    emptied: bool,
}

impl Projection for Counted {
    fn name(&self) -> &str {
        self.projection.name()
    }

    fn cursor(&mut self) -> Result<u64, ProjectionError> {
        self.projection.cursor()
    }

    fn apply(&mut self, events: &[Event]) -> Result<(), ProjectionError> {
        self.projection.apply(events)?;
        if self.emptied {
            self.emptied = false;
            self.resets.send_modify(|n| *n += 1);
        }
        Ok(())
    }

    fn reset(&mut self) -> Result<(), ProjectionError> {
        self.projection.reset()?;
        self.emptied = true;
        Ok(())
    }
}
