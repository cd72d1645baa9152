//! `/admin/events`: the last events of the log, the newest first.

use askama::Template;
use axum::body::Body;
use axum::extract::State;
use axum::response::Response;
use http::Request;
use ues_repo::repo::event::LogEvent;
use ues_repo::syntax::{AtIdentifier, Did};

use super::desk::{Desk, Frame, Visit};
use super::words::{account_name, when};
use crate::admin::last_events;
use crate::context::Context;
use crate::xrpc::XrpcError;

/// Events of one page.
const PAGE: usize = 100;
/// Operations of one commit that are shown.
const OPS: usize = 20;

struct EventLine {
    seq: u64,
    kind: &'static str,
    at: String,
    did: String,
    account: String,
    what: Vec<String>,
}

#[derive(Template)]
#[template(path = "admin/events.html")]
struct EventsPage {
    frame: Frame,
    query: String,
    events: Vec<EventLine>,
    /// The query string of the page after this one.
    next: Option<String>,
}

/// `GET /admin/events?account&before`: of one account, by its DID or handle, or of all.
pub async fn show(State(desk): State<Desk>, request: Request<Body>) -> Response {
    let visit = match desk.enter(&request) {
        Ok(visit) => visit,
        Err(refused) => return *refused,
    };
    let made = events(&desk, &visit).await;
    desk.page(&visit, made)
}

/// Whose events are wanted. The log knows DIDs that are not here any more.
fn wanted(ctx: &Context, query: &str) -> Result<Option<Did>, XrpcError> {
    if query.is_empty() {
        return Ok(None);
    }
    let name = query.trim_start_matches('@').to_lowercase();
    let missing = || XrpcError::named("NotFound", format!("there is no account {name}"));
    let id = AtIdentifier::parse(&name).map_err(|_| missing())?;
    if let Some(did) = id.did() {
        return Ok(Some(did.clone()));
    }
    let account = ctx.accounts.by_identifier(&id);
    let account = account.map_err(XrpcError::internal)?;
    Ok(Some(account.ok_or_else(missing)?.did.clone()))
}

async fn events(desk: &Desk, visit: &Visit) -> Result<EventsPage, XrpcError> {
    let ctx = desk.ctx.clone();
    let query = visit.field("account").unwrap_or_default().to_owned();
    let before = visit.field("before").and_then(|text| text.parse().ok());
    let did = wanted(&ctx, &query)?;
    let read = move || {
        let found = last_events(&ctx, before, PAGE, did.as_ref())?;
        let lines = found.iter().rev();
        Ok::<Vec<_>, XrpcError>(lines.map(|(seq, event)| line(&ctx, *seq, event)).collect())
    };
    let events = tokio::task::spawn_blocking(read).await;
    let events = events.map_err(XrpcError::internal)??;
    let last = events.last().filter(|_| events.len() == PAGE);
    Ok(EventsPage {
        frame: desk.frame(visit, "events"),
        next: last.map(|last| {
            let mut next = form_urlencoded::Serializer::new(String::new());
            next.append_pair("account", &query);
            next.append_pair("before", &last.seq.to_string());
            next.finish()
        }),
        query,
        events,
    })
}

fn line(ctx: &Context, seq: u64, event: &LogEvent) -> EventLine {
    let what = match event {
        LogEvent::Commit(commit) => {
            let ops = commit.ops.iter().take(OPS);
            let mut what: Vec<_> = ops
                .map(|op| format!("{} {}", op.action.name(), op.path))
                .collect();
            if commit.ops.len() > OPS {
                what.push(format!("and {} more", commit.ops.len() - OPS));
            }
            what
        }
        LogEvent::Sync { rev, .. } => vec![format!("state at {}", rev.as_str())],
        LogEvent::Identity { handle, .. } => {
            vec![
                handle
                    .as_ref()
                    .map_or_else(|| "changed".to_owned(), |h| format!("is {h}")),
            ]
        }
        LogEvent::Account { status, .. } => vec![status.name().unwrap_or("active").to_owned()],
    };
    EventLine {
        seq,
        kind: event.kind().name().trim_start_matches('#'),
        at: when(event.time()),
        did: event.did().to_string(),
        account: account_name(ctx, event.did()),
        what,
    }
}
