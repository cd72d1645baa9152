//! `GET /pins/openapi.json`: the description of the pin service's HTTP interfaces, for programs that make clients of it.

use axum::Router;
use axum::routing::get;
use http::header::CONTENT_TYPE;

/// Written by hand; `tests/openapi.rs` holds it against the routes.
const DOCUMENT: &str = include_str!("openapi.json");

/// The route, which is open to everybody.
pub fn routes() -> Router {
    let document = || async { ([(CONTENT_TYPE, "application/json")], DOCUMENT) };
    Router::new().route("/pins/openapi.json", get(document))
}
