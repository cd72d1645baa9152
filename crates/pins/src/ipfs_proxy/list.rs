//! `pin/ls`.

use axum::extract::State;
use axum::response::{IntoResponse, Response};
use bytes::Bytes;
use http::header::{CONTENT_TYPE, TRAILER};
use tokio::sync::mpsc;

use super::gate::Reader;
use super::path::Args;
use super::{Failure, Proxy};
use crate::cluster::lines::{self, Piece, Trailers};
use crate::cluster::pen;
use crate::model::{Pin, PinMode};

/// Which pins are shown.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Filter {
    All,
    Only(PinMode),
    /// Only what is part of another pin, of which nothing is known here.
    Indirect,
}

impl Filter {
    fn read(word: &str) -> Result<Self, Failure> {
        match word {
            "" | "all" => Ok(Self::All),
            "recursive" => Ok(Self::Only(PinMode::Recursive)),
            "direct" => Ok(Self::Only(PinMode::Direct)),
            "indirect" => Ok(Self::Indirect),
            other => Err(Failure::internal(format!(
                "invalid type '{other}', must be one of {{direct, indirect, recursive, all}}"
            ))),
        }
    }

    fn shows(self, pin: &Pin) -> bool {
        match self {
            Self::All => true,
            Self::Only(mode) => pin.options.mode == mode,
            Self::Indirect => false,
        }
    }
}

/// How pins are written.
#[derive(Clone, Copy, Debug)]
struct Form {
    /// An object a line, rather than all in one.
    stream: bool,
    /// With their names.
    names: bool,
}

impl Form {
    fn write(self, out: &mut Vec<u8>, pin: &Pin) {
        if self.stream {
            out.extend_from_slice(b"{\"Cid\":\"");
        } else {
            out.extend_from_slice(b",\"");
        }
        out.extend_from_slice(pin.cid.to_string().as_bytes());
        out.extend_from_slice(if self.stream { b"\"," } else { b"\":{" });
        if self.names {
            out.extend_from_slice(b"\"Name\":");
            pen::text(out, &pin.options.name);
            out.push(b',');
        }
        out.extend_from_slice(b"\"Type\":\"");
        out.extend_from_slice(pin.options.mode.name().as_bytes());
        out.extend_from_slice(if self.stream { b"\"}\n" } else { b"\"}" });
    }
}

/// `pin/ls`
pub(super) async fn list(
    State(proxy): State<Proxy>,
    Reader(caller): Reader,
    trailers: Trailers,
    args: Args,
) -> Result<Response, Failure> {
    let filter = Filter::read(args.query.get("type"))?;
    let form = Form {
        stream: args.is("stream", "true") || args.is("s", "true"),
        names: args.is("names", "true") || args.is("n", "true"),
    };
    let pieces = if args.all().is_empty() {
        lines::write(proxy.desk.records(&caller), move |out, record| {
            let pin = record.wanted.as_ref().map(|wanted| &wanted.pin);
            if let Some(pin) = pin.filter(|pin| filter.shows(pin)) {
                form.write(out, pin);
            }
        })
    } else {
        let mut out = Vec::new();
        for arg in args.required("ipfs-path")? {
            let cid = proxy.resolve(arg).await?;
            let record = proxy.desk.record(&caller, &cid).await?;
            let pin = record.wanted.map(|wanted| wanted.pin);
            let pin = pin
                .filter(|pin| filter.shows(pin))
                .ok_or_else(|| Failure::internal(format!("Error: path '{arg}' is not pinned")))?;
            form.write(&mut out, &pin);
        }
        one(out.into())
    };
    let pieces = if form.stream { pieces } else { keyed(pieces) };
    Ok(answer(trailers, pieces))
}

fn answer(trailers: Trailers, pieces: mpsc::Receiver<Piece>) -> Response {
    let headers = [
        (CONTENT_TYPE, "application/json"),
        (TRAILER, "X-Stream-Error"),
    ];
    (headers, lines::body(trailers, Bytes::new(), pieces)).into_response()
}

/// A single piece.
fn one(piece: Bytes) -> mpsc::Receiver<Piece> {
    let (send, receive) = mpsc::channel(1);
    // There is room for it.
    let _ = send.try_send(Ok(piece));
    receive
}

/// Entries that begin with a comma each, as one object, which is whole only if nothing fails.
fn keyed(mut entries: mpsc::Receiver<Piece>) -> mpsc::Receiver<Piece> {
    let (send, receive) = mpsc::channel(1);
    tokio::spawn(async move {
        let mut piece = Ok(Bytes::from_static(b"{\"Keys\":{"));
        let mut first = true;
        loop {
            let failed = piece.is_err();
            if send.send(piece).await.is_err() || failed {
                return;
            }
            piece = match entries.recv().await {
                Some(Ok(mut entries)) => {
                    if first && !entries.is_empty() {
                        first = false;
                        bytes::Buf::advance(&mut entries, 1);
                    }
                    Ok(entries)
                }
                Some(Err(failure)) => Err(failure),
                None => break,
            };
        }
        let _ = send.send(Ok(Bytes::from_static(b"}}\n"))).await;
    });
    receive
}
