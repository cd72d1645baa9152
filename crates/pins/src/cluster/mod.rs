//! The REST API of [IPFS-Cluster](https://ipfscluster.io/documentation/reference/api/) 1.1.6, on a listener of its
//! own: its clients find what they know.
//!
//! A peer of the cluster is a worker here. What differs, because the service does:
//!
//! | call | here |
//! |---|---|
//! | all | pins belong to owners: who does not operate the service sees and changes their own |
//! | `POST /pins/{cid}` | answers before workers are chosen; `mode=direct` is kept; a bad query pins nothing |
//! | `POST /pins/ipfs/{cid}/…` | paths below a CID and names of IPNS are refused: nobody resolves them here |
//! | `GET /pins` | a pin without a worker so far is `pin_queued` on all of them |
//! | `POST /peers`, `POST /ipfs/gc` | workers register and collect by themselves |
//!
//! Lists are streamed: a list of any length takes the memory of a few pieces.

pub(crate) mod add;
mod change;
mod faces;
pub(crate) mod failure;
mod gate;
mod graph;
pub(crate) mod lines;
mod lists;
mod metrics;
mod peers;
pub(crate) mod pen;
mod pin_line;
pub(crate) mod query;
mod recover;
mod status_line;
mod token;

use std::sync::Arc;

use axum::Router;
use axum::middleware::{from_fn, from_fn_with_state};
use axum::routing::{delete, get, post};
use http::StatusCode;
use http::header::CONTENT_TYPE;

use crate::auth::{Authenticate, Credentials};
use crate::intake::Intake;
use crate::model::PeerId;
use crate::service::Pins;

use failure::Failure;
use gate::{Operator, Reader, Writer};

/// Makes a token that [`Authenticate`] takes, for somebody who has shown these credentials; `None` when there are
/// no tokens for them.
pub type IssueToken = Arc<dyn Fn(&Credentials) -> Option<String> + Send + Sync>;

/// What the interface may be told besides; nothing of it is needed.
#[derive(Clone, Default)]
pub struct Options {
    /// The worker of this process: the peer that answers `GET /id` and calls with `local=true`. Otherwise the first
    /// of all workers.
    pub local: Option<PeerId>,
    /// Makes the tokens of `POST /token`. Without it there are none, as in a cluster without passwords.
    pub tokens: Option<IssueToken>,
}

impl std::fmt::Debug for Options {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Options")
            .field("local", &self.local)
            .field("tokens", &self.tokens.is_some())
            .finish()
    }
}

/// What the calls of the interface work with; those of the IPFS proxy as well.
#[derive(Clone)]
pub(crate) struct Desk {
    pub(crate) pins: Pins,
    pub(crate) authenticate: Authenticate,
    pub(crate) intake: Option<Arc<dyn Intake>>,
    pub(crate) options: Options,
}

/// The routes. Without `intake`, `POST /add` answers 501.
pub fn routes(
    pins: Pins,
    authenticate: Authenticate,
    intake: Option<Arc<dyn Intake>>,
    options: Options,
) -> Router {
    let desk = Desk {
        pins,
        authenticate,
        intake,
        options,
    };
    Router::new()
        .route("/id", get(peers::id))
        .route("/version", get(peers::version))
        .route("/peers", get(peers::list).post(peers::add))
        .route("/peers/{peer}", delete(peers::remove))
        .route("/add", post(add::add))
        .route("/allocations", get(lists::allocations))
        .route("/allocations/{cid}", get(lists::allocation))
        .route("/pins", get(lists::statuses))
        .route("/pins/recover", post(recover::all))
        .route(
            "/pins/{cid}",
            get(lists::status).post(change::pin).delete(change::unpin),
        )
        .route("/pins/{cid}/recover", post(recover::one))
        .merge(paths("ipfs"))
        .merge(paths("ipld"))
        .merge(paths("ipns"))
        .route("/ipfs/gc", post(peers::collect))
        .route("/health", get(health))
        .route("/health/graph", get(graph::graph))
        .route("/health/alerts", get(metrics::alerts))
        .route("/health/bandwidth", get(graph::bandwidth))
        .route("/monitor/metrics", get(metrics::names))
        .route("/monitor/metrics/{name}", get(metrics::latest))
        .route("/token", post(token::issue))
        .fallback(gate::not_found)
        .layer(from_fn(gate::strict_slash))
        .layer(from_fn(gate::cors))
        .layer(from_fn_with_state(desk.clone(), gate::authenticate))
        .with_state(desk)
}

/// The calls that name a pin by a path.
fn paths(kind: &str) -> Router<Desk> {
    let path = format!("/pins/{kind}/{{*path}}");
    Router::new().route(&path, post(change::pin_path).delete(change::unpin_path))
}

/// `GET /health`: that this program answers.
async fn health() -> impl axum::response::IntoResponse {
    (StatusCode::NO_CONTENT, [(CONTENT_TYPE, "application/json")])
}
