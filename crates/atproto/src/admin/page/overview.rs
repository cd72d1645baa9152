//! `/admin`: how the node is.

use askama::Template;
use axum::body::Body;
use axum::extract::State;
use axum::response::Response;
use http::Request;

use super::audit::{ActLine, act_line};
use super::desk::{Desk, Frame, Visit};
use super::sign_in;
use crate::oauth::Asked;
use crate::web::{bytes, grouped};
use crate::xrpc::XrpcError;

/// Acts shown.
const LATEST: usize = 10;
/// Open reports that are counted.
const REPORTS: usize = 1000;

#[derive(Template)]
#[template(path = "admin/overview.html")]
struct OverviewPage {
    frame: Frame,
    accounts: String,
    records: String,
    storage: String,
    first_event: String,
    last_event: String,
    subscribers: String,
    waiting: u64,
    sends_mail: bool,
    reports: String,
    poisoned: Option<String>,
    service_did: String,
    endpoint: String,
    invites: bool,
    version: &'static str,
    acts: Vec<ActLine>,
}

/// `GET /admin`.
pub async fn show(State(desk): State<Desk>, request: Request<Body>) -> Response {
    match desk.enter(&request) {
        Ok(visit) => {
            let made = overview(&desk, &visit);
            desk.page(&visit, made)
        }
        Err(refused) => door(&desk, &request).unwrap_or(*refused),
    }
}

/// The sign-in, for somebody who is not signed in.
fn door(desk: &Desk, request: &Request<Body>) -> Option<Response> {
    let asked = Asked::query(&desk.ctx, request).ok()?;
    let visitor = desk.visitor(&asked).ok()?;
    Some(sign_in::page(desk, &visitor, None))
}

fn overview(desk: &Desk, visit: &Visit) -> Result<OverviewPage, XrpcError> {
    let ctx = &desk.ctx;
    let open = ctx
        .reports
        .page_of(None, REPORTS, |report| report.done.is_none())
        .map_err(XrpcError::internal)?
        .len();
    let acts = ctx.acts.page(None, LATEST).map_err(XrpcError::internal)?;
    let log = ctx.store.log();
    let stats = ctx.store.stats();
    Ok(OverviewPage {
        frame: desk.frame(visit, "overview"),
        accounts: grouped(ctx.census.accounts()),
        records: grouped(ctx.census.records()),
        storage: stats.map_or_else(|_| "unknown".to_owned(), |s| bytes(s.disk_bytes)),
        first_event: grouped(log.first_seq()),
        last_event: grouped(log.last_durable()),
        subscribers: grouped(ctx.hub.subscribers() as u64),
        waiting: ctx.outbox.waiting().map_err(XrpcError::internal)?,
        sends_mail: ctx.config.mail.smtp_url.is_some(),
        reports: match open {
            REPORTS => format!("{REPORTS} or more"),
            few => few.to_string(),
        },
        poisoned: ctx.store.poisoned().map(|reason| reason.to_string()),
        service_did: ctx.service_did.clone(),
        endpoint: ctx.config.endpoint().to_owned(),
        invites: ctx.config.invite_required,
        version: crate::VERSION,
        acts: acts.iter().map(|(_, act)| act_line(ctx, act)).collect(),
    })
}
