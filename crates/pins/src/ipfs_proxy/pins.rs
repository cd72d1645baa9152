//! `pin/add`, `pin/rm` and `pin/update`.

use axum::Json;
use axum::extract::State;
use axum::response::{IntoResponse, Response};
use serde_json::json;
use ues_data::Cid;

use super::gate::Writer;
use super::path::Args;
use super::{Failure, Proxy};
use crate::model::{PinMode, PinOptions};

/// What Kubo answers: the pins that it is about.
fn pins(cids: &[Cid]) -> Response {
    let cids: Vec<String> = cids.iter().map(ToString::to_string).collect();
    Json(json!({ "Pins": cids })).into_response()
}

/// `pin/add`. Options of the Pinning interfaces (`replication`, `expire-in`, `meta-…`) are taken as well.
pub(super) async fn add(
    State(proxy): State<Proxy>,
    Writer(caller): Writer,
    args: Args,
) -> Result<Response, Failure> {
    let direct = args.is("type", "direct") || args.is("recursive", "false");
    let now_s = proxy.desk.pins.now_ms() / 1000;
    let mut options = PinOptions::from_query(&args.query.0, now_s)
        .map_err(|why| Failure::bad_request(why.to_string()))?;
    if direct {
        options.mode = PinMode::Direct;
    }
    let mut cids = Vec::new();
    for arg in args.required("ipfs-path")? {
        cids.push(proxy.resolve(arg).await?);
    }
    for cid in &cids {
        proxy.desk.pin(&caller, *cid, options.clone()).await?;
    }
    Ok(pins(&cids))
}

/// `pin/rm`
pub(super) async fn remove(
    State(proxy): State<Proxy>,
    Writer(caller): Writer,
    args: Args,
) -> Result<Response, Failure> {
    let mut cids = Vec::new();
    for arg in args.required("ipfs-path")? {
        cids.push(proxy.resolve(arg).await?);
    }
    for cid in &cids {
        let record = proxy.desk.pins.record(cid).await?;
        proxy.desk.remove(&caller, &record).await?;
    }
    Ok(pins(&cids))
}

/// `pin/update`
pub(super) async fn update(
    State(proxy): State<Proxy>,
    Writer(caller): Writer,
    args: Args,
) -> Result<Response, Failure> {
    let (from, to) = (args.at(0, "from-path")?, args.at(1, "to-path")?);
    let from = proxy.resolve(from).await?;
    let to = proxy.resolve(to).await?;
    let options = PinOptions {
        pin_update: Some(from),
        ..PinOptions::default()
    };
    proxy.desk.pin(&caller, to, options).await?;
    if !args.is("unpin", "false") && from != to {
        let record = proxy.desk.pins.record(&from).await?;
        proxy.desk.remove(&caller, &record).await?;
    }
    Ok(pins(&[from, to]))
}
