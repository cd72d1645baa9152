//! The operator's routes, `/admin/v1/…`: what the command line needs of a running node and AT Protocol has no
//! call for. Each call carries the operator's secret, which lies in the data folder.

mod accounts;
mod answer;
mod identities;
mod labels;
mod lexicons;
mod log;
mod moderation;
mod query;
mod second_factor;
mod status;
mod work;

use std::path::PathBuf;
use std::sync::Arc;

use axum::Router;
use axum::extract::{Request, State};
use axum::http::header::AUTHORIZATION;
use axum::middleware::{self, Next};
use axum::response::{IntoResponse, Response};
use axum::routing::{get, post};
use subtle::ConstantTimeEq;
use ues_atproto::{App, Context};

use super::index::Index;

pub use answer::{Answer, Refusal};
pub use lexicons::load as load_lexicons;

/// The operator's routes as an application on the server.
pub struct Operator {
    secret: Arc<str>,
    data: PathBuf,
    index: Index,
}

/// What the handlers work with.
#[derive(Clone)]
struct Desk {
    ctx: Context,
    data: PathBuf,
    index: Index,
}

impl Operator {
    /// For calls with this secret; `data` is the folder of the node, `index` the index of its records.
    pub fn new(secret: &str, data: PathBuf, index: Index) -> Self {
        Self {
            secret: secret.into(),
            data,
            index,
        }
    }
}

impl App for Operator {
    fn name(&self) -> &'static str {
        "operator"
    }

    fn routes(&self, ctx: &Context) -> Router {
        let desk = Desk {
            ctx: ctx.clone(),
            data: self.data.clone(),
            index: self.index.clone(),
        };
        let routes = Router::new()
            .route("/ping", get(|| async { axum::Json(serde_json::json!({})) }))
            .route("/status", get(status::status))
            .route("/session", post(accounts::session))
            .route("/accounts", get(accounts::list))
            .route("/account", get(accounts::show))
            .route("/account/password", post(accounts::password))
            .route("/account/status", post(accounts::status))
            .route("/account/quota", post(accounts::quota))
            .route("/account/delete", post(accounts::delete))
            .route("/sessions", get(accounts::sessions))
            .route("/sessions/end", post(accounts::end_sessions))
            .route("/account/totp", post(second_factor::make))
            .route("/account/totp/confirm", post(second_factor::confirm))
            .route("/account/totp/recovery", post(second_factor::new_codes))
            .route("/account/totp/remove", post(second_factor::remove))
            .route("/identity", get(identities::show))
            .route("/identity/sign", post(identities::sign))
            .route("/audit", get(moderation::audit))
            .route("/reports", get(moderation::reports))
            .route("/report", post(moderation::mark_report))
            .route("/labels", get(labels::list))
            .route("/label", post(labels::put))
            .route("/labeler", get(labels::labeler))
            .route("/mails", get(moderation::mails))
            .route("/mail", get(moderation::mail))
            .route("/mail/again", post(moderation::mail_again))
            .route("/log", get(log::log))
            .route("/lexicons", get(lexicons::list).post(lexicons::add))
            .route("/lexicon", get(lexicons::show))
            .route("/query", post(query::query))
            .route("/check", post(work::check))
            .route("/reindex", post(work::reindex))
            .with_state(desk)
            .layer(middleware::from_fn_with_state(
                Arc::clone(&self.secret),
                authorize,
            ));
        Router::new().nest("/admin/v1", routes)
    }
}

/// Lets the operator in and nobody else.
pub async fn authorize(State(secret): State<Arc<str>>, request: Request, next: Next) -> Response {
    let given = request
        .headers()
        .get(AUTHORIZATION)
        .and_then(|value| value.to_str().ok());
    let given = given
        .and_then(|value| value.strip_prefix("Bearer "))
        .unwrap_or_default();
    if bool::from(given.as_bytes().ct_eq(secret.as_bytes())) {
        next.run(request).await
    } else {
        Refusal::unauthorized().into_response()
    }
}
