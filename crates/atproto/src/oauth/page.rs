//! The pages: rendered here, without script, and with headers that keep others out.

use askama::Template;
use axum::response::{Html, IntoResponse, Response};
use http::{HeaderValue, StatusCode, header};
use ues_oauth::{OAuthError, Words};
use url::Url;

use super::browser::Browser;
use super::passkey_routes::{PATH, SCRIPT_PATH};
use super::permission_sets::SetView;
use crate::context::Context;
use crate::web::guard;

#[derive(Template)]
#[template(path = "oauth/sign_in.html")]
pub struct SignInPage<'a> {
    pub hostname: &'a str,
    pub action: &'a str,
    pub form_token: String,
    pub request: Option<&'a str>,
    pub client_id: Option<&'a str>,
    pub client: Option<String>,
    pub identifier: &'a str,
    pub wants_code: bool,
    /// Whether browsers may have passkeys for this node.
    pub passkeys: bool,
    pub failure: Option<String>,
    /// Where a new account is made.
    pub sign_up: String,
}

/// An account that may be chosen.
pub struct Choice {
    pub did: String,
    pub handle: String,
    pub chosen: bool,
}

#[derive(Template)]
#[template(path = "oauth/consent.html")]
pub struct ConsentPage<'a> {
    pub hostname: &'a str,
    pub form_token: String,
    pub request: &'a str,
    pub client_id: &'a str,
    pub client: String,
    pub client_name: Option<String>,
    pub back: String,
    pub local: bool,
    pub accounts: Vec<Choice>,
    pub other: String,
    pub permissions: Vec<Words>,
    pub sets: Vec<SetView>,
}

#[derive(Template)]
#[template(path = "oauth/failure.html")]
struct FailurePage<'a> {
    hostname: &'a str,
    what: &'a str,
    detail: &'a str,
}

/// An account and what uses it.
pub struct AccountView {
    pub did: String,
    pub handle: String,
    /// Where its ways in are.
    pub security: String,
    /// What it has here; nothing where that cannot be told.
    pub holds: Option<HoldsView>,
    pub apps: Vec<AppView>,
}

/// How much an account has and may have.
pub struct HoldsView {
    pub records: String,
    pub record_bytes: String,
    pub record_quota: Option<String>,
    pub record_bytes_quota: Option<String>,
    pub blobs: String,
    pub blob_bytes: String,
    pub blob_quota: Option<String>,
}

/// A connected application.
pub struct AppView {
    pub session: String,
    pub host: String,
    pub name: Option<String>,
    pub since: String,
    pub heard: String,
    pub permissions: Vec<String>,
}

#[derive(Template)]
#[template(path = "oauth/account.html")]
pub struct AccountPage<'a> {
    pub hostname: &'a str,
    pub form_token: String,
    pub accounts: Vec<AccountView>,
}

/// A page as an answer. `back` is where its form may lead to besides this node.
pub fn page(
    ctx: &Context,
    browser: Option<&Browser>,
    status: StatusCode,
    template: &impl Template,
    back: Option<&str>,
) -> Response {
    answer(ctx, browser, status, template, back, "")
}

/// A page with the one script that there is, which needs what it is allowed here and nothing else. Files of accounts
/// are served from the same origin, so that the origin alone would be too much.
pub fn page_with_passkeys(
    ctx: &Context,
    browser: &Browser,
    status: StatusCode,
    template: &impl Template,
    back: Option<&str>,
) -> Response {
    let script = match &ctx.oauth.passkeys {
        Some(_) => {
            let node = ctx.config.endpoint();
            format!("; script-src {node}{SCRIPT_PATH}; connect-src {node}{PATH}")
        }
        None => String::new(),
    };
    answer(ctx, Some(browser), status, template, back, &script)
}

fn answer(
    ctx: &Context,
    browser: Option<&Browser>,
    status: StatusCode,
    template: &impl Template,
    back: Option<&str>,
    script: &str,
) -> Response {
    let mut response = match template.render() {
        Ok(html) => (status, Html(html)).into_response(),
        Err(cause) => {
            tracing::error!(%cause, "a page could not be made");
            StatusCode::INTERNAL_SERVER_ERROR.into_response()
        }
    };
    // Browsers hold a form's redirect to its form-action, too.
    let back = back.and_then(form_target).unwrap_or_default();
    let policy = format!(
        "default-src 'none'; style-src 'unsafe-inline'; form-action 'self' {back}; base-uri 'none'; frame-ancestors 'none'{script}"
    );
    guard(&mut response, &policy);
    set_cookie(ctx, browser, &mut response);
    response
}

/// What went wrong, for a person who cannot be sent back.
pub fn failure(ctx: &Context, e: &OAuthError) -> Response {
    tracing::debug!(error = %e, "an authorisation page is refused");
    let page_ = FailurePage {
        hostname: ctx.config.hostname(),
        what: &e.description,
        detail: e.code.name(),
    };
    let status = StatusCode::from_u16(e.code.status()).unwrap_or(StatusCode::BAD_REQUEST);
    page(ctx, None, status, &page_, None)
}

/// Sends the browser elsewhere, by GET.
pub fn redirect(ctx: &Context, browser: Option<&Browser>, to: &str) -> Response {
    let Ok(location) = HeaderValue::from_str(to) else {
        return StatusCode::INTERNAL_SERVER_ERROR.into_response();
    };
    let mut response = (StatusCode::SEE_OTHER, [(header::LOCATION, location)]).into_response();
    guard(&mut response, "default-src 'none'; frame-ancestors 'none'");
    set_cookie(ctx, browser, &mut response);
    response
}

fn set_cookie(ctx: &Context, browser: Option<&Browser>, response: &mut Response) {
    if let Some(cookie) = browser.and_then(|b| b.cookie(&ctx.oauth.issuer)) {
        response.headers_mut().insert(header::SET_COOKIE, cookie);
    }
}

/// A redirect URI as a source of a content security policy.
fn form_target(uri: &str) -> Option<String> {
    let url = Url::parse(uri).ok()?;
    match url.scheme() {
        "http" | "https" => Some(url.origin().ascii_serialization()),
        scheme => Some(format!("{scheme}:")),
    }
}
