//! `GET /pins/watch`: changes as they happen, lines of JSON, without end. `?cid=` names the CIDs that matter; an
//! owner hears of pins of their own only, an operator of all.

use axum::body::Body;
use axum::extract::{Query, State};
use axum::response::{IntoResponse, Response};
use bytes::Bytes;
use http::header::CONTENT_TYPE;
use serde::Deserialize;
use serde_json::json;
use tokio::sync::broadcast::error::RecvError;
use tokio::sync::mpsc;
use ues_data::Cid;

use super::wire::read_cid;
use super::{Desk, Failure, Reader};
use crate::auth::Caller;
use crate::event::{PinEvent, state_word};
use crate::model::GoTime;
use crate::service::Pins;

/// Lines that wait for a slow watcher before it misses some.
const LINES: usize = 256;
/// Silence after which an empty line is sent, so that a broken connection is noticed.
const SILENCE: std::time::Duration = std::time::Duration::from_secs(15);

#[derive(Deserialize)]
pub(super) struct Params {
    cid: Option<String>,
}

/// `GET /pins/watch`
pub(super) async fn watch(
    State(desk): State<Desk>,
    Reader(caller): Reader,
    Query(params): Query<Params>,
) -> Result<Response, Failure> {
    let cids: Vec<Cid> = match &params.cid {
        Some(list) => list.split(',').map(read_cid).collect::<Result<_, _>>()?,
        None => Vec::new(),
    };
    let (send, receive) = mpsc::channel(LINES);
    tokio::spawn(follow(desk, caller, cids, send));
    let lines = futures::stream::unfold(receive, |mut receive| async {
        let line: Bytes = receive.recv().await?;
        Some((Ok::<_, std::convert::Infallible>(line), receive))
    });
    let body = Body::from_stream(lines);
    Ok(([(CONTENT_TYPE, "application/x-ndjson")], body).into_response())
}

async fn follow(desk: Desk, caller: Caller, cids: Vec<Cid>, lines: mpsc::Sender<Bytes>) {
    let mut events = desk.pins.watch();
    loop {
        let event = tokio::select! {
            () = lines.closed() => return,
            event = events.recv() => Some(event),
            () = tokio::time::sleep(SILENCE) => None,
        };
        let line = match event {
            None => Bytes::from_static(b"\n"),
            Some(Err(RecvError::Closed)) => return,
            Some(Err(RecvError::Lagged(missed))) => {
                format!("{}\n", json!({"missed": missed})).into()
            }
            Some(Ok(event)) => {
                if (!cids.is_empty() && !cids.contains(&event.cid))
                    || !concerns(&desk.pins, &caller, &event).await
                {
                    continue;
                }
                format!("{}\n", line(&event)).into()
            }
        };
        if lines.send(line).await.is_err() {
            return;
        }
    }
}

/// Whether a caller may hear of an event.
pub(crate) async fn concerns(pins: &Pins, caller: &Caller, event: &PinEvent) -> bool {
    if caller.operates {
        return true;
    }
    let request = pins.store().request(&caller.owner, &event.cid).await;
    matches!(request, Ok(Some(_)))
}

fn line(event: &PinEvent) -> serde_json::Value {
    let state = event
        .state
        .map_or("unpinned", |state| state_word(event.desired, state));
    let mut line = json!({
        "cid": event.cid.to_string(),
        "worker": event.peer.to_string(),
        "state": state,
        "at": GoTime::from_millis(event.at_ms).to_string(),
    });
    if !event.error.is_empty()
        && let Some(object) = line.as_object_mut()
    {
        object.insert("error".to_owned(), event.error.clone().into());
    }
    line
}
