//! The hosting status of a repository.

use std::sync::Arc;

use ues_data::mst::Preorder;
use ues_storage::Batch;

use crate::crypto::SigningKey;
use crate::syntax::{Did, Handle};

use super::draft_commit::{Announce, Changes};
use super::event::LogEvent;
use super::export::commit_car;
use super::layout::{Status, head_key};
use super::write::WriteError;
use super::{RepoError, Repositories};

/// How much a repository holds.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct RepoCounts {
    /// Commit, tree nodes and records.
    pub blocks: u64,
    /// Records.
    pub records: u64,
    /// Blobs that records refer to.
    pub expected_blobs: u64,
    /// Blobs that are here.
    pub blobs: u64,
}

impl Repositories {
    /// Changes the hosting status and announces it with an `#account` event.
    ///
    /// # Errors
    /// Nothing is changed then.
    pub async fn set_status(
        &self,
        did: &Did,
        status: Status,
        extra: Batch,
    ) -> Result<(), WriteError> {
        self.exclusive(
            did,
            |state, batch| {
                state.head.status = status;
                let around = self.around();
                batch.put(&around.ks.heads, head_key(did), state.head.encode());
                let event = LogEvent::Account {
                    did: did.clone(),
                    status,
                    time: around.now(),
                };
                batch.append_event(event.encode());
                Ok(())
            },
            extra,
        )
        .await
    }

    /// Makes a repository active and announces it whole: `#account`, `#identity`, `#sync`.
    ///
    /// # Errors
    /// Nothing is changed then.
    pub async fn activate(
        &self,
        did: &Did,
        handle: &Handle,
        extra: Batch,
    ) -> Result<(), WriteError> {
        self.exclusive(
            did,
            |state, batch| {
                let around = self.around();
                let commit = self
                    .store()
                    .block(state.head.commit.hash())
                    .map_err(|e| WriteError::Storage(e.to_string()))?
                    .ok_or_else(|| WriteError::Damaged {
                        did: did.clone(),
                        reason: "the commit block is missing".to_owned(),
                    })?;
                state.head.status = Status::Active;
                batch.put(&around.ks.heads, head_key(did), state.head.encode());
                let time = around.now();
                let events = [
                    LogEvent::Account {
                        did: did.clone(),
                        status: Status::Active,
                        time: time.clone(),
                    },
                    LogEvent::Identity {
                        did: did.clone(),
                        handle: Some(handle.clone()),
                        time: time.clone(),
                    },
                    LogEvent::Sync {
                        did: did.clone(),
                        rev: state.head.rev,
                        blocks: commit_car(&state.head.commit, &commit),
                        time,
                    },
                ];
                for event in events {
                    batch.append_event(event.encode());
                }
                Ok(())
            },
            extra,
        )
        .await
    }

    /// Gives a repository another signing key: its newest state is signed anew and announced with an
    /// `#identity` and a `#sync` event. `extra` has to bring the key to where keys are kept.
    ///
    /// # Errors
    /// Nothing is changed then.
    pub async fn rekey(
        &self,
        did: &Did,
        handle: &Handle,
        key: SigningKey,
        extra: Batch,
    ) -> Result<(), WriteError> {
        let around = self.around().clone();
        if self.is_shared(did) {
            return Err(WriteError::BadArchive(
                "several devices hold this repository: its key cannot be changed".into(),
            ));
        }
        self.exclusive(
            did,
            |state, batch| {
                state.key = Arc::new(key);
                let event = LogEvent::Identity {
                    did: did.clone(),
                    handle: Some(handle.clone()),
                    time: around.now(),
                };
                batch.append_event(event.encode());
                let nothing = Changes::new();
                state
                    .make_commit(&around, did, &nothing, Announce::Sync, batch)
                    .map(drop)
            },
            extra,
        )
        .await
    }

    /// Counts what a repository holds; walks all of it.
    ///
    /// # Errors
    /// [`RepoError`].
    pub fn counts(&self, did: &Did) -> Result<RepoCounts, RepoError> {
        let view = self.view(did)?;
        let mut counts = RepoCounts {
            blocks: 1,
            records: self.count_records(did)?,
            ..RepoCounts::default()
        };
        for item in Preorder::new(view.clone(), view.head.data) {
            item.map_err(|e| super::read::damaged(did, &e.to_string()))?;
            counts.blocks += 1;
        }
        let mut after = None;
        loop {
            let page = self.list_blobs(did, None, after.as_ref(), super::MAX_PAGE)?;
            counts.expected_blobs += page.len() as u64;
            match page.last() {
                Some(last) => after = Some(*last),
                None => break,
            }
        }
        let owner = view.head.owner.to_be_bytes();
        for row in view.snapshot.prefix(&self.around().ks.blobs, owner) {
            row?;
            counts.blobs += 1;
        }
        Ok(counts)
    }
}
