//! `/admin/audit`: what those who administer the node did, the newest first.

use askama::Template;
use axum::body::Body;
use axum::extract::State;
use axum::response::Response;
use http::Request;
use ues_repo::syntax::Did;

use super::desk::{Desk, Frame, Visit};
use super::words::{account_name, details, when};
use crate::context::Context;
use crate::moderation::Act;
use crate::xrpc::XrpcError;

/// Acts of one page.
const PAGE: usize = 100;

/// An act as a line.
pub struct ActLine {
    pub at: String,
    pub by: String,
    pub place: String,
    pub what: String,
    pub subject: String,
    /// The account that it is about.
    pub did: Option<String>,
    pub details: String,
}

#[derive(Template)]
#[template(path = "admin/audit.html")]
struct AuditPage {
    frame: Frame,
    acts: Vec<ActLine>,
    before: Option<u64>,
}

/// `GET /admin/audit?before`.
pub async fn show(State(desk): State<Desk>, request: Request<Body>) -> Response {
    match desk.enter(&request) {
        Ok(visit) => {
            let made = audit(&desk, &visit);
            desk.page(&visit, made)
        }
        Err(refused) => *refused,
    }
}

fn audit(desk: &Desk, visit: &Visit) -> Result<AuditPage, XrpcError> {
    let before = visit.field("before").and_then(|text| text.parse().ok());
    let acts = desk.ctx.acts.page(before, PAGE);
    let acts = acts.map_err(XrpcError::internal)?;
    let last = acts.last().map(|(number, _)| *number);
    Ok(AuditPage {
        frame: desk.frame(visit, "audit"),
        before: last.filter(|_| acts.len() == PAGE),
        acts: acts
            .iter()
            .map(|(_, act)| act_line(&desk.ctx, act))
            .collect(),
    })
}

/// An act for the page.
pub fn act_line(ctx: &Context, act: &Act) -> ActLine {
    let did = Did::parse(&act.subject).ok();
    ActLine {
        at: when(&act.at),
        by: act.by.clone(),
        place: act.place.clone(),
        what: act.what.clone(),
        subject: did
            .as_ref()
            .map_or_else(|| act.subject.clone(), |did| account_name(ctx, did)),
        did: did.map(|did| did.to_string()),
        details: details(&act.details),
    }
}
