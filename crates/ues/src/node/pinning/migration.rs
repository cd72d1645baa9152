//! Pins from and for an IPFS-Cluster, for the operator: `/admin/v1/pins/{migrate, digest, export}`.

use axum::body::{Body, Bytes};
use axum::extract::{DefaultBodyLimit, Query, State};
use axum::response::{IntoResponse, Response};
use axum::routing::{get, post};
use axum::{Json, Router};
use http::header::CONTENT_TYPE;
use serde::Deserialize;
use serde_json::json;
use ues_pins::model::Pin;
use ues_pins::{Owner, RequestId, migration};

use super::Parts;
use crate::node::operator::{Answer, Refusal};

/// Largest body with pins, in bytes.
const MAX_BODY: usize = 16 << 20;
/// Pins that are looked at for one part of a digest.
const DIGEST_PART: usize = 50_000;

/// The routes.
pub fn routes() -> Router<Parts> {
    let migrate = post(migrate).layer(DefaultBodyLimit::max(MAX_BODY));
    Router::new()
        .route("/pins/migrate", migrate)
        .route("/pins/digest", get(digest))
        .route("/pins/export", get(export))
}

#[derive(Deserialize)]
struct Batch {
    owner: String,
    tag: String,
    /// Pins that end by then are not compared, in seconds since the Unix epoch.
    horizon: u64,
}

#[derive(Deserialize)]
struct Compared {
    owner: String,
    tag: String,
    horizon: u64,
    cursor: Option<String>,
}

#[derive(Deserialize)]
struct Exported {
    owner: Option<String>,
}

fn owner(text: &str) -> Result<Owner, Refusal> {
    let owner = text.parse::<Owner>();
    owner.map_err(|e| Refusal::invalid(e.to_string()))
}

/// Takes over pins: a line of IPFS-Cluster's JSON each.
async fn migrate(State(parts): State<Parts>, Query(batch): Query<Batch>, body: Bytes) -> Answer {
    let owner = owner(&batch.owner)?;
    let lines = body.split(|byte| *byte == b'\n').filter(|l| !l.is_empty());
    let pins: Vec<Pin> = lines
        .map(serde_json::from_slice)
        .collect::<Result<_, _>>()
        .map_err(|e| Refusal::invalid(format!("a pin a line expected: {e}")))?;
    let taken = parts
        .pins
        .take_over(&owner, &batch.tag, batch.horizon, pins)
        .await;
    let taken = taken.map_err(Refusal::internal)?;
    let value = serde_json::to_value(taken).map_err(Refusal::internal)?;
    Ok(Json(value))
}

async fn digest(State(parts): State<Parts>, Query(compared): Query<Compared>) -> Answer {
    let owner = owner(&compared.owner)?;
    let cursor = compared.cursor.as_deref().map(str::parse::<RequestId>);
    let cursor = cursor
        .transpose()
        .map_err(|e| Refusal::invalid(e.to_string()))?;
    let cursor = cursor.map(|id| (id.created_ms(), *id.cid()));
    let page = parts
        .pins
        .digest(&owner, &compared.tag, compared.horizon, cursor, DIGEST_PART);
    let page = page.await.map_err(Refusal::internal)?;
    let cursor = page
        .cursor
        .map(|(created_ms, cid)| RequestId::new(created_ms, &owner, cid).to_string());
    Ok(Json(json!({ "digest": page.digest, "cursor": cursor })))
}

/// All pins, or an owner's, as lines that `ipfs-cluster-service state import` reads.
async fn export(
    State(parts): State<Parts>,
    Query(exported): Query<Exported>,
) -> Result<Response, Refusal> {
    let owner = exported.owner.as_deref().map(owner).transpose()?;
    let body = Body::from_stream(migration::export(&parts.pins, owner));
    Ok(([(CONTENT_TYPE, "application/x-ndjson")], body).into_response())
}
