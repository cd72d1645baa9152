//! `repo/stat` and `repo/gc`; `version` where no Kubo answers it.

use axum::Json;
use axum::extract::{Request, State};
use axum::response::{IntoResponse, Response};
use serde_json::json;

use super::gate::{Operator, Reader};
use super::upstream::{self, Question};
use super::{Failure, Proxy};
use crate::cluster::lines::Trailers;
use crate::model::json::IpfsRepoStat;

/// The version of Kubo whose RPC is spoken.
const RPC_VERSION: &str = "0.40.1";

/// `repo/stat`: the sum of what all workers tell.
pub(super) async fn stat(
    State(proxy): State<Proxy>,
    Reader(_): Reader,
) -> Result<Json<IpfsRepoStat>, Failure> {
    let fleet = proxy.desk.fleet().await?;
    let mut sum = IpfsRepoStat::default();
    for worker in fleet.workers() {
        sum.repo_size = sum.repo_size.saturating_add(worker.used);
        let most = worker.used.saturating_add(worker.free);
        sum.storage_max = sum.storage_max.saturating_add(most);
    }
    Ok(Json(sum))
}

/// `repo/gc`: of the Kubo behind. What it answers is what the original does.
pub(super) async fn collect(
    State(proxy): State<Proxy>,
    _: Operator,
    trailers: Trailers,
    request: Request,
) -> Result<Response, Failure> {
    if proxy.upstream.is_none() {
        let why = "the node's own store collects by itself, and cannot be told to";
        return Err(Failure::new(http::StatusCode::NOT_IMPLEMENTED, why));
    }
    let mut question = Question::of(request);
    question.method = http::Method::POST;
    let answer = proxy.forward(question).await?;
    Ok(upstream::streamed(answer, trailers))
}

/// `version`: of the Kubo behind. Clients ask for it before they add content, so that without a Kubo the version is told
/// whose RPC is spoken here.
pub(super) async fn version(
    State(proxy): State<Proxy>,
    Reader(caller): Reader,
    trailers: Trailers,
    request: Request,
) -> Result<Response, Failure> {
    if proxy.upstream.is_some() && caller.operates {
        let answer = proxy.forward(Question::of(request)).await?;
        return Ok(upstream::streamed(answer, trailers));
    }
    let version =
        json!({ "Version": RPC_VERSION, "Commit": "ues", "Repo": "", "System": "", "Golang": "" });
    Ok(Json(version).into_response())
}
