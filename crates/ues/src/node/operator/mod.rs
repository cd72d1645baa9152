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
use axum::routing::{MethodRouter, get, post};
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
        let routes = routes().into_iter();
        let routes = routes
            .fold(Router::new(), |router, (path, methods)| {
                router.route(path, methods)
            })
            .with_state(desk)
            .layer(middleware::from_fn_with_state(
                Arc::clone(&self.secret),
                authorize,
            ));
        Router::new().nest("/admin/v1", routes)
    }
}

/// All routes. Whatever changes something, acts for somebody or shows what was meant for somebody else leaves one row in
/// the audit.
fn routes() -> Vec<(&'static str, MethodRouter<Desk>)> {
    vec![
        ("/ping", get(|| async { axum::Json(serde_json::json!({})) })),
        ("/status", get(status::status)),
        ("/session", post(accounts::session)),
        ("/accounts", get(accounts::list)),
        ("/accounts/search", get(accounts::search)),
        ("/account", get(accounts::show)),
        ("/account/handle", post(accounts::handle)),
        ("/account/password", post(accounts::password)),
        ("/account/status", post(accounts::status)),
        ("/account/suspend", post(accounts::suspend)),
        ("/account/quota", post(accounts::quota)),
        ("/account/delete", post(accounts::delete)),
        ("/sessions", get(accounts::sessions)),
        ("/sessions/end", post(accounts::end_sessions)),
        ("/account/totp", post(second_factor::make)),
        ("/account/totp/confirm", post(second_factor::confirm)),
        ("/account/totp/recovery", post(second_factor::new_codes)),
        ("/account/totp/remove", post(second_factor::remove)),
        ("/repo/repair", post(accounts::repair)),
        ("/identity", get(identities::show)),
        ("/identity/sign", post(identities::sign)),
        ("/audit", get(moderation::audit)),
        ("/reports", get(moderation::reports)),
        ("/report", post(moderation::mark_report)),
        ("/labels", get(labels::list)),
        ("/label", post(labels::put)),
        ("/labeler", get(labels::labeler)),
        ("/mails", get(moderation::mails)),
        ("/mail", get(moderation::mail)),
        ("/mail/again", post(moderation::mail_again)),
        ("/log", get(log::log)),
        ("/lexicons", get(lexicons::list).post(lexicons::add)),
        ("/lexicon", get(lexicons::show)),
        ("/query", post(query::query)),
        ("/check", post(work::check)),
        ("/reindex", post(work::reindex)),
    ]
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
