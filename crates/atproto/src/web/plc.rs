//! The embedded did:plc directory over HTTP, with the routes and answers of the public one.

use axum::Router;
use axum::body::Bytes;
use axum::extract::{DefaultBodyLimit, Path, Query, State};
use axum::response::{IntoResponse, Json, Response};
use axum::routing::get;
use http::{HeaderValue, StatusCode, header};
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use ues_repo::identity::plc::directory::{Directory, DirectoryError};

use crate::context::Context;

/// Longest operation that is read, in bytes.
const MAX_OPERATION: usize = 64 * 1024;

/// The directory's routes.
pub fn routes(ctx: Context) -> Router {
    let Some(directory) = ctx.identities.directory().cloned() else {
        return Router::new();
    };
    Router::new()
        .route("/_health", get(health))
        .route("/export", get(export))
        .route("/{did}", get(document).post(submit))
        .route("/{did}/data", get(data))
        .route("/{did}/log", get(log))
        .route("/{did}/log/audit", get(audit_log))
        .route("/{did}/log/last", get(last))
        .layer(DefaultBodyLimit::max(MAX_OPERATION))
        .with_state(directory)
}

fn answer<T: Serialize>(result: Result<T, DirectoryError>) -> Response {
    match result {
        Ok(value) => Json(value).into_response(),
        Err(e) => {
            let status = StatusCode::from_u16(e.status());
            if e.status() >= 500 {
                tracing::error!(cause = ?e, "the did:plc directory failed");
            }
            let status = status.unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
            (status, Json(e.body())).into_response()
        }
    }
}

async fn health(State(directory): State<Directory>) -> Response {
    answer(
        directory
            .health()
            .map(|()| json!({ "version": crate::VERSION })),
    )
}

async fn document(State(directory): State<Directory>, Path(did): Path<String>) -> Response {
    let mut response = answer(directory.document(&did));
    if response.status().is_success() {
        let kind = HeaderValue::from_static("application/did+ld+json; charset=utf-8");
        response.headers_mut().insert(header::CONTENT_TYPE, kind);
    }
    response
}

async fn submit(
    State(directory): State<Directory>,
    Path(did): Path<String>,
    body: Bytes,
) -> Response {
    let operation: Value = match serde_json::from_slice(&body) {
        Ok(operation) => operation,
        Err(e) => {
            let message = json!({ "message": e.to_string() });
            return (StatusCode::BAD_REQUEST, Json(message)).into_response();
        }
    };
    match directory.submit_json(&did, &operation).await {
        Ok(()) => StatusCode::OK.into_response(),
        Err(e) => answer::<()>(Err(e)),
    }
}

async fn data(State(directory): State<Directory>, Path(did): Path<String>) -> Response {
    answer(directory.data(&did))
}

async fn log(State(directory): State<Directory>, Path(did): Path<String>) -> Response {
    answer(directory.log(&did))
}

async fn audit_log(State(directory): State<Directory>, Path(did): Path<String>) -> Response {
    answer(directory.audit_log(&did))
}

async fn last(State(directory): State<Directory>, Path(did): Path<String>) -> Response {
    answer(directory.last(&did))
}

#[derive(Deserialize)]
struct Page {
    count: Option<String>,
    after: Option<String>,
}

async fn export(State(directory): State<Directory>, Query(page): Query<Page>) -> Response {
    let entries = match directory.export(page.count.as_deref(), page.after.as_deref()) {
        Ok(entries) => entries,
        Err(e) => return answer::<()>(Err(e)),
    };
    let lines: Vec<String> = entries.iter().map(Value::to_string).collect();
    let kind = HeaderValue::from_static("application/jsonlines");
    ([(header::CONTENT_TYPE, kind)], lines.join("\n")).into_response()
}
