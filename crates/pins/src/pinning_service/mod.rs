//! The [IPFS Pinning Service API](https://ipfs.github.io/pinning-services-api-spec/) at `/pins`, and what this
//! service adds to it:
//!
//! | call | what it adds |
//! |---|---|
//! | `POST /pins` | `replication`, `ttl`, `tags`, `mode`, `op_id` in the body |
//! | `GET /pins?tag=…` | by tag |
//! | `GET, DELETE /pins/{id}` | the id may be a CID |
//! | `POST /pins/bulk` | many changes as lines of JSON, one answer line each |
//! | `GET /pins/watch` | changes as they happen, lines of JSON |

mod bulk;
mod failure;
mod handlers;
mod query;
mod watch;
mod wire;

use axum::Router;
use axum::extract::{DefaultBodyLimit, FromRequestParts};
use axum::routing::{get, post};
use http::request::Parts;

use crate::auth::{Authenticate, Caller, Credentials};
use crate::service::Pins;

pub use failure::Failure;
pub use handlers::accept;
pub(crate) use watch::concerns;
pub(crate) use wire::delegates;

/// Largest body of a single request, in bytes.
const MAX_BODY: usize = 256 << 10;

#[derive(Clone)]
struct Desk {
    pins: Pins,
    authenticate: Authenticate,
}

/// The routes.
pub fn routes(pins: Pins, authenticate: Authenticate) -> Router {
    let desk = Desk { pins, authenticate };
    Router::new()
        .route("/pins", get(handlers::list).post(handlers::add))
        .route(
            "/pins/bulk",
            post(bulk::bulk).layer(DefaultBodyLimit::disable()),
        )
        .route("/pins/watch", get(watch::watch))
        .route(
            "/pins/{id}",
            get(handlers::get)
                .post(handlers::replace)
                .delete(handlers::remove),
        )
        .layer(DefaultBodyLimit::max(MAX_BODY))
        .with_state(desk)
}

/// A caller who may read.
struct Reader(Caller);

/// A caller who may write.
struct Writer(Caller);

async fn caller(parts: &Parts, desk: &Desk) -> Result<Caller, Failure> {
    let credentials = Credentials::of(&parts.headers)?;
    Ok((desk.authenticate)(credentials).await?)
}

impl FromRequestParts<Desk> for Reader {
    type Rejection = Failure;

    async fn from_request_parts(parts: &mut Parts, desk: &Desk) -> Result<Self, Failure> {
        let caller = caller(parts, desk).await?;
        if caller.reads {
            Ok(Self(caller))
        } else {
            Err(Failure::forbidden("this API key may not read pins"))
        }
    }
}

impl FromRequestParts<Desk> for Writer {
    type Rejection = Failure;

    async fn from_request_parts(parts: &mut Parts, desk: &Desk) -> Result<Self, Failure> {
        let caller = caller(parts, desk).await?;
        if caller.writes {
            Ok(Self(caller))
        } else {
            Err(Failure::forbidden("this API key may not change pins"))
        }
    }
}
