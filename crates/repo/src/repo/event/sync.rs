//! A commit told without what it holds.

use ues_data::car::{CarLimits, CarReader};

use super::super::export::commit_car;
use super::{CommitEvent, EventError, LogEvent};

impl CommitEvent {
    /// The `#sync` event of the state that the commit made: revision and signed commit, nothing of its records. Whoever
    /// follows can take it in the place of this one: the next commit goes on from the same revision and tree.
    ///
    /// # Errors
    /// When the blocks are not the archive of a commit.
    pub fn as_sync(&self) -> Result<LogEvent, EventError> {
        let car = CarReader::new(&self.blocks[..], CarLimits::default());
        let damaged = |e: &dyn std::fmt::Display| EventError(format!("its blocks: {e}"));
        for block in car.map_err(|e| damaged(&e))? {
            let (cid, bytes) = block.map_err(|e| damaged(&e))?;
            if cid == self.commit {
                return Ok(LogEvent::Sync {
                    did: self.repo.clone(),
                    rev: self.rev,
                    blocks: commit_car(&cid, &bytes),
                    time: self.time.clone(),
                });
            }
        }
        Err(EventError("its blocks are without the commit".into()))
    }
}
