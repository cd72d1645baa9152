//! `POST /pins/bulk`: many changes as lines of JSON, one answer line for each, in order.
//!
//! A line is a pin object as in `POST /pins`, which adds it, or `{"action": "unpin", "cid": …}`. An answer is
//! `{"cid", "requestid", "status": "queued"}`, `{"cid", "status": "removed"}` or `{"cid", "error": {…}}`. What is
//! answered is durable. The body may be of any length: it is read as fast as answers are taken.

use axum::body::Body;
use axum::extract::State;
use axum::response::{IntoResponse, Response};
use bytes::{Bytes, BytesMut};
use futures::{Stream, StreamExt};
use http::header::CONTENT_TYPE;
use serde::Deserialize;
use serde_json::json;
use tokio::sync::mpsc;
use tracing::Instrument;

use super::wire::{PinBody, read_cid};
use super::{Desk, Failure, Writer};
use crate::Owner;
use crate::service::{Change, ChangeAnswer, PinsError};

/// Lines that are made durable together.
const GROUP: usize = 2000;
/// Longest line, in bytes.
const MAX_LINE: usize = 64 << 10;
/// Groups that are under way at one time.
const UNDERWAY: usize = 4;

#[derive(Deserialize)]
struct Line<'a> {
    #[serde(default, borrow)]
    action: Option<std::borrow::Cow<'a, str>>,
    #[serde(borrow)]
    cid: std::borrow::Cow<'a, str>,
    #[serde(default)]
    op_id: Option<String>,
}

/// A line that was read: what it is about, and what is to be done.
struct Parsed {
    cid: String,
    change: Result<Change, Failure>,
}

/// `POST /pins/bulk`
pub(super) async fn bulk(State(desk): State<Desk>, Writer(caller): Writer, body: Body) -> Response {
    let (send, receive) = mpsc::channel::<Vec<Bytes>>(1);
    let reading = tokio::spawn(read_groups(body.into_data_stream(), send));
    let groups = futures::stream::unfold(receive, |mut receive| async {
        receive.recv().await.map(|group| (group, receive))
    });
    // It is answered after the handler has ended.
    let span = tracing::Span::current();
    let answers = groups
        .map(move |group| {
            answer(desk.clone(), caller.owner.clone(), group).instrument(span.clone())
        })
        .buffered(UNDERWAY)
        .map(Ok::<_, std::convert::Infallible>);
    let end = futures::stream::once(async move {
        let failed = match reading.await {
            Ok(Ok(())) => None,
            Ok(Err(failure)) => Some(failure),
            Err(_) => Some(Failure::bad_request("the body could not be read")),
        };
        let line = failed.map(|failure| format!("{}\n", failure.body()));
        Ok(Bytes::from(line.unwrap_or_default()))
    });
    let body = Body::from_stream(answers.chain(end));
    ([(CONTENT_TYPE, "application/x-ndjson")], body).into_response()
}

/// Cuts the body into groups of lines.
async fn read_groups(
    body: impl Stream<Item = Result<Bytes, axum::Error>>,
    groups: mpsc::Sender<Vec<Bytes>>,
) -> Result<(), Failure> {
    let mut body = std::pin::pin!(body);
    let mut rest = BytesMut::new();
    let mut group = Vec::new();
    while let Some(piece) = body.next().await {
        let piece = piece.map_err(|e| Failure::bad_request(format!("the body was cut: {e}")))?;
        rest.extend_from_slice(&piece);
        while let Some(end) = memchr::memchr(b'\n', &rest) {
            let line = rest.split_to(end + 1).freeze();
            if !line.trim_ascii().is_empty() {
                group.push(line);
            }
            if group.len() == GROUP && groups.send(std::mem::take(&mut group)).await.is_err() {
                return Ok(());
            }
        }
        if rest.len() > MAX_LINE {
            return Err(Failure::bad_request(format!(
                "a line may have at most {MAX_LINE} bytes"
            )));
        }
        // A client that sends slowly gets its answers all the same.
        if !group.is_empty() && groups.capacity() > 0 {
            let _ = groups.send(std::mem::take(&mut group)).await;
        }
    }
    if !rest.trim_ascii().is_empty() {
        group.push(rest.freeze());
    }
    if !group.is_empty() {
        let _ = groups.send(group).await;
    }
    Ok(())
}

async fn answer(desk: Desk, owner: Owner, group: Vec<Bytes>) -> Bytes {
    let now_s = desk.pins.now_ms() / 1000;
    let mut refused = Vec::with_capacity(group.len());
    let mut changes = Vec::with_capacity(group.len());
    for line in &group {
        let parsed = parse(line, now_s);
        match parsed.change {
            Ok(change) => {
                changes.push(change);
                refused.push((parsed.cid, None));
            }
            Err(failure) => refused.push((parsed.cid, Some(failure))),
        }
    }
    let made = desk.pins.change(&owner, changes).await;
    let mut made = made.map(Vec::into_iter);
    let mut out = Vec::with_capacity(group.len() * 180);
    for (cid, failure) in refused {
        let outcome = match (failure, &mut made) {
            (Some(failure), _) => Err(failure),
            (None, Err(error)) => Err(Failure::from(error.clone())),
            (None, Ok(answers)) => match answers.next() {
                Some(answer) => word(answer),
                None => Err(Failure::bad_request("no answer")),
            },
        };
        write_line(&mut out, &cid, outcome);
    }
    out.into()
}

fn parse(line: &[u8], now_s: u64) -> Parsed {
    let wrong = |e: serde_json::Error| Failure::bad_request(format!("not a line of JSON: {e}"));
    let head: Line<'_> = match serde_json::from_slice(line) {
        Ok(head) => head,
        Err(error) => {
            return Parsed {
                cid: String::new(),
                change: Err(wrong(error)),
            };
        }
    };
    let change = match head.action.as_deref() {
        None | Some("pin") => serde_json::from_slice::<PinBody>(line)
            .map_err(wrong)
            .and_then(|body| body.into_wish(now_s))
            .map(|(cid, wish)| Change::Add(cid, Box::new(wish))),
        Some("unpin") => read_cid(&head.cid).map(|cid| Change::Remove(cid, head.op_id)),
        Some(other) => Err(Failure::bad_request(format!(
            "action: pin or unpin expected, found {other:?}"
        ))),
    };
    Parsed {
        cid: head.cid.into_owned(),
        change,
    }
}

fn word(answer: ChangeAnswer) -> Result<Option<String>, Failure> {
    match answer {
        ChangeAnswer::Added(id) => Ok(Some(id.to_string())),
        ChangeAnswer::Removed => Ok(None),
        ChangeAnswer::Refused(error) => Err(Failure::from(error)),
    }
}

fn write_line(out: &mut Vec<u8>, cid: &str, outcome: Result<Option<String>, Failure>) {
    let line = match outcome {
        Ok(Some(id)) => json!({"cid": cid, "requestid": id, "status": "queued"}),
        Ok(None) => json!({"cid": cid, "status": "removed"}),
        Err(failure) => {
            let mut body = failure.body();
            if let Some(object) = body.as_object_mut() {
                object.insert("cid".to_owned(), cid.into());
            }
            body
        }
    };
    out.extend_from_slice(line.to_string().as_bytes());
    out.push(b'\n');
}

impl From<&PinsError> for Failure {
    fn from(error: &PinsError) -> Self {
        Self::from(error.clone())
    }
}
