//! What followers are told of an event.

use std::sync::Arc;

use bytes::Bytes;
use ues_repo::repo::event::{EventError, LogEvent, commit_counts};
use ues_storage::Event;

use crate::moderation::{Takedowns, Withheld};

/// What keeps parts of the log from followers.
#[derive(Clone)]
pub struct Told {
    /// Accounts whose past is not told any more.
    pub withheld: Arc<Withheld>,
    /// Records that are taken down.
    pub takedowns: Arc<Takedowns>,
}

impl Told {
    /// An event as it is told to somebody who reads the log; `None`: not at all.
    ///
    /// # Errors
    /// When the log is damaged.
    pub fn later(&self, event: &Event) -> Result<Option<Event>, EventError> {
        match self.withheld.covers(event) {
            true => Ok(None),
            false => self.now(event).map(Some),
        }
    }

    /// An event as it is told to those who are there. In the place of a commit that holds a record which is taken down
    /// stands a `#sync` of the same state and number: a commit without one of its records would be refused by all who
    /// verify, and one that is left out leaves a gap. Who takes it fetches the repository, without that record.
    ///
    /// # Errors
    /// When the log is damaged.
    pub fn now(&self, event: &Event) -> Result<Event, EventError> {
        let instead = match self.takedowns.is_empty() {
            true => None,
            false => self.instead(&event.payload)?,
        };
        Ok(Event {
            seq: event.seq,
            payload: instead.unwrap_or_else(|| event.payload.clone()),
        })
    }

    fn instead(&self, payload: &Bytes) -> Result<Option<Bytes>, EventError> {
        let Some(counts) = commit_counts(payload)? else {
            return Ok(None);
        };
        if !self.takedowns.concern(&counts.repo) {
            return Ok(None);
        }
        let LogEvent::Commit(commit) = LogEvent::decode(payload)? else {
            return Ok(None);
        };
        let hides = |path: &str| {
            let hidden = self.takedowns.hides_record(&commit.repo, path);
            hidden.unwrap_or_else(|cause| {
                tracing::error!(did = %commit.repo, %cause, "takedowns cannot be read");
                true
            })
        };
        let mut held = commit.ops.iter().filter(|op| op.cid.is_some());
        match held.any(|op| hides(&op.path)) {
            true => commit.as_sync().map(|sync| Some(sync.encode())),
            false => Ok(None),
        }
    }
}
