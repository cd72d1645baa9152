//! `/account/security`: the ways into an account, each with what its owner can do about it.

use std::sync::Arc;

use askama::Template;
use axum::body::Body;
use axum::extract::State;
use axum::response::Response;
use http::{Request, StatusCode};
use ues_oauth::OAuthError;
use ues_repo::syntax::{Datetime, Did};

use super::asked::Asked;
use super::browser::Browser;
use super::page::{failure, page, page_with_passkeys, redirect};
use super::passkeys::{finish_add, remove, rename};
use super::sign_in::{check_again, sentence, spend_factor};
use super::{qr, server_error};
use crate::accounts::{Account, SessionInfo, StoredPasskey};
use crate::context::Context;
use crate::xrpc::XrpcError;
use crate::{factors, lifecycle};

/// Where the page is.
pub const PATH: &str = "/account/security";
/// The parts of the page, as forms and notes name them.
const TOTP_ON: &str = "totp_on";
const TOTP_OFF: &str = "totp_off";
const NEW_CODES: &str = "new_codes";
const EVERYWHERE: &str = "everywhere";
const PASSKEY_ADD: &str = "passkey_add";
const PASSKEY_REMOVE: &str = "passkey_remove";

/// A session by password.
struct SessionView {
    id: String,
    by: String,
    since: String,
    used: String,
}

/// A passkey.
struct PasskeyView {
    id: String,
    name: String,
    since: String,
    used: Option<String>,
}

#[derive(Template)]
#[template(path = "oauth/security.html")]
struct SecurityPage<'a> {
    hostname: &'a str,
    form_token: String,
    did: &'a str,
    handle: &'a str,
    authenticator: bool,
    mail_codes: bool,
    codes_left: usize,
    /// `None` where browsers have no passkeys for this node.
    passkeys: Option<Vec<PasskeyView>>,
    sessions: Vec<SessionView>,
    /// What was done just now.
    done: Option<&'a str>,
    /// What was not done, and why.
    refused: Option<(&'a str, String)>,
}

#[derive(Template)]
#[template(path = "oauth/authenticator.html")]
struct AuthenticatorPage<'a> {
    hostname: &'a str,
    form_token: String,
    did: &'a str,
    handle: &'a str,
    qr: Option<String>,
    uri: &'a str,
    secret: String,
    mail_codes: bool,
    failure: Option<String>,
}

#[derive(Template)]
#[template(path = "oauth/recovery.html")]
struct RecoveryPage<'a> {
    hostname: &'a str,
    did: &'a str,
    handle: &'a str,
    fresh: bool,
    codes: &'a [String],
}

/// Where the page of an account is.
pub fn address(did: &str, done: Option<&str>) -> String {
    let mut query = form_urlencoded::Serializer::new(String::new());
    query.append_pair("account", did);
    if let Some(done) = done {
        query.append_pair("done", done);
    }
    format!("{PATH}?{}", query.finish())
}

/// The account that a request is about, if it is signed in in this browser.
pub fn signed_in(
    ctx: &Context,
    asked: &Asked,
    browser: &Browser,
) -> Result<Option<Arc<Account>>, OAuthError> {
    let did = asked.value("account").unwrap_or_default();
    if browser.since(did).is_none() {
        return Ok(None);
    }
    let did = Did::parse(did).map_err(server_error)?;
    let account = ctx.accounts.by_did(&did).map_err(server_error)?;
    Ok(account.filter(|a| !a.is_deleted() && !a.is_taken_down()))
}

/// `GET /account/security?account`.
pub async fn show(State(ctx): State<Context>, request: Request<Body>) -> Response {
    let shown = || {
        let asked = Asked::query(&ctx, &request)?;
        let browser = ctx.oauth.browser(&asked.headers)?;
        match signed_in(&ctx, &asked, &browser)? {
            Some(account) => security(&ctx, &browser, &account, asked.value("done"), None),
            None => Ok(redirect(&ctx, Some(&browser), "/account")),
        }
    };
    shown().unwrap_or_else(|e: OAuthError| failure(&ctx, &e))
}

fn security(
    ctx: &Context,
    browser: &Browser,
    account: &Account,
    done: Option<&str>,
    refused: Option<(&str, String)>,
) -> Result<Response, OAuthError> {
    let did = &account.did;
    let sessions = ctx.sessions.list(did, ctx.now_ms()).map_err(server_error)?;
    let status = match &refused {
        Some(_) => StatusCode::BAD_REQUEST,
        None => StatusCode::OK,
    };
    let view = SecurityPage {
        hostname: ctx.config.hostname(),
        form_token: browser.form_token(),
        did: did.as_str(),
        handle: account.handle.as_str(),
        authenticator: ctx.totps.is_on(did).map_err(server_error)?,
        mail_codes: account.email_factor,
        codes_left: ctx.recovery.left(did).map_err(server_error)?,
        passkeys: match &ctx.oauth.passkeys {
            Some(_) => Some(passkeys(ctx, did)?),
            None => None,
        },
        sessions: sessions.into_iter().map(session).collect(),
        done,
        refused,
    };
    Ok(page_with_passkeys(ctx, browser, status, &view, None))
}

fn passkeys(ctx: &Context, did: &Did) -> Result<Vec<PasskeyView>, OAuthError> {
    let all = ctx.passkeys.list(did).map_err(server_error)?;
    let day = |text: &String| text.get(..10).unwrap_or(text).to_owned();
    let view = |passkey: StoredPasskey| PasskeyView {
        id: passkey.id(),
        since: day(&passkey.created_at),
        used: passkey.used_at.as_ref().map(day),
        name: passkey.name,
    };
    Ok(all.into_iter().map(view).collect())
}

fn session(info: SessionInfo) -> SessionView {
    SessionView {
        by: match info.grant.app_password {
            Some(name) => format!("App password “{name}”"),
            None => "Your password".to_owned(),
        },
        since: minute(info.started_ms),
        used: minute(info.used_ms),
        id: info.id,
    }
}

fn minute(ms: u64) -> String {
    let text = Datetime::from_unix_millis(ms.cast_signed()).to_string();
    text.get(..16).unwrap_or(&text).replace('T', " ")
}

/// `POST /account/security`.
pub async fn answer(State(ctx): State<Context>, request: Request<Body>) -> Response {
    let answered = async {
        let asked = Asked::form(&ctx, request).await?;
        let mut browser = ctx.oauth.browser(&asked.headers)?;
        if !browser.is_form_token(asked.value("form")) {
            return Ok(redirect(&ctx, None, "/account"));
        }
        let Some(account) = signed_in(&ctx, &asked, &browser)? else {
            return Ok(redirect(&ctx, Some(&browser), "/account"));
        };
        act(&ctx, &asked, &mut browser, &account).await
    };
    answered
        .await
        .unwrap_or_else(|e: OAuthError| failure(&ctx, &e))
}

async fn act(
    ctx: &Context,
    asked: &Asked,
    browser: &mut Browser,
    account: &Account,
) -> Result<Response, OAuthError> {
    let did = account.did.as_str();
    let refused =
        |browser: &Browser, part, why| security(ctx, browser, account, None, Some((part, why)));
    match asked.value("do") {
        Some("totp_begin") => match factors::begin(ctx, account, None).await {
            Ok(secret) => Ok(authenticator(ctx, browser, account, &secret, None)),
            Err(e) => refused(browser, TOTP_ON, sentence(&e)),
        },
        Some(TOTP_ON) => match confirm(ctx, asked, account).await {
            Ok(codes) => Ok(recovery(ctx, browser, account, &codes, true)),
            Err(why) => match factors::waiting(ctx, account).map_err(server_error)? {
                Some(secret) => Ok(authenticator(ctx, browser, account, &secret, Some(why))),
                None => refused(browser, TOTP_ON, why),
            },
        },
        Some(TOTP_OFF) => match check_again(ctx, asked, account).await {
            Ok(()) => {
                factors::remove(ctx, account, None)
                    .await
                    .map_err(server_error)?;
                Ok(redirect(ctx, Some(browser), &address(did, Some(TOTP_OFF))))
            }
            Err(why) => refused(browser, TOTP_OFF, why),
        },
        Some(NEW_CODES) => match renew(ctx, asked, account).await {
            Ok(codes) => Ok(recovery(ctx, browser, account, &codes, false)),
            Err(why) => refused(browser, NEW_CODES, why),
        },
        Some(part @ (PASSKEY_ADD | PASSKEY_REMOVE | "passkey_name")) => {
            match passkey_act(ctx, asked, browser, account, part).await {
                Ok(()) => Ok(redirect(ctx, Some(browser), &address(did, Some(part)))),
                Err(why) => refused(browser, part, why),
            }
        }
        Some("end_session") => {
            let id = asked.value("session").unwrap_or_default();
            let mut batch = ctx.store.batch();
            let ended = ctx.sessions.end_by_id(&mut batch, &account.did, id);
            ended.map_err(server_error)?;
            ctx.store.commit(batch).await.map_err(server_error)?;
            Ok(redirect(ctx, Some(browser), &address(did, None)))
        }
        Some(EVERYWHERE) => {
            let mut batch = ctx.store.batch();
            lifecycle::end_sessions(ctx, &mut batch, &account.did).map_err(server_error)?;
            ctx.store.commit(batch).await.map_err(server_error)?;
            ctx.oauth
                .sign_in(browser, &account.did, ctx.now_ms())
                .await?;
            Ok(redirect(
                ctx,
                Some(browser),
                &address(did, Some(EVERYWHERE)),
            ))
        }
        _ => Ok(redirect(ctx, Some(browser), &address(did, None))),
    }
}

/// Adds, names or removes a passkey.
async fn passkey_act(
    ctx: &Context,
    asked: &Asked,
    browser: &Browser,
    account: &Account,
    part: &str,
) -> Result<(), String> {
    let text = |name| asked.value(name).unwrap_or_default();
    match part {
        // The password was asked for when the challenge was made.
        PASSKEY_ADD => finish_add(ctx, browser, account, text("name"), text("credential")).await,
        PASSKEY_REMOVE => {
            check_again(ctx, asked, account).await?;
            remove(ctx, account, text("passkey")).await
        }
        _ => rename(ctx, account, text("passkey"), text("name")).await,
    }
}

/// Switches codes on, if the password and the first code are right.
async fn confirm(ctx: &Context, asked: &Asked, account: &Account) -> Result<Vec<String>, String> {
    check_again(ctx, asked, account).await?;
    let spent = spend_factor(ctx, asked, account);
    spent.map_err(|e| sentence(&e))?;
    let code = asked.value("first_code").unwrap_or_default();
    let confirmed = factors::confirm(ctx, account, code, None).await;
    confirmed.map_err(|e| sentence(&e))
}

async fn renew(ctx: &Context, asked: &Asked, account: &Account) -> Result<Vec<String>, String> {
    check_again(ctx, asked, account).await?;
    let made = factors::new_codes(ctx, account, None).await;
    made.map_err(|e: XrpcError| sentence(&e))
}

fn authenticator(
    ctx: &Context,
    browser: &Browser,
    account: &Account,
    secret: &factors::Secret,
    failure: Option<String>,
) -> Response {
    let status = match &failure {
        Some(_) => StatusCode::BAD_REQUEST,
        None => StatusCode::OK,
    };
    let letters: Vec<char> = secret.text.chars().collect();
    let groups = letters.chunks(4).map(|group| group.iter().collect());
    let view = AuthenticatorPage {
        hostname: ctx.config.hostname(),
        form_token: browser.form_token(),
        did: account.did.as_str(),
        handle: account.handle.as_str(),
        qr: qr::svg(&secret.uri),
        uri: &secret.uri,
        secret: groups.collect::<Vec<String>>().join(" "),
        mail_codes: account.email_factor,
        failure,
    };
    page(ctx, Some(browser), status, &view, None)
}

fn recovery(
    ctx: &Context,
    browser: &Browser,
    account: &Account,
    codes: &[String],
    fresh: bool,
) -> Response {
    let view = RecoveryPage {
        hostname: ctx.config.hostname(),
        did: account.did.as_str(),
        handle: account.handle.as_str(),
        fresh,
        codes,
    };
    page(ctx, Some(browser), StatusCode::OK, &view, None)
}
