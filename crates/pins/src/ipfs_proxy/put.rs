//! `block/put` and `dag/put`: what is put goes to the Kubo behind, and is pinned by the service if so asked.

use axum::extract::{Request, State};
use axum::response::Response;
use bytes::{Bytes, BytesMut};
use http::header::{CONTENT_LENGTH, CONTENT_TYPE};
use http::{HeaderValue, StatusCode};
use http_body_util::BodyExt;
use serde::Deserialize;
use tokio::sync::mpsc;
use ues_data::Cid;

use super::gate::{Operator, Writer};
use super::upstream::{self, Answer, Question};
use super::{Failure, Proxy};
use crate::auth::Caller;
use crate::cluster::failure::Failure as ClusterFailure;
use crate::cluster::lines::{self, Piece, Trailers};
use crate::cluster::query::Query;
use crate::model::PinOptions;

/// The longest line of Kubo's answer, in bytes.
const MAX_LINE: usize = 64 << 10;

/// `block/put`
pub(super) async fn block(
    State(proxy): State<Proxy>,
    _: Operator,
    Writer(caller): Writer,
    trailers: Trailers,
    query: Query,
    request: Request,
) -> Result<Response, Failure> {
    put(proxy, caller, trailers, &query, request).await
}

/// `dag/put`
pub(super) async fn dag(
    State(proxy): State<Proxy>,
    _: Operator,
    Writer(caller): Writer,
    trailers: Trailers,
    query: Query,
    request: Request,
) -> Result<Response, Failure> {
    put(proxy, caller, trailers, &query, request).await
}

async fn put(
    proxy: Proxy,
    caller: Caller,
    trailers: Trailers,
    query: &Query,
    request: Request,
) -> Result<Response, Failure> {
    let mut question = Question::of(request);
    if query.get("pin") != "true" {
        let answer = proxy.forward(question).await?;
        return Ok(upstream::streamed(answer, trailers));
    }
    // The service pins it, on the workers that it chooses.
    question.target = without_pin(&question.target, query);
    question.method = http::Method::POST;
    let answer = proxy.forward(question).await?;
    if answer.status() != StatusCode::OK {
        return Ok(upstream::streamed(answer, trailers));
    }
    let (send, pieces) = mpsc::channel(1);
    tokio::spawn(async move {
        if let Err(failure) = pin_lines(&proxy, &caller, answer, &send).await {
            let failure = ClusterFailure::new(failure.status, failure.message);
            let _ = send.send(Err(failure)).await;
        }
    });
    let mut response = Response::new(lines::body(trailers, Bytes::new(), pieces));
    let json = HeaderValue::from_static("application/json");
    response.headers_mut().insert(CONTENT_TYPE, json);
    response.headers_mut().remove(CONTENT_LENGTH);
    Ok(response)
}

fn without_pin(target: &str, query: &Query) -> String {
    let path = target.split('?').next().unwrap_or_default();
    let kept = query.0.iter().filter(|(name, _)| name != "pin");
    let query = form_urlencoded::Serializer::new(String::new())
        .extend_pairs(kept)
        .append_pair("pin", "false")
        .finish();
    format!("{path}?{query}")
}

/// Pins what each line names, and hands the line on once it is pinned.
async fn pin_lines(
    proxy: &Proxy,
    caller: &Caller,
    answer: Answer,
    send: &mpsc::Sender<Piece>,
) -> Result<(), Failure> {
    let mut body = answer.into_body();
    let mut rest = BytesMut::new();
    while let Some(frame) = body.frame().await {
        let frame =
            frame.map_err(|why| Failure::internal(format!("Kubo's answer was cut: {why}")))?;
        if let Some(why) = upstream::told(&frame) {
            return Err(Failure::internal(why));
        }
        let Ok(data) = frame.into_data() else {
            continue;
        };
        rest.extend_from_slice(&data);
        while let Some(end) = memchr::memchr(b'\n', &rest) {
            let line = rest.split_to(end + 1).freeze();
            pin_line(proxy, caller, line, send).await?;
        }
        if rest.len() > MAX_LINE {
            return Err(Failure::internal("Kubo's answer has an endless line"));
        }
    }
    pin_line(proxy, caller, rest.freeze(), send).await
}

async fn pin_line(
    proxy: &Proxy,
    caller: &Caller,
    line: Bytes,
    send: &mpsc::Sender<Piece>,
) -> Result<(), Failure> {
    if line.trim_ascii().is_empty() {
        return Ok(());
    }
    let cid = stored(&line)?;
    proxy.desk.pin(caller, cid, PinOptions::default()).await?;
    // A client that went away has its content pinned all the same.
    let _ = send.send(Ok(line)).await;
    Ok(())
}

/// What a line of `block/put` or `dag/put` names.
fn stored(line: &[u8]) -> Result<Cid, Failure> {
    #[derive(Deserialize)]
    struct Link {
        #[serde(rename = "/")]
        cid: String,
    }
    #[derive(Deserialize)]
    struct Line {
        #[serde(rename = "Key")]
        key: Option<String>,
        #[serde(rename = "Cid")]
        cid: Option<Link>,
    }
    let garbage = |why: String| Failure::internal(format!("Kubo's answer cannot be read: {why}"));
    let line: Line = serde_json::from_slice(line).map_err(|why| garbage(why.to_string()))?;
    let text = line.key.or(line.cid.map(|link| link.cid));
    let text = text.ok_or_else(|| garbage("it names no CID".to_owned()))?;
    ues_data::parse_cid(&text).map_err(|why| garbage(why.to_string()))
}
