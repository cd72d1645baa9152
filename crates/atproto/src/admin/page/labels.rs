//! `/admin/labels`: what this node says as a labeler.

use askama::Template;
use axum::body::Body;
use axum::extract::State;
use axum::response::Response;
use http::Request;
use ues_repo::syntax::{AtIdentifier, Did};

use super::desk::{Desk, Frame, Visit};
use super::words::when;
use crate::admin::put_label;
use crate::context::Context;
use crate::labels::Draft;
use crate::xrpc::XrpcError;

const PATH: &str = "/admin/labels";
/// Labels of one page.
const PAGE: usize = 100;

struct LabelLine {
    val: String,
    uri: String,
    cid: String,
    since: String,
    until: String,
}

#[derive(Template)]
#[template(path = "admin/labels.html")]
struct LabelsPage {
    frame: Frame,
    labeler: String,
    query: String,
    labels: Vec<LabelLine>,
    /// The query string of the page after this one.
    next: Option<String>,
}

/// `GET /admin/labels?q&after`.
pub async fn show(State(desk): State<Desk>, request: Request<Body>) -> Response {
    match desk.enter(&request) {
        Ok(visit) => {
            let made = labels(&desk, &visit);
            desk.page(&visit, made)
        }
        Err(refused) => *refused,
    }
}

fn labels(desk: &Desk, visit: &Visit) -> Result<LabelsPage, XrpcError> {
    let ctx = &desk.ctx;
    let query = visit.field("q").unwrap_or_default().to_owned();
    let pattern = match query.as_str() {
        "" => "*".to_owned(),
        name => subject(ctx, name)?,
    };
    let after = visit.field("after").and_then(|text| text.parse().ok());
    let after = after.unwrap_or_default();
    let found = ctx
        .labels
        .query(&[&pattern], &[], after, PAGE, ctx.now_ms())
        .map_err(XrpcError::internal)?;
    let last = found.last().filter(|_| found.len() == PAGE);
    Ok(LabelsPage {
        frame: desk.frame(visit, "labels"),
        labeler: ctx.labels.labeler.did.clone(),
        next: last.map(|(seq, _)| {
            let mut next = form_urlencoded::Serializer::new(String::new());
            next.append_pair("q", &query);
            next.append_pair("after", &seq.to_string());
            next.finish()
        }),
        query,
        labels: found
            .into_iter()
            .map(|(_, label)| LabelLine {
                since: when(&label.cts),
                until: label.exp.as_deref().map(when).unwrap_or_default(),
                cid: label.cid.unwrap_or_default(),
                val: label.val,
                uri: label.uri,
            })
            .collect(),
    })
}

/// What somebody wrote for a subject, with the DID of an account here in the place of its handle.
fn subject(ctx: &Context, text: &str) -> Result<String, XrpcError> {
    let rest = text.strip_prefix("at://");
    let bare = rest.unwrap_or(text).trim_start_matches('@');
    let (name, path) = bare.split_once('/').unwrap_or((bare, ""));
    if Did::parse(name).is_ok() || name.contains('*') {
        return Ok(text.to_owned());
    }
    let missing = || XrpcError::invalid(format!("there is no account {name}"));
    let id = AtIdentifier::parse(name).map_err(|_| missing())?;
    let account = ctx.accounts.by_identifier(&id);
    let account = account.map_err(XrpcError::internal)?.ok_or_else(missing)?;
    Ok(match path {
        "" => account.did.to_string(),
        path => format!("at://{}/{path}", account.did),
    })
}

/// `POST /admin/labels`.
pub async fn answer(State(desk): State<Desk>, request: Request<Body>) -> Response {
    let visit = match desk.order(request).await {
        Ok(visit) => visit,
        Err(refused) => return *refused,
    };
    let done = order(&desk, &visit).await;
    desk.done(&visit, done, PATH)
}

async fn order(desk: &Desk, visit: &Visit) -> Result<String, XrpcError> {
    let neg = match visit.field("do") {
        Some("add") => false,
        Some("remove") => true,
        _ => return Err(XrpcError::invalid("there is no such button")),
    };
    let owned = |name| visit.field(name).map(str::to_owned);
    let draft = Draft {
        uri: subject(&desk.ctx, visit.field("uri").unwrap_or_default())?,
        val: owned("val").unwrap_or_default(),
        cid: owned("cid"),
        exp: owned("exp"),
    };
    let (_, label) = put_label(&desk.ctx, &visit.actor, draft, neg).await?;
    let state = if neg {
        "no longer labelled"
    } else {
        "labelled"
    };
    Ok(format!("{} is {state} {}.", label.uri, label.val))
}
