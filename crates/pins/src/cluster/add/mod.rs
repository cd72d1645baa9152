//! `POST /add`: content comes in, becomes a DAG and is pinned.

mod multipart;
mod params;
mod parts;

use std::sync::Arc;

use axum::body::Body;
use axum::extract::State;
use axum::response::{IntoResponse, Response};
use bytes::Bytes;
use futures::StreamExt;
use futures::stream::{self, BoxStream};
use http::header::{CACHE_CONTROL, CONNECTION, CONTENT_TYPE};
use http::{HeaderMap, HeaderName, HeaderValue, StatusCode};
use tokio::sync::mpsc;
use ues_data::Cid;

use super::lines::{self, Trailers};
use super::query::Query;
use super::{Desk, Failure, Writer, pen};
use crate::auth::Caller;
use crate::intake::{Added, Intake, IntakeError};
use crate::model::json::AddedOutput;
use crate::model::{PinMode, PinOptions};
use multipart::Multipart;
use params::{Call, Format};

/// Most bytes of answers that are gathered for a client that wants them in one list.
const MAX_LIST: usize = 64 << 20;

impl From<IntakeError> for Failure {
    fn from(error: IntakeError) -> Self {
        match error {
            IntakeError::Invalid(why) => Self::bad_request(why),
            IntakeError::Failed(why) => {
                tracing::error!(error = %why, "content could not be taken in");
                Self::internal(why)
            }
        }
    }
}

/// `POST /add`
pub(super) async fn add(
    State(desk): State<Desk>,
    Writer(caller): Writer,
    trailers: Trailers,
    query: Query,
    headers: HeaderMap,
    body: Body,
) -> Result<Response, Failure> {
    take_in(desk, caller, trailers, &query, &headers, body, line).await
}

/// Takes in what a body holds and pins it. `line` writes what is told of each file.
pub(crate) async fn take_in(
    desk: Desk,
    caller: Caller,
    trailers: Trailers,
    query: &Query,
    headers: &HeaderMap,
    body: Body,
    line: Line,
) -> Result<Response, Failure> {
    let content_type = headers.get(CONTENT_TYPE).and_then(|t| t.to_str().ok());
    let boundary = content_type
        .and_then(multipart::boundary)
        .ok_or_else(|| Failure::bad_request("request Content-Type isn't multipart/form-data"))?;
    let options = PinOptions::from_query(&query.0, desk.pins.now_ms() / 1000)
        .map_err(|why| Failure::bad_request(why.to_string()))?;
    let call = Call::read(query)?;
    let Some(intake) = desk.intake.clone() else {
        return Err(Failure::new(
            StatusCode::NOT_IMPLEMENTED,
            "this node has no store for blocks, so nothing can be added to it: add the content to an IPFS node and \
             pin its CID here",
        ));
    };
    let cut = |error| IntakeError::Invalid(format!("the body was cut: {error}"));
    let body = body.into_data_stream().map(move |piece| piece.map_err(cut));
    let body = Multipart::new(body.boxed(), &boundary);
    let added = match call.format {
        Format::UnixFs => intake.add(parts::parts(body), call.params.clone()),
        Format::Car if call.params.wrap => {
            return Err(Failure::bad_request("cannot wrap a CAR file upload"));
        }
        Format::Car => import(intake, body),
    };
    let (send, pieces) = mpsc::channel(4);
    let list = !call.stream;
    let taking = Taking {
        desk,
        caller,
        call,
        line,
    };
    tokio::spawn(async move {
        if let Err(failure) = taking.run(options, added, &send).await {
            let _ = send.send(Err(failure)).await;
        }
    });
    let mut response = match list {
        true => gathered(pieces).await?,
        false => streamed(trailers, pieces).await?,
    };
    let no_cache = HeaderValue::from_static("no-cache");
    response.headers_mut().insert(CACHE_CONTROL, no_cache);
    let close = HeaderValue::from_static("close");
    response.headers_mut().insert(CONNECTION, close);
    Ok(response)
}

/// Takes an archive in.
fn import(
    intake: Arc<dyn Intake>,
    body: Multipart,
) -> BoxStream<'static, Result<Added, IntakeError>> {
    let imported = async move {
        let (name, content) = parts::first_file(body).await?;
        let roots = intake.import_car(content).await?;
        match roots[..] {
            [root] => Ok(Added {
                name,
                cid: Some(root),
                ..Added::default()
            }),
            _ => Err(IntakeError::Invalid(
                "only CAR files with a single root are supported".to_owned(),
            )),
        }
    };
    stream::once(imported).boxed()
}

/// Writes what is told of a file or folder, and the end of the line.
pub(crate) type Line = fn(Added) -> Bytes;

/// Content that comes in.
struct Taking {
    desk: Desk,
    caller: Caller,
    call: Call,
    line: Line,
}

impl Taking {
    /// Hands on what was added as lines, and pins the root before its line is handed on: whoever has read it may rely
    /// on it.
    async fn run(
        &self,
        options: PinOptions,
        mut added: BoxStream<'static, Result<Added, IntakeError>>,
        pieces: &mpsc::Sender<lines::Piece>,
    ) -> Result<(), Failure> {
        let mut last: Option<Added> = None;
        while let Some(item) = added.next().await {
            let item = item?;
            let ready = match item.cid {
                // What is on its way may be told at once.
                None => Some(item),
                Some(_) => last.replace(item),
            };
            if let Some(ready) = ready
                && pieces.send(Ok((self.line)(ready))).await.is_err()
            {
                return Ok(());
            }
        }
        let Some(root) = last else {
            let why = "nothing was sent that could be added";
            return Err(Failure::bad_request(why));
        };
        if let Some(cid) = root.cid
            && !self.call.no_pin
        {
            self.pin(cid, options).await?;
        }
        let _ = pieces.send(Ok((self.line)(root))).await;
        Ok(())
    }

    /// All of it was added, so all of it is kept; and it does not replace anything.
    async fn pin(&self, root: Cid, mut options: PinOptions) -> Result<(), Failure> {
        options.mode = PinMode::Recursive;
        options.pin_update = None;
        if self.call.params.local && options.user_allocations.is_empty() {
            let local = self.desk.local(&*self.desk.fleet().await?);
            options.user_allocations.extend(local);
        }
        self.desk.pin(&self.caller, root, options).await.map(drop)
    }
}

fn line(added: Added) -> Bytes {
    let mut out = Vec::with_capacity(256);
    let output = AddedOutput {
        name: added.name,
        cid: added.cid,
        bytes: added.bytes,
        size: added.size,
        allocations: Vec::new(),
    };
    pen::json(&mut out, &output);
    out.push(b'\n');
    out.into()
}

/// Answers one by one. What fails before the first is answered with its status.
async fn streamed(
    trailers: Trailers,
    mut pieces: mpsc::Receiver<lines::Piece>,
) -> Result<Response, Failure> {
    let first = pieces.recv().await.unwrap_or_else(|| Ok(Bytes::new()))?;
    let headers = [
        (CONTENT_TYPE, HeaderValue::from_static("application/json")),
        (
            HeaderName::from_static("x-chunked-output"),
            HeaderValue::from_static("1"),
        ),
        (
            HeaderName::from_static("trailer"),
            HeaderValue::from_static("X-Stream-Error"),
        ),
    ];
    Ok((headers, lines::body(trailers, first, pieces)).into_response())
}

/// All answers as one list.
async fn gathered(mut pieces: mpsc::Receiver<lines::Piece>) -> Result<Response, Failure> {
    let mut out = b"[".to_vec();
    while let Some(piece) = pieces.recv().await {
        if out.len() > 1 {
            out.push(b',');
        }
        out.extend_from_slice(piece?.trim_ascii_end());
        if out.len() > MAX_LIST {
            return Err(Failure::bad_request(
                "too much was added to name it in one list: leave stream-channels=false out",
            ));
        }
    }
    out.extend_from_slice(b"]\n");
    Ok(super::lists::json(out))
}
