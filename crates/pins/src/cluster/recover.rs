//! Trying again what failed: `POST /pins/{cid}/recover` and `POST /pins/recover`.

use axum::extract::{Path, State};
use axum::response::Response;
use futures::StreamExt;
use ues_data::Cid;

use super::lines::{self, Trailers};
use super::lists::read_cid;
use super::query::Query;
use super::status_line::status;
use super::{Desk, Failure, Writer};
use crate::model::{PeerId, TrackerStatus};
use crate::placement::{PinRecord, PlacementState};
use crate::store::StateError;

/// Records whose recovery is asked for at a time.
const GROUP: usize = 256;

/// Whether something of a record failed, on one worker or on any.
fn failed(record: &PinRecord, only: Option<&PeerId>) -> bool {
    let errors = TrackerStatus::ERROR.with(TrackerStatus::UNEXPECTEDLY_UNPINNED);
    let wanted = record.wanted.is_some();
    record
        .placements
        .iter()
        .filter(|(id, _)| only.is_none_or(|only| only == id))
        .any(|(_, placement)| status(placement, wanted).matches(errors))
}

/// A record as it is when what failed waits for its turn again.
fn requeued(mut record: PinRecord) -> PinRecord {
    for (_, placement) in &mut record.placements {
        let lost = placement.desired && placement.state == PlacementState::Unpinned;
        if placement.state == PlacementState::Error || lost {
            placement.state = PlacementState::Queued;
        }
    }
    record
}

/// `POST /pins/{cid}/recover`
pub(super) async fn one(
    State(desk): State<Desk>,
    Writer(caller): Writer,
    Path(cid): Path<String>,
    query: Query,
) -> Result<Response, Failure> {
    let mut record = desk.record(&caller, &read_cid(&cid)?).await?;
    if failed(&record, None) {
        desk.pins.recover(&[record.cid]).await?;
        record = requeued(record);
    }
    desk.fare(&record, query.local()).await
}

/// `POST /pins/recover`: answers with what is tried again, and only where it had failed.
pub(super) async fn all(
    State(desk): State<Desk>,
    Writer(caller): Writer,
    trailers: Trailers,
    query: Query,
) -> Result<Response, Failure> {
    let only = match query.local() {
        true => desk.local(&*desk.fleet().await?),
        false => None,
    };
    let mut writer = desk.status_writer(query.local()).await?;
    let now_ms = desk.pins.now_ms();
    let failing = futures::stream::select_all(desk.records(&caller)).filter(move |record| {
        let kept = record.as_ref().map_or(true, |r| failed(r, only.as_ref()));
        futures::future::ready(kept)
    });
    let groups = failing.ready_chunks(GROUP).then(move |group| {
        let desk = desk.clone();
        async move {
            let known = group.iter().filter_map(|record| record.as_ref().ok());
            let cids: Vec<Cid> = known.map(|record| record.cid).collect();
            match desk.pins.recover(&cids).await {
                Ok(()) => group,
                Err(error) => vec![Err(StateError::Unavailable(error.to_string()))],
            }
        }
    });
    let records = groups.flat_map(futures::stream::iter).boxed();
    let queued = TrackerStatus::QUEUED;
    let pieces = lines::write(vec![records], move |out, record| {
        writer.listed(out, &requeued(record.clone()), queued, now_ms);
    });
    Ok(lines::answer(trailers, pieces).await)
}
