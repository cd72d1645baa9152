//! Taking content into a Kubo: files by its `add`, archives by its `dag/import`. Nothing is pinned by that; a collection
//! of Kubo may take away what is not pinned soon after.

use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use bytes::Bytes;
use futures::stream::{self, BoxStream};
use futures::{Stream, StreamExt};
use parking_lot::Mutex;
use serde::Deserialize;
use tokio::time::timeout;
use ues_data::Cid;
use ues_data::car::{CarDecoder, CarError, CarLimits};
use ues_pins::intake::{AddParams, Added, Intake, IntakeError, Layout, Part};

use super::KuboBackend;
use super::failure::RpcError;
use super::lines::Lines;
use super::multipart::{Form, PartHead};
use super::rpc::read;

/// Longest time between two answers to an upload that has been sent: Kubo writes what it has taken to its disk.
const SETTLE: Duration = Duration::from_secs(600);

/// What becomes of an upload: the failure of its source, which explains all that follows.
type Broken = Arc<Mutex<Option<IntakeError>>>;

/// A line of Kubo's `add`.
#[derive(Deserialize)]
#[serde(rename_all = "PascalCase", default)]
#[derive(Default)]
struct AddLine {
    name: String,
    hash: String,
    bytes: u64,
    size: String,
}

#[async_trait]
impl Intake for KuboBackend {
    fn add(
        &self,
        parts: BoxStream<'static, Result<Part, IntakeError>>,
        params: AddParams,
    ) -> BoxStream<'static, Result<Added, IntakeError>> {
        if params.no_copy {
            let why = "nocopy: content is stored, and cannot be left where it is";
            return stream::once(async { Err(IntakeError::Invalid(why.to_owned())) }).boxed();
        }
        let broken = Broken::default();
        let body = Form::encode(files(parts, Arc::clone(&broken)));
        let rpc = Arc::clone(&self.rpc);
        let call = async move {
            let query = add_query(&params);
            let query: Vec<(&str, &str)> = query.iter().map(|(k, v)| (*k, v.as_str())).collect();
            let sent = rpc.upload("add", &query, body).await;
            answers(sent, broken)
        };
        stream::once(call).flatten().boxed()
    }

    async fn import_car(
        &self,
        car: BoxStream<'static, Result<Bytes, IntakeError>>,
    ) -> Result<Vec<Cid>, IntakeError> {
        let broken = Broken::default();
        let roots = Arc::new(Mutex::new(Vec::new()));
        let checked = checked(car, Arc::clone(&roots), Arc::clone(&broken));
        let head = stream::once(async { Ok(PartHead::file("archive.car").into()) });
        let body = Form::encode(head.chain(checked.map(|piece| piece.map(Into::into))));
        // Without pinning Kubo names no roots, so they are read on the way.
        let query = [("pin-roots", "false"), ("silent", "true")];
        let told = async {
            let mut lines = self.rpc.upload("dag/import", &query, body).await?;
            while next(&mut lines).await?.is_some() {}
            Ok::<_, RpcError>(())
        };
        let told = told.await;
        if let Some(error) = broken.lock().take() {
            return Err(error);
        }
        told.map_err(explain)?;
        let roots = std::mem::take(&mut *roots.lock());
        Ok(roots)
    }
}

fn add_query(params: &AddParams) -> Vec<(&'static str, String)> {
    // Nobody says whether 0 was asked for or is the default; Kubo itself takes 1 by default with another hash.
    let cid_version = match params.hash.as_str() {
        "sha2-256" => params.cid_version,
        _ => params.cid_version.max(1),
    };
    vec![
        ("pin", "false".to_owned()),
        ("stream-channels", "true".to_owned()),
        ("chunker", params.chunker.clone()),
        ("raw-leaves", params.raw_leaves.to_string()),
        ("cid-version", cid_version.to_string()),
        ("hash", params.hash.clone()),
        ("trickle", (params.layout == Layout::Trickle).to_string()),
        ("wrap-with-directory", params.wrap.to_string()),
        ("progress", params.progress.to_string()),
    ]
}

/// What Kubo answers, line by line, up to the first failure.
fn answers(
    sent: Result<Lines, RpcError>,
    broken: Broken,
) -> impl Stream<Item = Result<Added, IntakeError>> + Send {
    let state = Some(sent);
    stream::unfold((state, broken), |(state, broken)| async move {
        let item = match state? {
            Err(error) => Err(error),
            Ok(mut lines) => match next(&mut lines).await {
                Ok(Some(line)) => match added(&line) {
                    Ok(added) => return Some((Ok(added), (Some(Ok(lines)), broken))),
                    Err(error) => Err(error),
                },
                Ok(None) => {
                    let error = broken.lock().take()?;
                    return Some((Err(error), (None, broken)));
                }
                Err(error) => Err(error),
            },
        };
        let item = item.map_err(|error: RpcError| {
            let source = broken.lock().take();
            source.unwrap_or_else(|| explain(error))
        });
        Some((item, (None, broken)))
    })
}

async fn next(lines: &mut Lines) -> Result<Option<Bytes>, RpcError> {
    let line = timeout(SETTLE, lines.next()).await;
    line.unwrap_or(Err(RpcError::Slow(SETTLE)))
}

fn added(line: &[u8]) -> Result<Added, RpcError> {
    let line: AddLine = read(line)?;
    let cid = match line.hash.as_str() {
        "" => None,
        text => {
            let cid = ues_data::parse_cid(text);
            Some(cid.map_err(|why| RpcError::Garbage(format!("CID {text:?}: {why}")))?)
        }
    };
    Ok(Added {
        name: line.name,
        cid,
        bytes: line.bytes,
        size: line.size.parse().unwrap_or(0),
    })
}

fn explain(error: RpcError) -> IntakeError {
    if error.is_hopeless() {
        IntakeError::Invalid(error.to_string())
    } else {
        IntakeError::Failed(error.to_string())
    }
}

/// Files as Kubo's clients send them.
fn files(
    parts: BoxStream<'static, Result<Part, IntakeError>>,
    broken: Broken,
) -> impl Stream<Item = Result<Form, std::io::Error>> + Send {
    parts.flat_map(move |part| {
        let pieces = match part {
            Ok(Part::Folder { path }) => vec![Ok(PartHead::folder(&path).into())],
            Ok(Part::File { path }) => vec![Ok(PartHead::file(&path).into())],
            Ok(Part::Data(data)) => vec![Ok(data.into())],
            Ok(Part::Link { path, target }) => vec![
                Ok(PartHead::link(&path).into()),
                Ok(Bytes::from(target).into()),
            ],
            Err(error) => vec![Err(break_off(&broken, error))],
        };
        stream::iter(pieces)
    })
}

/// Keeps the failure of the source; what breaks off the upload only says that there was one.
fn break_off(broken: &Broken, error: IntakeError) -> std::io::Error {
    let told = std::io::Error::other(error.to_string());
    broken.lock().get_or_insert(error);
    told
}

/// An archive on its way, each of its blocks checked before the piece with its end is handed on.
fn checked(
    car: BoxStream<'static, Result<Bytes, IntakeError>>,
    roots: Arc<Mutex<Vec<Cid>>>,
    broken: Broken,
) -> impl Stream<Item = Result<Bytes, std::io::Error>> + Send {
    let state = Some((car, CarDecoder::new(CarLimits::default())));
    stream::unfold(state, move |state| {
        let (roots, broken) = (Arc::clone(&roots), Arc::clone(&broken));
        async move {
            let (mut car, mut decoder) = state?;
            let piece = car.next().await;
            let checked = check(&mut decoder, piece, &roots);
            match checked {
                Ok(Some(piece)) => Some((Ok(piece), Some((car, decoder)))),
                Ok(None) => None,
                Err(error) => Some((Err(break_off(&broken, error)), None)),
            }
        }
    })
}

fn check(
    decoder: &mut CarDecoder,
    piece: Option<Result<Bytes, IntakeError>>,
    roots: &Mutex<Vec<Cid>>,
) -> Result<Option<Bytes>, IntakeError> {
    let damaged =
        |error: CarError| IntakeError::Invalid(format!("the archive cannot be read: {error}"));
    let Some(piece) = piece.transpose()? else {
        decoder.finish().map_err(damaged)?;
        let header = decoder.header().map_err(damaged)?;
        *roots.lock() = header.map(|h| h.roots.clone()).unwrap_or_default();
        return Ok(None);
    };
    decoder.feed(piece.clone());
    while decoder.next().map_err(damaged)?.is_some() {}
    Ok(Some(piece))
}
