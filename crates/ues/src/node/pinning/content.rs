//! Content for pins: `POST /pins/car` stores an archive where the node keeps content, and pins its roots.
//!
//! `?pin=` is a pin object as in `POST /pins`, without its CID. The answer is `{"results": […]}`, a pin status each.

use axum::body::Body;
use axum::extract::{Query, State};
use axum::response::{IntoResponse, Response};
use axum::{Json, Router};
use futures::{StreamExt, TryStreamExt};
use http::{HeaderMap, StatusCode};
use serde::Deserialize;
use serde_json::{Value, json};
use ues_data::Cid;
use ues_pins::auth::{Authenticate, Caller, Credentials};
use ues_pins::intake::{Intake, IntakeError};
use ues_pins::pinning_service::{Failure, accept};

use super::Parts;

/// Most roots of one archive.
const MAX_ROOTS: usize = 1000;

#[derive(Clone)]
struct Desk {
    parts: Parts,
    authenticate: Authenticate,
}

#[derive(Deserialize)]
struct Params {
    pin: Option<String>,
}

/// The route.
pub fn routes(parts: Parts, authenticate: Authenticate) -> Router {
    Router::new()
        .route("/pins/car", axum::routing::post(import))
        .layer(axum::extract::DefaultBodyLimit::disable())
        .with_state(Desk {
            parts,
            authenticate,
        })
}

async fn import(
    State(desk): State<Desk>,
    Query(params): Query<Params>,
    headers: HeaderMap,
    body: Body,
) -> Result<Response, Failure> {
    let caller = writer(&desk, &headers).await?;
    let wish: Value = match &params.pin {
        None => json!({}),
        Some(text) => serde_json::from_str(text)
            .map_err(|e| Failure::bad_request(format!("pin: a pin object expected: {e}")))?,
    };
    let Some(intake) = &desk.parts.intake else {
        return Err(Failure::unavailable(
            "this process keeps no content: bring it to a worker, then pin the CID",
        ));
    };
    let roots = store(&**intake, body).await?;
    let mut results = Vec::with_capacity(roots.len());
    for root in roots {
        let mut object = wish.clone();
        object["cid"] = json!(root.to_string());
        results.push(accept(&desk.parts.pins, &caller.owner, object).await?);
    }
    Ok((StatusCode::ACCEPTED, Json(json!({ "results": results }))).into_response())
}

async fn writer(desk: &Desk, headers: &HeaderMap) -> Result<Caller, Failure> {
    let caller = (desk.authenticate)(Credentials::of(headers)?).await?;
    if caller.writes {
        Ok(caller)
    } else {
        Err(Failure::forbidden("this API key may not change pins"))
    }
}

/// Stores the blocks of an archive for a while; whoever pins them keeps them. Returns the roots.
async fn store(content: &dyn Intake, body: Body) -> Result<Vec<Cid>, Failure> {
    let cut = |error: axum::Error| IntakeError::Invalid(error.to_string());
    let pieces = body.into_data_stream().map_err(cut);
    let roots = content.import_car(pieces.boxed()).await;
    let roots = roots.map_err(|error| match error {
        IntakeError::Invalid(why) => Failure::bad_request(format!("the archive: {why}")),
        other => Failure::unavailable(other.to_string()),
    })?;
    if roots.is_empty() || roots.len() > MAX_ROOTS {
        return Err(Failure::bad_request(format!(
            "the archive: 1 to {MAX_ROOTS} roots expected, found {}",
            roots.len()
        )));
    }
    Ok(roots)
}
