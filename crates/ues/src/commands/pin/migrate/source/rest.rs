//! `GET /allocations` of an IPFS-Cluster.

use std::time::Duration;

use axum::body::Bytes;
use futures::StreamExt;
use futures::stream;
use http_body_util::BodyExt;
use reqwest::redirect::Policy;
use reqwest::{Response, StatusCode, Url};
use ues_repo::identity::resolver::http_client_builder;

use super::Pieces;
use crate::failure::{Failure, Outcome};

/// Longest time for a connection.
const CONNECT: Duration = Duration::from_secs(30);
/// Longest time between two pieces: a cluster with many pins begins slowly.
const PAUSE: Duration = Duration::from_secs(600);
/// How much is read of an answer that is a failure, in bytes.
const MAX_FAILURE: usize = 4096;
/// The trailer by which a cluster tells of a failure in the middle of an answer.
const STREAM_ERROR: &str = "x-stream-error";

/// All pins of a cluster as it writes them.
pub(super) async fn allocations(url: &Url, user: Option<&str>) -> Outcome<Pieces> {
    let mut url = url.clone();
    let path = format!("{}/allocations", url.path().trim_end_matches('/'));
    url.set_path(&path);
    url.set_query(Some("filter=all"));
    let shown = url.origin().ascii_serialization();
    let unreachable = |why: reqwest::Error| {
        let why = why.without_url();
        Failure::unavailable(format!(
            "the cluster at {shown} does not answer: {}",
            chain(&why)
        ))
    };
    let client = http_client_builder()
        .connect_timeout(CONNECT)
        .read_timeout(PAUSE)
        .redirect(Policy::none())
        .build()
        .map_err(unreachable)?;
    // `TE` asks for the trailer, in which a failure in the middle is told.
    let mut request = client.get(url).header("te", "trailers");
    if let Some(user) = user {
        let (name, password) = user
            .split_once(':')
            .ok_or_else(|| Failure::usage("--user: NAME:PASSWORD expected"))?;
        request = request.basic_auth(name, Some(password));
    }
    let response = request.send().await.map_err(unreachable)?;
    match response.status() {
        StatusCode::OK => Ok(body(response, shown)),
        StatusCode::NO_CONTENT => Ok(stream::empty().boxed()),
        status => Err(refusal(response, status, &shown).await),
    }
}

/// The body; a failure that its trailer tells is one of the stream.
fn body(response: Response, shown: String) -> Pieces {
    let body = http::Response::<reqwest::Body>::from(response).into_body();
    let state = Some((body, shown));
    stream::unfold(state, |state| async move {
        let (mut body, shown) = state?;
        loop {
            let failed = match body.frame().await? {
                Err(why) => format!("the cluster at {shown} broke off: {}", chain(&why)),
                Ok(frame) => match frame.into_data() {
                    Ok(data) => return Some((Ok(data), Some((body, shown)))),
                    Err(frame) => match told(&frame) {
                        Some(why) => format!("the cluster at {shown} failed in the middle: {why}"),
                        None => continue,
                    },
                },
            };
            return Some((Err(Failure::failed(failed)), None));
        }
    })
    .boxed()
}

/// The failure that a trailer tells.
fn told(frame: &http_body::Frame<Bytes>) -> Option<String> {
    let value = frame.trailers_ref()?.get(STREAM_ERROR)?;
    let text = String::from_utf8_lossy(value.as_bytes()).trim().to_owned();
    (!text.is_empty()).then_some(text)
}

async fn refusal(mut response: Response, status: StatusCode, shown: &str) -> Failure {
    let mut text = Vec::new();
    while let Ok(Some(piece)) = response.chunk().await {
        text.extend_from_slice(&piece);
        if text.len() > MAX_FAILURE {
            text.truncate(MAX_FAILURE);
            break;
        }
    }
    let said: serde_json::Value = serde_json::from_slice(&text).unwrap_or_default();
    let said = said["message"].as_str().unwrap_or_default().to_owned();
    let failure = Failure::failed(format!("the cluster at {shown} answers {status} {said}"));
    match status {
        StatusCode::UNAUTHORIZED => {
            failure.hint("--user NAME:PASSWORD or UES_CLUSTER_USER says who you are to it")
        }
        _ => failure,
    }
}

/// An error with its causes.
fn chain(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut source = error.source();
    while let Some(cause) = source {
        text.push_str(": ");
        text.push_str(&cause.to_string());
        source = cause.source();
    }
    text
}
