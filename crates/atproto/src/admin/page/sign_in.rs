//! Signing in and out.

use askama::Template;
use axum::body::Body;
use axum::extract::State;
use axum::response::Response;
use http::{Request, StatusCode};

use super::desk::Desk;
use super::session::Visitor;
use crate::limits::{self, Tightest};
use crate::oauth::Asked;

#[derive(Template)]
#[template(path = "admin/sign_in.html")]
struct SignInPage {
    hostname: String,
    form_token: String,
    failure: Option<&'static str>,
}

/// The door.
pub fn page(desk: &Desk, visitor: &Visitor, failure: Option<&'static str>) -> Response {
    let page = SignInPage {
        hostname: desk.ctx.config.hostname().to_owned(),
        form_token: visitor.form_token(),
        failure,
    };
    let status = match failure {
        Some(_) => StatusCode::UNAUTHORIZED,
        None => StatusCode::OK,
    };
    desk.answer(status, Some(visitor), &page)
}

/// `POST /admin`: signs in or out.
pub async fn answer(State(desk): State<Desk>, request: Request<Body>) -> Response {
    let (asked, mut visitor) = match desk.form(request).await {
        Ok(form) => form,
        Err(refused) => return *refused,
    };
    if asked.value("do") == Some("sign_out") {
        desk.sessions.sign_out(&mut visitor);
        return desk.redirect(None, "/admin");
    }
    if !may_try(&desk, &asked) {
        return page(&desk, &visitor, Some("Too many tries. Wait some minutes."));
    }
    let secret = asked.value("password").unwrap_or_default().trim();
    let Some(name) = desk.ctx.admins.name_of(secret) else {
        tracing::warn!(client = %asked.client, "a sign-in to the admin page is refused");
        return page(&desk, &visitor, Some("The password is wrong."));
    };
    let now_ms = desk.ctx.now_ms();
    match desk.sessions.sign_in(&mut visitor, name, now_ms) {
        Ok(()) => desk.redirect(Some(&visitor), "/admin"),
        Err(cause) => desk.failed(&cause),
    }
}

fn may_try(desk: &Desk, asked: &Asked) -> bool {
    let limiter = &desk.ctx.limiter;
    let mut tightest = Tightest::default();
    if limiter.applies(&asked.headers, asked.client) {
        let key = format!("/admin-{}", limits::limit_key(asked.client));
        for limit in [limits::CREATE_SESSION_DAY, limits::CREATE_SESSION] {
            tightest.add(limiter.consume(limit, &key, 1));
        }
    }
    tightest.check().is_ok()
}
