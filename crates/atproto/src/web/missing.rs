//! What is answered where there is nothing, or nothing of that kind.

use askama::Template;
use axum::extract::State;
use axum::response::{Html, IntoResponse, Response};
use http::{HeaderMap, Method, StatusCode, header};

use super::guard;
use crate::context::Context;

const POLICY: &str = "default-src 'none'; style-src 'unsafe-inline'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'";

#[derive(Template)]
#[template(path = "missing.html")]
struct MissingPage<'a> {
    hostname: &'a str,
    title: &'a str,
    what: &'a str,
}

/// 404, for a path that leads nowhere.
pub async fn missing(State(ctx): State<Context>, headers: HeaderMap) -> Response {
    answer(
        &ctx,
        &headers,
        StatusCode::NOT_FOUND,
        "Not found",
        "There is nothing at this address.",
    )
}

/// 405, for a path that takes requests of another kind.
pub async fn wrong_method(
    State(ctx): State<Context>,
    method: Method,
    headers: HeaderMap,
) -> Response {
    let short: String = method.as_str().chars().take(32).collect();
    let what = format!("This address takes no {short} requests.");
    let status = StatusCode::METHOD_NOT_ALLOWED;
    answer(&ctx, &headers, status, "Not allowed", &what)
}

/// A small page for browsers, text for everybody else.
fn answer(
    ctx: &Context,
    headers: &HeaderMap,
    status: StatusCode,
    title: &str,
    what: &str,
) -> Response {
    let accept = headers.get(header::ACCEPT).and_then(|v| v.to_str().ok());
    if !accept.is_some_and(|accept| accept.contains("text/html")) {
        return (status, format!("{what}\n")).into_response();
    }
    let hostname = ctx.config.hostname();
    let page = MissingPage {
        hostname,
        title,
        what,
    };
    match page.render() {
        Ok(html) => {
            let mut response = (status, Html(html)).into_response();
            guard(&mut response, POLICY);
            response
        }
        Err(cause) => {
            tracing::error!(%cause, "a page could not be made");
            StatusCode::INTERNAL_SERVER_ERROR.into_response()
        }
    }
}
