//! The node's page and its live data.

use std::convert::Infallible;
use std::time::Duration;

use askama::Template;
use axum::extract::State;
use axum::response::sse::{Event as Sse, KeepAlive};
use axum::response::{Html, IntoResponse, Response, Sse as SseResponse};
use futures::Stream;
use http::{HeaderValue, StatusCode, header};
use serde::Serialize;
use ues_repo::repo::event::LogEvent;
use ues_repo::syntax::Did;

use crate::config::PlcMode;
use crate::context::Context;

use super::words::{bytes, grouped};

/// Events shown.
const SHOWN: u64 = 15;
/// Operations of one commit that are named.
const OPS_NAMED: usize = 3;
/// The page is told of news at most this often.
const REFRESH: Duration = Duration::from_millis(500);
/// Only what the page itself brings along may run.
const CONTENT_SECURITY: &str = "default-src 'none'; style-src 'unsafe-inline'; \
     script-src 'unsafe-inline'; connect-src 'self'; base-uri 'none'; frame-ancestors 'none'";

#[derive(Template)]
#[template(path = "page.html")]
struct Page<'a> {
    hostname: &'a str,
    service_did: &'a str,
    endpoint: &'a str,
    firehose: String,
    domain: Option<&'a str>,
    embedded_plc: bool,
    version: &'a str,
    numbers: Numbers,
    latest: Vec<Line>,
}

#[derive(Serialize)]
struct Numbers {
    accounts: String,
    records: String,
    events: String,
    subscribers: String,
    storage: String,
}

#[derive(Serialize)]
struct Line {
    seq: u64,
    kind: &'static str,
    account: String,
    what: String,
}

/// `GET /`.
pub async fn page(State(ctx): State<Context>) -> Response {
    let endpoint = ctx.config.endpoint();
    let socket = endpoint.replacen("http", "ws", 1);
    let page = Page {
        hostname: ctx.config.authority(),
        service_did: &ctx.service_did,
        endpoint,
        firehose: format!("{socket}/xrpc/com.atproto.sync.subscribeRepos?cursor=0"),
        domain: ctx.config.handle_domains.first().map(String::as_str),
        embedded_plc: ctx.config.plc == PlcMode::Embedded,
        version: crate::VERSION,
        numbers: numbers(&ctx),
        latest: latest(&ctx),
    };
    match page.render() {
        Ok(html) => {
            let policy = HeaderValue::from_static(CONTENT_SECURITY);
            ([(header::CONTENT_SECURITY_POLICY, policy)], Html(html)).into_response()
        }
        Err(cause) => {
            tracing::error!(%cause, "the page could not be made");
            StatusCode::INTERNAL_SERVER_ERROR.into_response()
        }
    }
}

/// `GET /live`: the page's numbers and latest events whenever they change, as server-sent events.
pub async fn live(
    State(ctx): State<Context>,
) -> SseResponse<impl Stream<Item = Result<Sse, Infallible>>> {
    let durable = ctx.store.log().subscribe();
    let news = futures::stream::unfold((ctx, durable), |(ctx, mut durable)| async move {
        tokio::select! {
            changed = durable.changed() => changed.ok()?,
            () = ctx.hub.stopped() => return None,
        }
        // However much is written, a viewer costs two small answers a second.
        tokio::time::sleep(REFRESH).await;
        durable.borrow_and_update();
        let news = serde_json::json!({ "numbers": numbers(&ctx), "latest": latest(&ctx) });
        Some((Ok(Sse::default().data(news.to_string())), (ctx, durable)))
    });
    SseResponse::new(news).keep_alive(KeepAlive::default())
}

fn numbers(ctx: &Context) -> Numbers {
    Numbers {
        accounts: grouped(ctx.census.accounts()),
        records: grouped(ctx.census.records()),
        events: grouped(ctx.store.log().last_durable()),
        subscribers: grouped(ctx.hub.subscribers() as u64),
        storage: ctx
            .store
            .stats()
            .map_or_else(|_| "unknown".to_owned(), |s| bytes(s.disk_bytes)),
    }
}

fn latest(ctx: &Context) -> Vec<Line> {
    let log = ctx.store.log();
    let after = log.last_durable().saturating_sub(SHOWN);
    let events = log
        .read(after, SHOWN as usize, usize::MAX)
        .unwrap_or_default();
    let line = |event: &ues_storage::Event| {
        let decoded = LogEvent::decode(&event.payload).ok()?;
        Some(Line {
            seq: event.seq,
            kind: decoded.kind().name().trim_start_matches('#'),
            account: account_name(ctx, decoded.did()),
            what: what(&decoded),
        })
    };
    events.iter().rev().filter_map(line).collect()
}

fn account_name(ctx: &Context, did: &Did) -> String {
    match ctx.accounts.by_did(did) {
        Ok(Some(account)) => account.handle.to_string(),
        _ => did.to_string(),
    }
}

fn what(event: &LogEvent) -> String {
    match event {
        LogEvent::Commit(commit) if commit.ops.is_empty() => "an empty repository".to_owned(),
        LogEvent::Commit(commit) => {
            let named = commit.ops.iter().take(OPS_NAMED);
            let mut text: Vec<String> = named
                .map(|op| format!("{} {}", op.action.name(), op.path))
                .collect();
            if commit.ops.len() > OPS_NAMED {
                text.push(format!("and {} more", commit.ops.len() - OPS_NAMED));
            }
            text.join(", ")
        }
        LogEvent::Sync { rev, .. } => format!("state at {}", rev.as_str()),
        LogEvent::Identity { handle, .. } => handle
            .as_ref()
            .map_or_else(|| "changed".to_owned(), |h| format!("is {h}")),
        LogEvent::Account { status, .. } => status.name().unwrap_or("active").to_owned(),
    }
}
