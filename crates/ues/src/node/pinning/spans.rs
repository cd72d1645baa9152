//! The span of every call of the pin service: where a trace begins, or goes on from the caller's.

use axum::extract::{MatchedPath, Request};
use axum::middleware::Next;
use axum::response::Response;
use opentelemetry::global;
use opentelemetry_http::HeaderExtractor;
use tracing::field::Empty;
use tracing::{Instrument, Span};
use tracing_opentelemetry::OpenTelemetrySpanExt;
use ues_pins::trace;

/// Carries out a call in a span, in the names of OpenTelemetry's conventions.
pub async fn call(request: Request, next: Next) -> Response {
    let span = span(&request);
    if span.is_disabled() {
        return next.run(request).await;
    }
    let parent = global::get_text_map_propagator(|propagator| {
        propagator.extract(&HeaderExtractor(request.headers()))
    });
    // It fails only for a span that nobody wants.
    let _ = span.set_parent(parent);
    let response = next.run(request).instrument(span.clone()).await;
    let status = response.status();
    span.record("http.response.status_code", i64::from(status.as_u16()));
    if let Some(code) = response.headers().get("grpc-status") {
        span.record(
            "rpc.response.status_code",
            code.to_str().unwrap_or_default(),
        );
    }
    if status.is_server_error() {
        span.record("otel.status_code", "ERROR");
    }
    response
}

fn span(request: &Request) -> Span {
    let path = request.uri().path();
    let route = request.extensions().get::<MatchedPath>();
    // Paths of other calls name a pin each: a name of a span is of few.
    let route = route.map_or("", MatchedPath::as_str);
    let grpc = route.ends_with("/{*rest}");
    let method = request.method().as_str();
    tracing::info_span!(
        target: trace::TARGET,
        "call",
        otel.name = if grpc { path.trim_start_matches('/').to_owned() } else { format!("{method} {route}") },
        otel.kind = "server",
        otel.status_code = Empty,
        http.request.method = method,
        http.route = route,
        url.path = path,
        http.response.status_code = Empty,
        rpc.response.status_code = Empty,
    )
}
