//! How the sessions stand, for people.

use std::collections::BTreeMap;
use std::sync::Arc;

use libp2p::PeerId;
use parking_lot::Mutex;
use serde::Serialize;
use tokio::sync::watch;
use ues_repo::syntax::Did;

/// Where a session is.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Stage {
    /// Frames go to and fro.
    Syncing,
    /// Both have the same.
    Synced,
    /// It ended; it is tried again.
    Ended,
}

/// A repository's sync with one peer.
#[derive(Clone, Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct PeerStatus {
    /// The repository.
    pub repo: String,
    /// The peer.
    pub peer: String,
    /// Its device key.
    pub key: String,
    /// Where the session is.
    pub stage: Stage,
    /// Why it ended.
    pub reason: Option<String>,
    /// When both last had the same, in milliseconds since 1970.
    pub synced_ms: Option<u64>,
    /// Operations that came in.
    pub received: u64,
    /// Bytes that came in.
    pub bytes_in: u64,
    /// Bytes that went out.
    pub bytes_out: u64,
    /// Operations that were refused since the session began, and why the last one was.
    pub refused: u64,
    /// See `refused`.
    pub refused_why: Option<String>,
}

/// All sessions. Cheap to clone.
#[derive(Clone)]
pub(super) struct Board {
    rows: Arc<Mutex<BTreeMap<(Did, PeerId), Row>>>,
    changed: watch::Sender<u64>,
}

struct Row {
    status: PeerStatus,
    /// Sessions that are open: one that ends may overlap with the next.
    open: usize,
}

impl Default for Board {
    fn default() -> Self {
        Self {
            rows: Arc::default(),
            changed: watch::Sender::new(0),
        }
    }
}

impl Board {
    pub fn list(&self) -> Vec<PeerStatus> {
        let rows = self.rows.lock();
        rows.values().map(|row| row.status.clone()).collect()
    }

    pub fn watch(&self) -> watch::Receiver<u64> {
        self.changed.subscribe()
    }

    pub fn update(&self, did: &Did, peer: PeerId, change: impl FnOnce(&mut PeerStatus)) {
        self.change(did, peer, |row| change(&mut row.status));
    }

    /// A session begins; it counts as open until what is returned is dropped.
    pub fn begin(&self, did: &Did, peer: PeerId) -> OpenSession {
        self.change(did, peer, |row| {
            row.open += 1;
            row.status.stage = Stage::Syncing;
            row.status.reason = None;
        });
        OpenSession {
            board: self.clone(),
            did: did.clone(),
            peer,
            reason: None,
        }
    }

    fn change(&self, did: &Did, peer: PeerId, change: impl FnOnce(&mut Row)) {
        let mut rows = self.rows.lock();
        let row = rows.entry((did.clone(), peer)).or_insert_with(|| Row {
            status: PeerStatus {
                repo: did.to_string(),
                peer: peer.to_string(),
                key: crate::identity::key_of(&peer).map_or_else(String::new, |key| key.did_key()),
                stage: Stage::Ended,
                reason: None,
                synced_ms: None,
                received: 0,
                bytes_in: 0,
                bytes_out: 0,
                refused: 0,
                refused_why: None,
            },
            open: 0,
        });
        change(row);
        drop(rows);
        self.changed.send_modify(|n| *n += 1);
    }
}

/// A session that is open.
pub(super) struct OpenSession {
    board: Board,
    did: Did,
    peer: PeerId,
    reason: Option<String>,
}

impl OpenSession {
    /// It is over, and why if something was wrong.
    pub fn end(mut self, reason: Option<String>) {
        self.reason = reason;
    }
}

impl Drop for OpenSession {
    fn drop(&mut self) {
        let reason = self.reason.take();
        self.board.change(&self.did, self.peer, |row| {
            row.open = row.open.saturating_sub(1);
            if row.open == 0 {
                row.status.stage = Stage::Ended;
                row.status.reason = reason;
            }
        });
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a test may panic")]

    use super::*;

    #[test]
    fn a_session_that_ends_late_does_not_hide_the_next_one() {
        let (board, peer) = (Board::default(), PeerId::random());
        let did = Did::parse("did:plc:aaaaaaaaaaaaaaaaaaaaaaaa").unwrap();
        let now = || {
            let row = board.list().remove(0);
            (row.stage, row.reason)
        };
        let first = board.begin(&did, peer);
        let second = board.begin(&did, peer);
        board.update(&did, peer, |row| row.stage = Stage::Synced);
        first.end(Some("closed".to_owned()));
        assert_eq!(now(), (Stage::Synced, None));
        second.end(Some("lost".to_owned()));
        assert_eq!(now(), (Stage::Ended, Some("lost".to_owned())));
        drop(board.begin(&did, peer));
        assert_eq!(now(), (Stage::Ended, None));
    }
}
