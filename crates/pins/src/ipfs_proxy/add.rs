//! `add`: content is stored and pinned, in Kubo's words.

use axum::body::Body;
use axum::extract::State;
use axum::response::Response;
use bytes::Bytes;
use http::HeaderMap;
use serde::Serialize;

use super::gate::Writer;
use super::path::Args;
use super::{Failure, Proxy};
use crate::cluster::add::take_in;
use crate::cluster::lines::Trailers;
use crate::cluster::pen;
use crate::intake::Added;

/// A line of Kubo's answer.
#[derive(Serialize)]
#[serde(rename_all = "PascalCase")]
struct Line {
    name: String,
    #[serde(skip_serializing_if = "String::is_empty")]
    hash: String,
    #[serde(skip_serializing_if = "is_zero")]
    bytes: u64,
    #[serde(skip_serializing_if = "Option::is_none")]
    size: Option<String>,
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "serde calls it so")]
fn is_zero(number: &u64) -> bool {
    *number == 0
}

/// `add`
pub(super) async fn add(
    State(proxy): State<Proxy>,
    Writer(caller): Writer,
    trailers: Trailers,
    headers: HeaderMap,
    args: Args,
    body: Body,
) -> Result<Response, Failure> {
    for name in ["only-hash", "n"] {
        if args.is(name, "true") {
            let why = "only-hash is not supported when adding to cluster";
            return Err(Failure::internal(why));
        }
    }
    // Where Kubo and IPFS-Cluster have different names for the same.
    let mut query = args.query;
    for (name, word, meant, value) in [
        ("trickle", "true", "layout", "trickle"),
        ("pin", "false", "no-pin", "true"),
    ] {
        if query.get(name) == word {
            query.0.insert(0, (meant.to_owned(), value.to_owned()));
        }
    }
    if !query.get("pin-name").is_empty() {
        let name = query.get("pin-name").to_owned();
        query.0.insert(0, ("name".to_owned(), name));
    }
    let taken = take_in(proxy.desk, caller, trailers, &query, &headers, body, line);
    Ok(taken.await?)
}

fn line(added: Added) -> Bytes {
    let line = Line {
        name: added.name,
        hash: added.cid.map(|cid| cid.to_string()).unwrap_or_default(),
        bytes: added.bytes,
        size: (added.size > 0).then(|| added.size.to_string()),
    };
    let mut out = Vec::with_capacity(128);
    pen::json(&mut out, &line);
    out.push(b'\n');
    out.into()
}
