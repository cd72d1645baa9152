//! What is pinned and how it fares: `GET /allocations` and `GET /pins`.

use std::sync::Arc;

use axum::extract::{Path, State};
use axum::response::{IntoResponse, Response};
use futures::StreamExt;
use futures::stream;
use http::header::CONTENT_TYPE;
use ues_data::Cid;

use super::faces::Faces;
use super::lines::{self, Records, Trailers};
use super::pin_line::PinWriter;
use super::query::{self, KindFilter, Query};
use super::status_line::StatusWriter;
use super::{Desk, Failure, Reader};
use crate::auth::Caller;
use crate::fleet::Fleet;
use crate::model::{PeerId, TrackerStatus};
use crate::placement::PinRecord;
use crate::request::{PinRequest, Wanted};
use crate::store::{OwnerQuery, StateError, StateStore, TokenRange};

/// Requests of an owner that are read at a time.
const PAGE: usize = 1000;
/// Parts of the store that are read at the same time for one list.
const MAX_LANES: usize = 4;
/// CIDs that one `?cids=` may name.
const MAX_CIDS: usize = 10_000;

impl Desk {
    /// The workers.
    pub(crate) async fn fleet(&self) -> Result<Arc<Fleet>, Failure> {
        // The reconciler has read them by its first second; before that the store knows better.
        if let Some(reconciler) = self.pins.reconciler() {
            let fleet = reconciler.fleet();
            if !fleet.workers().is_empty() {
                return Ok(fleet);
            }
        }
        Ok(Arc::new(Fleet::new(self.pins.store().workers().await?)))
    }

    /// The worker that answers for this process.
    pub(crate) fn local(&self, fleet: &Fleet) -> Option<PeerId> {
        let first = || fleet.workers().first().map(|worker| worker.id.clone());
        self.options.local.clone().or_else(first)
    }

    /// What a caller may see of a CID: an operator everything, an owner what they asked for themselves.
    pub(crate) async fn record(&self, caller: &Caller, cid: &Cid) -> Result<PinRecord, Failure> {
        if caller.operates {
            return Ok(self.pins.record(cid).await?);
        }
        match self.pins.store().request(&caller.owner, cid).await? {
            Some(request) => Ok(owned(self.pins.record(cid).await?, request)),
            None => Ok(PinRecord {
                cid: *cid,
                wanted: None,
                placements: Vec::new(),
            }),
        }
    }

    /// All that a caller may see, in streams that can be read at the same time.
    pub(crate) fn records(&self, caller: &Caller) -> Vec<Records> {
        let store = Arc::clone(self.pins.store());
        if caller.operates {
            let lanes = std::thread::available_parallelism().map_or(1, usize::from);
            let lanes = u32::try_from(lanes.min(MAX_LANES)).unwrap_or(1);
            let part = |lane| store.scan(TokenRange::part(lane, lanes), None);
            return (0..lanes).map(part).collect();
        }
        let owner = caller.owner.clone();
        let pages = stream::try_unfold(Some(None), move |cursor: Option<Option<(u64, Cid)>>| {
            let (store, owner) = (Arc::clone(&store), owner.clone());
            async move {
                let Some(cursor) = cursor else {
                    return Ok(None);
                };
                let query = OwnerQuery {
                    cursor,
                    limit: PAGE,
                    ..OwnerQuery::default()
                };
                let page = store.owner_requests(&owner, query).await?;
                let records = with_records(&*store, page.requests).await?;
                Ok(Some((records, page.cursor.map(Some))))
            }
        });
        let records = pages.flat_map(|page| match page {
            Ok(records) => stream::iter(records).map(Ok).left_stream(),
            Err(error) => stream::iter([Err(error)]).right_stream(),
        });
        vec![records.boxed()]
    }

    /// A writer of pins.
    pub(super) async fn pin_writer(&self) -> Result<PinWriter, Failure> {
        let faces = Arc::new(Faces::new(&*self.fleet().await?, None));
        Ok(PinWriter::new(faces, self.pins.policy().clone()))
    }

    /// A writer of how pins fare, on all workers or the local one.
    pub(super) async fn status_writer(&self, local: bool) -> Result<StatusWriter, Failure> {
        let fleet = self.fleet().await?;
        let only = if local { self.local(&fleet) } else { None };
        let faces = Arc::new(Faces::new(&fleet, only.as_ref()));
        let policy = self.pins.policy().clone();
        Ok(StatusWriter::new(faces, local, policy))
    }

    /// How one CID fares, as an answer.
    pub(super) async fn fare(&self, record: &PinRecord, local: bool) -> Result<Response, Failure> {
        let mut writer = self.status_writer(local).await?;
        let mut out = Vec::with_capacity(1024);
        writer.single(&mut out, record, self.pins.now_ms());
        Ok(json(out))
    }
}

/// A record as the owner of a request sees it.
fn owned(record: PinRecord, request: PinRequest) -> PinRecord {
    PinRecord {
        wanted: Some(Wanted::of(request)),
        ..record
    }
}

async fn with_records(
    store: &dyn StateStore,
    requests: Vec<PinRequest>,
) -> Result<Vec<PinRecord>, StateError> {
    let cids: Vec<Cid> = requests.iter().map(|request| *request.cid()).collect();
    let records = store.records(&cids).await?;
    let both = records.into_iter().zip(requests);
    Ok(both
        .map(|(record, request)| owned(record, request))
        .collect())
}

/// Bytes that are JSON, as an answer.
pub(crate) fn json(body: Vec<u8>) -> Response {
    ([(CONTENT_TYPE, "application/json")], body).into_response()
}

/// Reads a CID of the path.
pub(super) fn read_cid(text: &str) -> Result<Cid, Failure> {
    ues_data::parse_cid(text)
        .map_err(|why| Failure::bad_request(format!("error decoding Cid: {why}")))
}

/// `GET /allocations`
pub(super) async fn allocations(
    State(desk): State<Desk>,
    Reader(caller): Reader,
    trailers: Trailers,
    query: Query,
) -> Result<Response, Failure> {
    let filter = KindFilter::read(query.get("filter"))?;
    let mut writer = desk.pin_writer().await?;
    let pieces = lines::write(desk.records(&caller), move |out, record| {
        let kind = record.wanted.as_ref().map(|wanted| wanted.pin.kind);
        if kind.is_some_and(|kind| filter.shows(kind)) {
            writer.line(out, record);
        }
    });
    Ok(lines::answer(trailers, pieces).await)
}

/// `GET /allocations/{cid}`
pub(super) async fn allocation(
    State(desk): State<Desk>,
    Reader(caller): Reader,
    Path(cid): Path<String>,
) -> Result<Response, Failure> {
    let cid = read_cid(&cid)?;
    let record = desk.record(&caller, &cid).await?;
    if record.wanted.is_none() {
        return Err(Failure::not_pinned());
    }
    let mut out = Vec::with_capacity(1024);
    desk.pin_writer().await?.line(&mut out, &record);
    Ok(json(out))
}

/// `GET /pins`
pub(super) async fn statuses(
    State(desk): State<Desk>,
    Reader(caller): Reader,
    trailers: Trailers,
    query: Query,
) -> Result<Response, Failure> {
    let mut writer = desk.status_writer(query.local()).await?;
    let now_ms = desk.pins.now_ms();
    let cids = query.get("cids");
    if !cids.is_empty() {
        let cids = read_cids(cids)?;
        let records = stream::iter(cids).then(move |cid| {
            let (desk, caller) = (desk.clone(), caller.clone());
            async move {
                let record = desk.record(&caller, &cid).await;
                record.map_err(|failure| StateError::Unavailable(failure.message))
            }
        });
        let pieces = lines::write(vec![records.boxed()], move |out, record| {
            writer.single(out, record, now_ms);
        });
        return Ok(lines::answer(trailers, pieces).await);
    }
    let filter: TrackerStatus = query::statuses(query.get("filter"))?;
    let pieces = lines::write(desk.records(&caller), move |out, record| {
        writer.listed(out, record, filter, now_ms);
    });
    Ok(lines::answer(trailers, pieces).await)
}

fn read_cids(list: &str) -> Result<Vec<Cid>, Failure> {
    let cids: Vec<Cid> = list.split(',').map(read_cid).collect::<Result<_, _>>()?;
    if cids.len() > MAX_CIDS {
        return Err(Failure::bad_request(format!(
            "at most {MAX_CIDS} CIDs can be asked for at a time, found {}",
            cids.len()
        )));
    }
    Ok(cids)
}

/// `GET /pins/{cid}`
pub(super) async fn status(
    State(desk): State<Desk>,
    Reader(caller): Reader,
    Path(cid): Path<String>,
    query: Query,
) -> Result<Response, Failure> {
    let record = desk.record(&caller, &read_cid(&cid)?).await?;
    desk.fare(&record, query.local()).await
}
