//! The page `/admin`: accounts, invites, mail, reports, events, storage and the audit in a browser.
//!
//! It is rendered here, without script. Whoever signs in shows a secret that administers the node. All
//! that it does goes through the functions that `com.atproto.admin` and the operator's commands use.

mod account;
mod accounts;
mod audit;
mod desk;
mod events;
mod invites;
mod labels;
mod mails;
mod overview;
mod reports;
mod session;
mod sign_in;
mod storage;
mod words;

use std::sync::Arc;

use axum::Router;
use axum::routing::get;

use crate::context::Context;

use desk::Desk;

/// All routes.
pub fn routes(ctx: &Context) -> Router {
    let desk = Desk {
        ctx: ctx.clone(),
        sessions: Arc::default(),
    };
    Router::new()
        .route("/admin", get(overview::show).post(sign_in::answer))
        .route("/admin/accounts", get(accounts::show))
        .route("/admin/account", get(account::show).post(account::answer))
        .route("/admin/invites", get(invites::show).post(invites::answer))
        .route("/admin/mails", get(mails::show).post(mails::answer))
        .route("/admin/reports", get(reports::show).post(reports::answer))
        .route("/admin/labels", get(labels::show).post(labels::answer))
        .route("/admin/events", get(events::show))
        .route("/admin/storage", get(storage::show))
        .route("/admin/audit", get(audit::show))
        .with_state(desk)
}
