//! `/account`: the applications that may use one's accounts, each with a button to end it.

use std::collections::HashSet;

use axum::body::Body;
use axum::extract::State;
use axum::response::Response;
use http::{Request, StatusCode};
use ues_oauth::{OAuthError, Permissions};
use ues_repo::syntax::{Datetime, Did};

use super::asked::Asked;
use super::browser::Browser;
use super::page::{
    AccountPage, AccountView, AppView, HoldsView, SignInPage, failure, page, page_with_passkeys,
    redirect,
};
use super::rows::SessionName;
use super::sessions::ConnectedApp;
use super::sign_in::{Refused, check_sign_in};
use super::sign_up::{For, sign_up, sign_up_page};
use super::{security_page, server_error};
use crate::accounts::Account;
use crate::context::Context;
use crate::quota::quotas;
use crate::web::{bytes, grouped};

const PATH: &str = "/account";
/// A new account that no application asks for.
const NEW: For<'static> = For {
    action: PATH,
    request: None,
    client: None,
    sign_in: "/account?sign_in=1",
    back: None,
};

/// `GET /account`.
pub async fn show(State(ctx): State<Context>, request: Request<Body>) -> Response {
    let shown = || {
        let asked = Asked::query(&ctx, &request)?;
        let browser = ctx.oauth.browser(&asked.headers)?;
        if asked.value("sign_up").is_some() {
            return Ok(sign_up_page(&ctx, &browser, &asked, NEW, None));
        }
        let accounts = accounts(&ctx, &browser)?;
        if accounts.is_empty() || asked.value("sign_in").is_some() {
            return Ok(sign_in_page(&ctx, &browser, "", None));
        }
        let view = AccountPage {
            hostname: ctx.config.hostname(),
            form_token: browser.form_token(),
            accounts,
        };
        Ok(page(&ctx, Some(&browser), StatusCode::OK, &view, None))
    };
    shown().unwrap_or_else(|e: OAuthError| failure(&ctx, &e))
}

fn sign_in_page(
    ctx: &Context,
    browser: &Browser,
    identifier: &str,
    refused: Option<Refused>,
) -> Response {
    let status = if refused.is_some() {
        StatusCode::UNAUTHORIZED
    } else {
        StatusCode::OK
    };
    let sign_in = SignInPage {
        hostname: ctx.config.hostname(),
        action: PATH,
        form_token: browser.form_token(),
        request: None,
        client_id: None,
        client: None,
        identifier,
        wants_code: refused.as_ref().is_some_and(|r| r.wants_code),
        passkeys: ctx.oauth.passkeys.is_some(),
        failure: refused.map(|r| r.why),
        sign_up: format!("{PATH}?sign_up=1"),
    };
    page_with_passkeys(ctx, browser, status, &sign_in, None)
}

fn accounts(ctx: &Context, browser: &Browser) -> Result<Vec<AccountView>, OAuthError> {
    let mut views = Vec::new();
    for signed_in in browser.accounts() {
        let did = Did::parse(&signed_in.did).map_err(server_error)?;
        let Some(account) = ctx.accounts.by_did(&did).map_err(server_error)? else {
            continue;
        };
        let apps = ctx.oauth.connected_apps(&did).map_err(server_error)?;
        views.push(AccountView {
            did: signed_in.did.clone(),
            handle: account.handle.to_string(),
            holds: holds(ctx, &account),
            security: security_page::address(&signed_in.did, None),
            apps: apps.into_iter().map(app).collect(),
        });
    }
    Ok(views)
}

fn holds(ctx: &Context, account: &Account) -> Option<HoldsView> {
    let usage = ctx.repos.usage(&account.did);
    let usage = usage.inspect_err(|cause| {
        tracing::error!(did = %account.did, %cause, "what an account has cannot be told");
    });
    let (usage, quotas) = (usage.ok()?, quotas(ctx, account));
    Some(HoldsView {
        records: grouped(usage.records),
        record_bytes: bytes(usage.record_bytes),
        record_quota: quotas.records.map(grouped),
        record_bytes_quota: quotas.record_bytes.map(bytes),
        blobs: grouped(usage.blobs),
        blob_bytes: bytes(usage.blob_bytes),
        blob_quota: quotas.blob_bytes.map(bytes),
    })
}

fn app(app: ConnectedApp) -> AppView {
    let host = app.client_id.split_once("://").map_or("", |(_, rest)| rest);
    let host = host.split(['/', '?']).next().unwrap_or_default().to_owned();
    let words = Permissions::granted(&app.scope)
        .map(|p| p.words())
        .unwrap_or_default();
    let mut permissions: Vec<String> = words.into_iter().map(|w| w.what).collect();
    let mut seen = HashSet::new();
    permissions.retain(|what| seen.insert(what.clone()));
    AppView {
        session: app.session,
        host,
        name: app.client_name,
        since: day(app.created_ms),
        heard: day(app.refreshed_ms),
        permissions,
    }
}

fn day(ms: u64) -> String {
    let text = Datetime::from_unix_millis(ms as i64).to_string();
    text.get(..10).unwrap_or(&text).to_owned()
}

/// `POST /account`.
pub async fn answer(State(ctx): State<Context>, request: Request<Body>) -> Response {
    let answered = async {
        let asked = Asked::form(&ctx, request).await?;
        let mut browser = ctx.oauth.browser(&asked.headers)?;
        if !browser.is_form_token(asked.value("form")) {
            return Ok(redirect(&ctx, None, PATH));
        }
        let account = asked.value("account").unwrap_or_default();
        match asked.value("do") {
            Some("sign_in" | "code" | "passkey") => {
                match check_sign_in(&ctx, &asked, &browser).await {
                    Ok(account) => {
                        ctx.oauth
                            .sign_in(&mut browser, &account.did, ctx.now_ms())
                            .await?
                    }
                    Err(refused) => {
                        let identifier = asked.value("identifier").unwrap_or_default();
                        return Ok(sign_in_page(&ctx, &browser, identifier, Some(refused)));
                    }
                }
            }
            Some("sign_up") => match sign_up(&ctx, &asked).await? {
                Ok(did) => ctx.oauth.sign_in(&mut browser, &did, ctx.now_ms()).await?,
                Err(wrong) => return Ok(sign_up_page(&ctx, &browser, &asked, NEW, Some(wrong))),
            },
            Some("sign_out") => {
                ctx.oauth
                    .sign_out(&mut browser, account, ctx.now_ms())
                    .await?
            }
            Some("end") if browser.since(account).is_some() => {
                let name = SessionName {
                    did: account.to_owned(),
                    session: asked.value("session").unwrap_or_default().to_owned(),
                };
                ctx.oauth.end_and_forget(&name).await?;
            }
            _ => {}
        }
        Ok(redirect(&ctx, Some(&browser), PATH))
    };
    answered
        .await
        .unwrap_or_else(|e: OAuthError| failure(&ctx, &e))
}
