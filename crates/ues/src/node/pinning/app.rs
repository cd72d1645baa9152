//! The pin service's routes on the node's main listener.

use axum::Router;
use axum::extract::State;
use axum::middleware;
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use http::header::CONTENT_TYPE;
use ues_atproto::{App, Context};
use ues_pins::grpc::{self, CallLimits};

use super::{Parts, callers, content, keys, migration, openapi, page, spans, workers};
use crate::node::operator::authorize;

/// The pin service as an application on the node's server.
pub struct PinningApp {
    parts: Option<Parts>,
}

impl PinningApp {
    /// With these parts; none when this process has no role in the pin service.
    pub fn new(parts: Option<Parts>) -> Self {
        Self { parts }
    }
}

impl App for PinningApp {
    fn name(&self) -> &'static str {
        "pins"
    }

    fn routes(&self, _: &Context) -> Router {
        let Some(parts) = &self.parts else {
            return Router::new();
        };
        let operator = Router::new()
            .merge(keys::routes())
            .merge(migration::routes())
            .merge(workers::routes())
            .with_state(parts.clone())
            .layer(middleware::from_fn_with_state(
                parts.secret.clone(),
                authorize,
            ));
        let mut calls = Router::new().nest("/admin/v1", operator);
        if parts.api {
            calls = calls.merge(api(parts));
        }
        // What follows is nobody's trace; measurements are fetched all the time.
        let mut routes = calls.layer(middleware::from_fn(spans::call));
        if parts.api {
            routes = routes.merge(openapi::routes());
        }
        if parts.metrics {
            routes = routes.merge(
                Router::new()
                    .route("/metrics", get(metrics))
                    .with_state(parts.clone()),
            );
        }
        routes
    }
}

/// What owners call: REST and gRPC.
fn api(parts: &Parts) -> Router {
    let authenticate = callers::authenticate(&parts.access, &parts.secret, None);
    let intake = parts.intake.clone();
    let (pins, limits) = (parts.pins.clone(), CallLimits::default());
    let grpc = grpc::routes(pins.clone(), authenticate.clone(), intake, limits);
    let grpc = grpc.unwrap_or_else(|error| {
        tracing::error!(%error, "the node runs without gRPC");
        Router::new()
    });
    let or_page = middleware::from_fn_with_state(parts.clone(), page::or_api);
    ues_pins::pinning_service::routes(pins, authenticate.clone())
        .route_layer(or_page)
        .merge(content::routes(parts.clone(), authenticate))
        .merge(grpc)
}

/// `GET /metrics`, for Prometheus.
async fn metrics(State(parts): State<Parts>) -> Response {
    let text = parts.pins.metrics_text().await;
    ([(CONTENT_TYPE, ues_pins::metrics::CONTENT_TYPE)], text).into_response()
}
