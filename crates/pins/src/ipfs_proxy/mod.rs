//! The IPFS proxy of [IPFS-Cluster](https://ipfscluster.io/documentation/reference/proxy/) 1.1.6: the RPC of a Kubo, in
//! which pins and content are the pin service's. Programs that know Kubo use the service as if it were one.
//!
//! | call | here |
//! |---|---|
//! | `pin/add`, `pin/rm`, `pin/ls`, `pin/update` | pins of the service; answered when accepted, not when pinned |
//! | `add` | content is stored and pinned |
//! | `block/put`, `dag/put` with `pin=true` | stored in the Kubo behind and pinned by the service |
//! | `repo/stat` | the sum of all workers |
//! | `repo/gc` | the Kubo behind; other workers collect by themselves |
//! | `version` | of the Kubo behind, or else of the RPC that is spoken here |
//! | all others | passed on to the Kubo behind |
//!
//! What differs from the original:
//! - `pin/add` and `pin/rm` take several arguments, `recursive=false` and `name`; `pin/ls` filters by `type`, names
//!   direct pins as such, and takes `names`. The original takes the first argument and leaves the rest aside.
//! - A web page may call only what the Kubo behind would let it: the original acts for any page.
//! - What is passed on needs an operator, as a Kubo's RPC can do anything.

mod add;
mod drain;
mod failure;
mod gate;
mod list;
mod path;
mod pins;
mod put;
mod repo;
mod upstream;

use std::sync::Arc;

use axum::Router;
use axum::extract::{DefaultBodyLimit, FromRef};
use axum::handler::Handler;
use axum::middleware::from_fn_with_state;
use axum::routing::{MethodFilter, MethodRouter, on};

use crate::auth::Authenticate;
use crate::cluster;
use crate::intake::Intake;
use crate::service::Pins;

use failure::Failure;

pub use upstream::{Answer, Question, Upstream, UpstreamError};

/// What the calls work with.
#[derive(Clone)]
struct Proxy {
    desk: cluster::Desk,
    upstream: Option<Arc<dyn Upstream>>,
    exposed: gate::Exposed,
}

impl FromRef<Proxy> for cluster::Desk {
    fn from_ref(proxy: &Proxy) -> Self {
        proxy.desk.clone()
    }
}

/// The routes. Without `intake`, `add` answers 501; without `upstream`, so does everything that needs a Kubo.
pub fn routes(
    pins: Pins,
    authenticate: Authenticate,
    intake: Option<Arc<dyn Intake>>,
    upstream: Option<Arc<dyn Upstream>>,
) -> Router {
    let proxy = Proxy {
        desk: cluster::Desk {
            pins,
            authenticate,
            intake,
            options: cluster::Options::default(),
        },
        upstream,
        exposed: gate::Exposed::default(),
    };
    let with_argument = |path: &str| [path.to_owned(), format!("{path}/{{arg}}")];
    let mut taken = Router::new();
    for path in with_argument("/pin/add") {
        taken = taken.route(&path, own(&proxy, pins::add));
    }
    for path in with_argument("/pin/rm") {
        taken = taken.route(&path, own(&proxy, pins::remove));
    }
    for path in with_argument("/pin/ls") {
        taken = taken.route(&path, own(&proxy, list::list));
    }
    taken = taken
        .route("/pin/update", own(&proxy, pins::update))
        .route("/add", own(&proxy, add::add))
        .route("/repo/stat", own(&proxy, repo::stat))
        .route("/repo/gc", own(&proxy, repo::collect))
        .route("/version", own(&proxy, repo::version))
        .route("/block/put", own(&proxy, put::block))
        .route("/dag/put", own(&proxy, put::dag));
    Router::new()
        .nest("/api/v0", taken)
        .fallback(upstream::pass_on)
        .layer(from_fn_with_state(proxy.clone(), gate::authenticate))
        .layer(DefaultBodyLimit::disable())
        .with_state(proxy)
}

/// A call of the service's own. Other methods than those by which things are done go to the Kubo behind.
fn own<H, T>(proxy: &Proxy, handler: H) -> MethodRouter<Proxy>
where
    H: Handler<T, Proxy>,
    T: 'static,
{
    let methods = MethodFilter::POST
        .or(MethodFilter::GET)
        .or(MethodFilter::PUT);
    on(methods, handler)
        .layer(from_fn_with_state(proxy.clone(), gate::headers))
        .head(upstream::pass_on)
        .fallback(upstream::pass_on)
}
