//! The part of a session that hands snapshots over: to a device that has no log, and to one that lacks what is no longer
//! in the log here.

use bytes::Bytes;

use super::frame::{Body, PART_BYTES, SnapshotPart};
use super::session::{Action, Copy, Failure, Session, Stage, Taken, WINDOW};
use super::snapshot_archive::{MAX_ARCHIVE_BYTES, floor_archive};

/// How often one session gives the other the snapshot where the log here begins.
const MAX_ARCHIVES: usize = 3;

impl Session {
    /// Hands the snapshot over that [`Action::MakeSnapshot`] asked for.
    pub fn send_snapshot(&mut self, archive: &Bytes) {
        let total = archive.len() as u64;
        let mut at = 0;
        while at < archive.len() {
            let end = (at + PART_BYTES).min(archive.len());
            let bytes = archive.slice(at..end);
            self.send(Body::SnapshotPart(SnapshotPart { bytes, total }));
            at = end;
        }
    }

    pub(super) fn collect(&mut self, part: SnapshotPart) -> Result<(), Failure> {
        let has_log = self.stage == Stage::Open;
        if !has_log {
            self.stage = Stage::Receiving;
        }
        let len = (self.snapshot.len() + part.bytes.len()) as u64;
        if part.total > MAX_ARCHIVE_BYTES || len > part.total || part.bytes.is_empty() {
            return Err(Failure::Protocol(
                "a snapshot larger than it may be or said",
            ));
        }
        self.snapshot.extend_from_slice(&part.bytes);
        if len == part.total {
            let archive = std::mem::take(&mut self.snapshot).freeze();
            if has_log {
                if self.admitting >= WINDOW * 2 {
                    return Err(Failure::Protocol("more than the window allows"));
                }
                self.synced = false;
                self.admitting += 1;
                self.actions.push_back(Action::Rebase(archive));
            } else {
                self.stage = Stage::Restoring;
                self.actions.push_back(Action::Restore(archive));
            }
        }
        Ok(())
    }

    /// What [`Action::Rebase`] asked for is durable. `copy` is the copy after it.
    pub fn rebased(&mut self, copy: &dyn Copy) {
        self.taken(copy, &Taken::default());
        // The other needs to hear what is lacking now.
        self.said = None;
    }

    /// The log was begun with the archive of [`Action::Restore`].
    pub fn restored(&mut self) {
        // The other gets this copy's heads, and answers with its own and whatever came meanwhile.
        self.stage = Stage::Open;
        self.heard = false;
        self.said = None;
    }

    /// Gives the other the snapshot where the log here begins, because it lacks what is before.
    pub(super) fn catch_up(&mut self, copy: &dyn Copy) -> Result<(), Failure> {
        self.archives += 1;
        let archive = match self.archives <= MAX_ARCHIVES {
            true => floor_archive(copy)?,
            false => None,
        };
        let archive = archive.ok_or(Failure::Gone)?;
        self.catching_up = true;
        self.synced = false;
        self.unanswered += 1;
        self.send_snapshot(&archive);
        Ok(())
    }
}
