//! The five calls of the specification.

use axum::Json;
use axum::body::Bytes;
use axum::extract::rejection::QueryRejection;
use axum::extract::{Path, Query, State};
use axum::response::{IntoResponse, Response};
use http::{HeaderMap, StatusCode};

use super::query::Params;
use super::wire::{PinBody, PinResults, PinStatus};
use super::{Desk, Failure, Reader, Writer};
use crate::Owner;
use crate::service::{PinView, Pins, Wish};

/// A header that carries the operation id, as others have it.
const IDEMPOTENCY_KEY: &str = "idempotency-key";

impl Desk {
    async fn status(&self, view: PinView) -> Result<PinStatus, Failure> {
        Ok(PinStatus::new(view, &self.pins.fleet().await?))
    }

    fn wish(&self, body: &[u8], headers: &HeaderMap) -> Result<(ues_data::Cid, Wish), Failure> {
        let body: PinBody = serde_json::from_slice(body)
            .map_err(|e| Failure::bad_request(format!("the body is not a pin object: {e}")))?;
        let (cid, mut wish) = body.into_wish(self.pins.now_ms() / 1000)?;
        if wish.op_id.is_none()
            && let Some(id) = headers.get(IDEMPOTENCY_KEY)
        {
            let id = id.to_str().map_err(|_| {
                Failure::bad_request("the header Idempotency-Key is not plain text")
            })?;
            wish.op_id = Some(id.to_owned());
        }
        Ok((cid, wish))
    }
}

/// Accepts a pin object as in `POST /pins`, and gives its status.
///
/// # Errors
/// [`Failure`], as the call would give it.
pub async fn accept(
    pins: &Pins,
    owner: &Owner,
    object: serde_json::Value,
) -> Result<serde_json::Value, Failure> {
    let body: PinBody = serde_json::from_value(object)
        .map_err(|e| Failure::bad_request(format!("not a pin object: {e}")))?;
    let (cid, wish) = body.into_wish(pins.now_ms() / 1000)?;
    let view = pins.add(owner, cid, wish).await?;
    let status = PinStatus::new(view, &pins.fleet().await?);
    serde_json::to_value(status).map_err(|e| Failure::unavailable(e.to_string()))
}

/// `GET /pins`
pub(super) async fn list(
    State(desk): State<Desk>,
    Reader(caller): Reader,
    params: Result<Query<Params>, QueryRejection>,
) -> Result<Json<PinResults>, Failure> {
    let Query(params) = params.map_err(|e| Failure::bad_request(e.body_text()))?;
    let query = params.read()?;
    let listed = desk.pins.list(&caller.owner, &query).await?;
    let fleet = desk.pins.fleet().await?;
    let status = |view| PinStatus::new(view, &fleet);
    Ok(Json(PinResults {
        count: listed.count,
        results: listed.pins.into_iter().map(status).collect(),
    }))
}

/// `POST /pins`
pub(super) async fn add(
    State(desk): State<Desk>,
    Writer(caller): Writer,
    headers: HeaderMap,
    body: Bytes,
) -> Result<Response, Failure> {
    let (cid, wish) = desk.wish(&body, &headers)?;
    let view = desk.pins.add(&caller.owner, cid, wish).await?;
    let status = desk.status(view).await?;
    Ok((StatusCode::ACCEPTED, Json(status)).into_response())
}

/// `GET /pins/{id}`
pub(super) async fn get(
    State(desk): State<Desk>,
    Reader(caller): Reader,
    Path(id): Path<String>,
) -> Result<Json<PinStatus>, Failure> {
    let request = desk.pins.request(&caller.owner, &id).await?;
    let view = desk.pins.view(request).await?;
    Ok(Json(desk.status(view).await?))
}

/// `POST /pins/{id}`
pub(super) async fn replace(
    State(desk): State<Desk>,
    Writer(caller): Writer,
    Path(id): Path<String>,
    headers: HeaderMap,
    body: Bytes,
) -> Result<Response, Failure> {
    let (cid, wish) = desk.wish(&body, &headers)?;
    let view = desk.pins.replace(&caller.owner, &id, cid, wish).await?;
    let status = desk.status(view).await?;
    Ok((StatusCode::ACCEPTED, Json(status)).into_response())
}

/// `DELETE /pins/{id}`
pub(super) async fn remove(
    State(desk): State<Desk>,
    Writer(caller): Writer,
    Path(id): Path<String>,
) -> Result<StatusCode, Failure> {
    desk.pins.remove(&caller.owner, &id).await?;
    Ok(StatusCode::ACCEPTED)
}
