//! Placements, and everything about a CID.

use scylla::value::CqlTimestamp;
use ues_data::Cid;

use super::retry::What;
use super::session::together;
use super::stamp::MARKER_SECONDS;
use super::{CqlStore, timestamp};
use crate::placement::{PinRecord, Placement, PlacementState};
use crate::request::{PinRequest, Wanted};
use crate::store::rows::{self, Row};
use crate::store::{PlacementChange, StateError};

impl CqlStore {
    pub(super) async fn place(&self, changes: Vec<PlacementChange>) -> Result<(), StateError> {
        // Timestamps are taken in order: of two changes of one placement the later one stays.
        let writes = changes.iter().map(|change| {
            let at = self.stamps.next();
            self.write_placement(change, at)
        });
        together(writes.collect()).await?;
        Ok(())
    }

    async fn write_placement(&self, change: &PlacementChange, at: i64) -> Result<(), StateError> {
        let cid = &change.cid;
        let (hash, peer) = (cid.hash().to_bytes(), change.peer.as_bytes());
        let statements = &self.db.statements;
        match &change.placement {
            Some(placement) => {
                let values = (
                    hash,
                    cid.to_bytes(),
                    peer,
                    placement.to_row(),
                    placement.desired,
                    i32::from(placement.state as u8),
                    is_healthy(placement),
                    last_seen(placement),
                    at,
                );
                let what = What::of("put_placement", cid);
                self.db
                    .execute(what, &statements.put_placement, values)
                    .await?;
            }
            None => {
                let values = (hash, cid.to_bytes(), peer, at, MARKER_SECONDS);
                let what = What::of("remove_placement", cid);
                self.db
                    .execute(what, &statements.mark_placement, values)
                    .await?;
            }
        }
        Ok(())
    }

    pub(super) async fn read_records(&self, cids: &[Cid]) -> Result<Vec<PinRecord>, StateError> {
        let reads = cids.iter().map(|cid| self.record(cid));
        together(reads.collect()).await
    }

    async fn record(&self, cid: &Cid) -> Result<PinRecord, StateError> {
        let mut wanted = None;
        let add = |(owner, row): (String, Option<Vec<u8>>)| {
            if let Some(row) = row.filter(|row| !row.is_empty()) {
                join(&mut wanted, rows::read_request(owner.as_bytes(), &row)?);
            }
            Ok(())
        };
        let mut placements = Vec::new();
        let place = |(peer, row, at): (Vec<u8>, Option<Vec<u8>>, Option<i64>)| {
            self.stamps.seen(at);
            if let Some(row) = row.filter(|row| !row.is_empty()) {
                placements.push(rows::read_placement(&peer, &row)?);
            }
            Ok(())
        };
        let key = (cid.hash().to_bytes(), cid.to_bytes());
        let statements = &self.db.statements;
        let requests = self.db.each(
            What::of("requests", cid),
            &statements.requests_of,
            &key,
            add,
        );
        let placed = self.db.each(
            What::of("placements", cid),
            &statements.placements_of,
            &key,
            place,
        );
        futures::try_join!(requests, placed)?;
        Ok(PinRecord {
            cid: *cid,
            wanted,
            placements,
        })
    }
}

/// Adds a request to a union.
pub(super) fn join(wanted: &mut Option<Wanted>, request: PinRequest) {
    match wanted {
        Some(wanted) => wanted.join(request),
        None => *wanted = Some(Wanted::of(request)),
    }
}

/// Whether it is as it should be, as far as is known.
fn is_healthy(placement: &Placement) -> bool {
    match placement.state {
        PlacementState::Pinned => placement.desired,
        PlacementState::Unpinned => !placement.desired,
        _ => false,
    }
}

fn last_seen(placement: &Placement) -> CqlTimestamp {
    timestamp(placement.changed_ms)
}
