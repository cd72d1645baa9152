//! A new account, made on a page: for an application that asks for one (`prompt=create`), or for the account page.

use http::StatusCode;
use ues_oauth::OAuthError;
use ues_repo::syntax::Did;

use askama::Template;
use axum::response::Response;

use super::asked::Asked;
use super::browser::Browser;
use super::page::page;
use super::sign_in::sentence;
use crate::context::Context;
use crate::limits::{self, Tightest};
use crate::new_account::{self, About, NewAccount};

/// Shortest password that is taken on a page, in characters.
const MIN_PASSWORD: usize = 8;

/// Where the form goes, and for whom.
#[derive(Clone, Copy)]
pub struct For<'a> {
    /// The page that takes the form.
    pub action: &'a str,
    /// The request and the application, if one asks.
    pub request: Option<(&'a str, &'a str)>,
    /// What the application is called.
    pub client: Option<&'a str>,
    /// Where one signs in instead.
    pub sign_in: &'a str,
    /// Where the form may lead to besides this node.
    pub back: Option<&'a str>,
}

/// What is wrong with a form.
pub struct Wrong {
    about: About,
    why: String,
}

#[derive(Template)]
#[template(path = "oauth/sign_up.html")]
struct SignUpPage<'a> {
    hostname: &'a str,
    form_token: String,
    to: For<'a>,
    domains: &'a [String],
    domain: &'a str,
    name: &'a str,
    email: &'a str,
    invite: &'a str,
    invite_required: bool,
    terms: Option<&'a str>,
    privacy: Option<&'a str>,
    wrong: Option<Wrong>,
}

impl SignUpPage<'_> {
    /// Why a part of the form is wrong.
    fn why(&self, part: &str) -> Option<&str> {
        let wrong = self.wrong.as_ref()?;
        let about = match wrong.about {
            About::Handle => "handle",
            About::Email => "email",
            About::Password => "password",
            About::Invite => "invite",
            About::Other => "other",
        };
        (about == part).then_some(wrong.why.as_str())
    }
}

/// The page, with what was filled in already.
pub fn sign_up_page(
    ctx: &Context,
    browser: &Browser,
    asked: &Asked,
    to: For<'_>,
    wrong: Option<Wrong>,
) -> Response {
    let config = &ctx.config;
    let text = |name| asked.value(name).unwrap_or_default();
    let status = match &wrong {
        Some(_) => StatusCode::BAD_REQUEST,
        None => StatusCode::OK,
    };
    let view = SignUpPage {
        hostname: config.hostname(),
        form_token: browser.form_token(),
        to,
        domains: &config.handle_domains,
        domain: text("domain"),
        name: text("name"),
        email: text("email"),
        invite: text("invite"),
        invite_required: config.invite_required,
        terms: config.terms_of_service_url.as_deref(),
        privacy: config.privacy_policy_url.as_deref(),
        wrong,
    };
    page(ctx, Some(browser), status, &view, to.back)
}

/// Makes the account that a form wishes for.
pub async fn sign_up(ctx: &Context, asked: &Asked) -> Result<Result<Did, Wrong>, OAuthError> {
    let wrong = |about, why: &str| {
        let why = why.to_owned();
        Ok(Err(Wrong { about, why }))
    };
    if ctx.limiter.applies(&asked.headers, asked.client) {
        let mut tightest = Tightest::default();
        let key = limits::limit_key(asked.client);
        tightest.add(ctx.limiter.consume(limits::CREATE_ACCOUNT, &key, 1));
        if tightest.check().is_err() {
            return wrong(About::Other, "Too many tries. Wait some minutes.");
        }
    }
    let text = |name| asked.value(name).unwrap_or_default().trim();
    let password = asked.value("password").unwrap_or_default();
    if password.chars().count() < MIN_PASSWORD {
        let why = format!("A password has at least {MIN_PASSWORD} characters.");
        return wrong(About::Password, &why);
    }
    let domains = &ctx.config.handle_domains;
    let domain = match domains.iter().find(|d| d.as_str() == text("domain")) {
        Some(domain) => domain,
        None => match domains.first() {
            Some(domain) => domain,
            None => return wrong(About::Handle, "This server gives no handles."),
        },
    };
    let name = text("name").trim_start_matches('@').to_lowercase();
    let name = name.strip_suffix(domain.as_str()).unwrap_or(&name);
    let handle = format!("{name}{domain}");
    let new = NewAccount {
        handle: &handle,
        email: Some(text("email")),
        password: Some(password),
        invite_code: Some(text("invite")),
        ..NewAccount::default()
    };
    match new_account::enter(ctx, new).await {
        Ok(entered) => Ok(Ok(entered.did)),
        Err(refused) => wrong(refused.about, &sentence(&refused.error)),
    }
}
