//! `/admin/reports`: what owners reported, and what became of it.

use askama::Template;
use axum::body::Body;
use axum::extract::State;
use axum::response::Response;
use http::Request;
use ues_repo::syntax::Did;

use super::desk::{Desk, Frame, Visit};
use super::words::{account_name, details, when};
use crate::admin::{Subject, mark_report, set_takedown};
use crate::context::Context;
use crate::moderation::{Report, Target};
use crate::xrpc::XrpcError;

const PATH: &str = "/admin/reports";
/// Reports of one page.
const PAGE: usize = 50;

struct ReportLine {
    id: u64,
    reason: String,
    words: String,
    about: String,
    /// The account here that it is about.
    account: Option<(String, String)>,
    /// Whether the record or blob here that it is about is taken down.
    taken_down: Option<bool>,
    by: String,
    at: String,
    done: Option<String>,
}

#[derive(Template)]
#[template(path = "admin/reports.html")]
struct ReportsPage {
    frame: Frame,
    all: bool,
    reports: Vec<ReportLine>,
    before: Option<u64>,
}

/// `GET /admin/reports?all&before`.
pub async fn show(State(desk): State<Desk>, request: Request<Body>) -> Response {
    match desk.enter(&request) {
        Ok(visit) => {
            let made = reports(&desk, &visit);
            desk.page(&visit, made)
        }
        Err(refused) => *refused,
    }
}

fn reports(desk: &Desk, visit: &Visit) -> Result<ReportsPage, XrpcError> {
    let ctx = &desk.ctx;
    let all = visit.field("all").is_some();
    let before = visit.field("before").and_then(|text| text.parse().ok());
    let reports = ctx
        .reports
        .page_of(before, PAGE, |report| all || report.done.is_none())
        .map_err(XrpcError::internal)?;
    let last = reports.last().map(|(number, _)| *number);
    let before = last.filter(|_| reports.len() == PAGE);
    let lines = reports.into_iter().map(|(_, report)| line(ctx, report));
    Ok(ReportsPage {
        reports: lines.collect::<Result<_, _>>()?,
        frame: desk.frame(visit, "reports"),
        all,
        before,
    })
}

fn line(ctx: &Context, report: Report) -> Result<ReportLine, XrpcError> {
    let subject = Subject::of(&report.subject).ok();
    let did = subject.as_ref().and_then(Subject::did);
    let mut account = None;
    if let Some(did) = did {
        let found = ctx.accounts.by_did(did).map_err(XrpcError::internal)?;
        let found = found.filter(|account| !account.is_deleted());
        account = found.map(|a| (a.did.to_string(), a.handle.to_string()));
    }
    let target = match &subject {
        Some(Subject::Record(_, path)) => Some(Target::Record(path.to_string())),
        Some(Subject::Blob(_, cid)) => Some(Target::Blob(*cid)),
        _ => None,
    };
    let taken_down = match (did, target, &account) {
        (Some(did), Some(target), Some(_)) => {
            let held = ctx.takedowns.get(did, &target);
            Some(held.map_err(XrpcError::internal)?.is_some())
        }
        _ => None,
    };
    let (_, reason) = report
        .reason_type
        .rsplit_once('#')
        .unwrap_or(("", &report.reason_type));
    let reason = reason.strip_prefix("reason").unwrap_or(reason).to_owned();
    Ok(ReportLine {
        id: report.id,
        reason,
        words: report.reason.unwrap_or_default(),
        about: match &subject {
            Some(Subject::Other(_)) | None => details(&report.subject),
            Some(subject) => subject.name(),
        },
        account,
        taken_down,
        by: Did::parse(&report.reported_by)
            .map_or(report.reported_by, |did| account_name(ctx, &did)),
        at: when(&report.created_at),
        done: report.done.map(|done| {
            let words = done.note.map(|note| format!(": {note}"));
            let at = when(&done.at);
            format!("done {at} by {}{}", done.by, words.unwrap_or_default())
        }),
    })
}

/// `POST /admin/reports`.
pub async fn answer(State(desk): State<Desk>, request: Request<Body>) -> Response {
    let visit = match desk.order(request).await {
        Ok(visit) => visit,
        Err(refused) => return *refused,
    };
    let done = order(&desk, &visit).await;
    desk.done(&visit, done, PATH)
}

async fn order(desk: &Desk, visit: &Visit) -> Result<String, XrpcError> {
    let ctx = &desk.ctx;
    let id = visit.field("id").and_then(|id| id.parse().ok());
    let id: u64 = id.ok_or_else(|| XrpcError::invalid("which report is not said"))?;
    let words = visit.field("note").map(str::to_owned);
    match visit.field("do") {
        Some("done") => {
            mark_report(ctx, &visit.actor, id, true, words).await?;
            Ok(format!("Report {id} is done."))
        }
        Some("open") => {
            mark_report(ctx, &visit.actor, id, false, None).await?;
            Ok(format!("Report {id} is open again."))
        }
        Some(what @ ("take_down" | "give_back")) => {
            let report = ctx.reports.get(id).map_err(XrpcError::internal)?;
            let missing = || XrpcError::invalid(format!("there is no report {id}"));
            let subject = Subject::of(&report.ok_or_else(missing)?.subject)?;
            let down = what == "take_down";
            let reference = Some(format!("report {id}"));
            set_takedown(ctx, &visit.actor, &subject, down, reference).await?;
            let state = if down { "taken down" } else { "given back" };
            Ok(format!("{} is {state}.", subject.name()))
        }
        _ => Err(XrpcError::invalid("there is no such button")),
    }
}
