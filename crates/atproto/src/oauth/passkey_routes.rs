//! What the script of the pages asks for: itself, and challenges for passkeys.

use axum::Json;
use axum::body::Body;
use axum::extract::State;
use axum::response::{IntoResponse, Response};
use http::{HeaderValue, Request, StatusCode, header};
use serde_json::{Value, json};
use ues_oauth::OAuthError;

use super::asked::Asked;
use super::passkeys::{begin_add, begin_sign_in};
use super::security_page::signed_in;
use super::sign_in::check_again;
use crate::context::Context;
use crate::limits::{self, Tightest};
use crate::web::guard;

/// Where the script is.
pub const SCRIPT_PATH: &str = "/account/passkeys.js";
/// Where challenges are.
pub const PATH: &str = "/account/passkeys";
const SCRIPT: &str = include_str!("../../templates/oauth/passkeys.js");

/// `GET /account/passkeys.js`.
pub async fn script() -> Response {
    let kind = HeaderValue::from_static("text/javascript; charset=utf-8");
    let mut response = ([(header::CONTENT_TYPE, kind)], SCRIPT).into_response();
    guard(&mut response, "default-src 'none'; frame-ancestors 'none'");
    let kept = HeaderValue::from_static("public, max-age=300");
    response.headers_mut().insert(header::CACHE_CONTROL, kept);
    response
}

/// `POST /account/passkeys`: takes a form of a page before its passkey is there, and gives what to ask the
/// authenticator: `do=passkey` to sign in, `do=passkey_add` with the password to add one.
pub async fn challenge(State(ctx): State<Context>, request: Request<Body>) -> Response {
    let mut response = match options(&ctx, request).await {
        Ok(options) => Json(options).into_response(),
        Err(message) => {
            let body = Json(json!({ "message": message }));
            (StatusCode::BAD_REQUEST, body).into_response()
        }
    };
    guard(&mut response, "default-src 'none'; frame-ancestors 'none'");
    response
}

async fn options(ctx: &Context, request: Request<Body>) -> Result<Value, String> {
    let words = |e: OAuthError| e.description;
    let asked = Asked::form(ctx, request).await.map_err(words)?;
    let browser = ctx.oauth.browser(&asked.headers).map_err(words)?;
    if !browser.is_form_token(asked.value("form")) {
        return Err("This page is too old. Load it again.".to_owned());
    }
    if ctx.limiter.applies(&asked.headers, asked.client) {
        let mut tightest = Tightest::default();
        let key = limits::limit_key(asked.client);
        tightest.add(ctx.limiter.consume(limits::PASSKEY, &key, 1));
        if tightest.check().is_err() {
            return Err("Too many tries. Wait some minutes.".to_owned());
        }
    }
    match asked.value("do") {
        Some("passkey") => begin_sign_in(ctx, &browser),
        Some("passkey_add") => {
            let account = signed_in(ctx, &asked, &browser).map_err(words)?;
            let account = account.ok_or_else(|| "You are signed out. Sign in again.".to_owned())?;
            check_again(ctx, &asked, &account).await?;
            begin_add(ctx, &browser, &account)
        }
        _ => Err("the form does not say what to do".to_owned()),
    }
}
