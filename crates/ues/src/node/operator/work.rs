//! Long work, told line by line: checking and reindexing.

use axum::Json;
use axum::body::{Body, Bytes};
use axum::extract::State;
use axum::http::header::CONTENT_TYPE;
use axum::response::{IntoResponse, Response};
use serde_json::{Value, json};
use tokio::sync::mpsc;
use ues_repo::repo::Repositories;
use ues_repo::syntax::Did;
use ues_storage::CheckProgress;

use super::Desk;
use super::accounts::actor;
use super::answer::Refusal;

/// Problems of one part that are listed; more are counted only.
const MAX_LISTED: usize = 100;
/// Lines that may wait for a slow reader.
const LINES: usize = 64;

/// Where work tells how far it is.
struct Teller(mpsc::Sender<Value>);

impl Teller {
    /// A line that may be left out when the reader is slow.
    fn progress(&self, value: Value) {
        let _ = self.0.try_send(value);
    }
}

/// Runs work on a thread of its own and streams its lines, the last one with the result.
fn stream(work: impl FnOnce(&Teller) -> Result<Value, String> + Send + 'static) -> Response {
    let (sender, mut lines) = mpsc::channel(LINES);
    tokio::task::spawn_blocking(move || {
        let teller = Teller(sender);
        let result = work(&teller).unwrap_or_else(|error| json!({ "error": error }));
        // Nobody there any more: nobody to tell.
        let _ = teller.0.blocking_send(result);
    });
    let body = futures::stream::poll_fn(move |cx| {
        lines.poll_recv(cx).map(|line| {
            line.map(|value| Ok::<_, std::convert::Infallible>(Bytes::from(format!("{value}\n"))))
        })
    });
    (
        [(CONTENT_TYPE, "application/x-ndjson")],
        Body::from_stream(body),
    )
        .into_response()
}

/// `POST check`: verifies the store, then every repository, mirrors too.
pub async fn check(State(desk): State<Desk>, _: Json<Value>) -> Response {
    stream(move |teller| {
        let (store, mut problems) = check_store(&desk, teller)?;
        let mut parts = vec![store];
        let mut after = None;
        loop {
            let heads = desk.ctx.repos.list(after, 100).map_err(|e| e.to_string())?;
            let Some((_, last)) = heads.last() else { break };
            after = Some(last.owner);
            for (did, _) in &heads {
                let (part, count) = check_repo(&desk.ctx.repos, did, did.as_str(), teller);
                problems += count;
                parts.push(part);
            }
        }
        let mirrors = &desk.ctx.mirrors;
        for row in mirrors.list().map_err(|e| e.to_string())? {
            let here = mirrors.repos().head(&row.did).map_err(|e| e.to_string())?;
            if here.is_some() {
                let what = format!("mirror of {}", row.did);
                let (part, count) = check_repo(mirrors.repos(), &row.did, &what, teller);
                problems += count;
                parts.push(part);
            }
        }
        Ok(json!({ "parts": parts, "problems": problems }))
    })
}

/// One repository: what was found, and how much is wrong.
fn check_repo(repos: &Repositories, did: &Did, what: &str, teller: &Teller) -> (Value, u64) {
    let mut tell = |done: u64| {
        teller.progress(json!({ "stage": what, "done": done, "total": 0 }));
    };
    let (found, list, count) = match repos.check(did, &mut tell) {
        Ok(report) => (
            format!(
                "{} records, {} nodes, {} blobs",
                report.records, report.nodes, report.blobs
            ),
            report.problems,
            report.problem_count,
        ),
        Err(error) => (String::new(), vec![error.to_string()], 1),
    };
    let part = json!({ "what": what, "found": found, "problems": list, "problemCount": count });
    (part, count)
}

/// The store: blocks, references, log, large objects.
fn check_store(desk: &Desk, teller: &Teller) -> Result<(Value, u64), String> {
    let mut tell = |at: CheckProgress| {
        let stage = format!("{:?}", at.stage).to_lowercase();
        teller.progress(json!({ "stage": stage, "done": at.rows, "total": 0 }));
    };
    let report = desk.ctx.store.check(&mut tell).map_err(|e| e.to_string())?;
    let list: Vec<String> = report
        .damage
        .iter()
        .take(MAX_LISTED)
        .map(ToString::to_string)
        .collect();
    let found = format!(
        "{} blocks, {} references, {} events, {} large objects",
        report.blocks, report.references, report.events, report.objects
    );
    let part = json!({
        "what": "store", "found": found, "problems": list, "problemCount": report.damage_count,
    });
    Ok((part, report.damage_count))
}

/// `POST reindex`: drops the index and builds it again.
pub async fn reindex(State(desk): State<Desk>, _: Json<Value>) -> Result<Response, Refusal> {
    desk.note(Some(actor().act("reindex", "index", Value::Null)))
        .await?;
    let runtime = tokio::runtime::Handle::current();
    Ok(stream(move |teller| {
        let total = desk.ctx.store.log().last_durable();
        let tell = |done: u64| {
            teller.progress(json!({ "stage": "records", "done": done, "total": total }));
        };
        let cursor = runtime.block_on(desk.index.rebuild(total, tell))?;
        Ok(json!({ "cursor": cursor }))
    }))
}
