//! `/oauth/authorize`: who is it, and do they agree.

use std::net::IpAddr;

use axum::body::{Body, to_bytes};
use axum::extract::State;
use axum::response::Response;
use http::{HeaderMap, Request, StatusCode, header};
use ues_oauth::{
    AuthorizationRequest, ClientMetadata, ErrorCode, OAuthError, Permissions, Prompt, form_pairs,
    hash_secret,
};
use ues_repo::syntax::Did;

use super::browser::Browser;
use super::end_points::REQUEST_URI;
use super::page::{Choice, ConsentPage, SignInPage, failure, page, redirect};
use super::rows::{CodeRow, Kind, RequestRow};
use super::sign_in::{Refused, check_sign_in};
use super::{OAuth, fresh_secret, server_error};
use crate::context::Context;
use crate::limits;

/// For how long a request that was opened can be answered.
const OPENED_MS: u64 = 3_600_000;
/// For how long a code is good.
const CODE_MS: u64 = 60_000;
/// How fresh a sign-in must be where the client asks for one.
const LOGIN_MS: u64 = 300_000;
const MAX_FORM: usize = 16 << 10;
const PATH: &str = "/oauth/authorize";

/// A form or a query, and from where it came.
pub struct Asked {
    pub pairs: Vec<(String, String)>,
    pub headers: HeaderMap,
    pub client: IpAddr,
}

impl Asked {
    pub fn value(&self, name: &str) -> Option<&str> {
        let pair = self.pairs.iter().find(|(known, _)| known == name);
        pair.map(|(_, value)| value.as_str())
    }

    /// Reads the query of a page.
    pub fn query(ctx: &Context, request: &Request<Body>) -> Result<Self, OAuthError> {
        let client = limits::client_ip(
            request.extensions(),
            request.headers(),
            ctx.limiter.trusted(),
        );
        Ok(Self {
            pairs: form_pairs(request.uri().query().unwrap_or_default().as_bytes())?,
            headers: request.headers().clone(),
            client,
        })
    }

    /// Reads a form. Browsers say where a form comes from: only our own pages may send one.
    pub async fn form(ctx: &Context, request: Request<Body>) -> Result<Self, OAuthError> {
        let asked = Self::body(ctx, request).await?;
        let origin = asked.header(header::ORIGIN);
        if asked.is_cross_site() || origin.is_some_and(|o| o != ctx.config.endpoint()) {
            return Err(OAuthError::request(
                "this form was not sent by a page of this server",
            ));
        }
        Ok(asked)
    }

    /// Whether a browser says that another site has it make the request.
    pub fn is_cross_site(&self) -> bool {
        let site = self.header(header::HeaderName::from_static("sec-fetch-site"));
        site.is_some_and(|site| site != "same-origin")
    }

    /// A header, if it is text.
    pub fn header(&self, name: header::HeaderName) -> Option<&str> {
        self.headers.get(name).and_then(|v| v.to_str().ok())
    }

    /// Reads a form, wherever it comes from.
    pub async fn body(ctx: &Context, request: Request<Body>) -> Result<Self, OAuthError> {
        let client = limits::client_ip(
            request.extensions(),
            request.headers(),
            ctx.limiter.trusted(),
        );
        let (parts, body) = request.into_parts();
        let idle = ctx.config.connections.body_idle_timeout();
        let body = tokio::time::timeout(idle, to_bytes(body, MAX_FORM)).await;
        let body = body.map_err(|_| OAuthError::request("the form did not come in time"))?;
        let body = body.map_err(|_| OAuthError::request("the form is too long"))?;
        Ok(Self {
            pairs: form_pairs(&body)?,
            headers: parts.headers,
            client,
        })
    }
}

/// A pushed request that was found again.
struct Opened {
    name: String,
    row: RequestRow,
    client: std::sync::Arc<ClientMetadata>,
}

impl Opened {
    fn request(&self) -> &AuthorizationRequest {
        &self.row.request
    }

    fn uri(&self) -> String {
        format!("{REQUEST_URI}{}", self.name)
    }

    /// The address of the page.
    fn page(&self, more: &str) -> String {
        let mut query = form_urlencoded::Serializer::new(String::new());
        query.append_pair("client_id", &self.client.client_id);
        query.append_pair("request_uri", &self.uri());
        format!("{PATH}?{}{more}", query.finish())
    }
}

impl OAuth {
    async fn open_request(&self, ctx: &Context, asked: &Asked) -> Result<Opened, OAuthError> {
        let uri = asked.value("request_uri").ok_or_else(|| {
            OAuthError::request(
                "request_uri is missing: the request has to be pushed to /oauth/par first",
            )
        })?;
        let name = uri.strip_prefix(REQUEST_URI).unwrap_or_default();
        let row: Option<RequestRow> = self.rows.get(Kind::Request, name).map_err(server_error)?;
        let row = row.ok_or_else(|| {
            OAuthError::request("This request has expired, or has been answered already.")
        })?;
        if asked.value("client_id") != Some(row.request.client_id.as_str()) {
            return Err(OAuthError::request(
                "client_id is not the one of the request",
            ));
        }
        Ok(Opened {
            client: self.client(ctx, &row.request.client_id).await?,
            name: name.to_owned(),
            row,
        })
    }

    /// A request belongs to the browser that opened it first: its address alone is good for nothing elsewhere.
    async fn bind(
        &self,
        opened: &mut Opened,
        browser: &Browser,
        moved: bool,
        now_ms: u64,
    ) -> Result<(), OAuthError> {
        let hash = browser.hash();
        match &opened.row.browser {
            Some(bound) if *bound == hash => return Ok(()),
            Some(_) if !moved => {
                let why = "This request was opened in another browser.";
                return Err(OAuthError::request(why));
            }
            _ => {}
        }
        opened.row.browser = Some(hash);
        let mut batch = self.store.batch();
        self.rows.put(
            &mut batch,
            Kind::Request,
            &opened.name,
            &opened.row,
            now_ms + OPENED_MS,
        );
        self.store.commit(batch).await.map_err(server_error)?;
        Ok(())
    }
}

/// `GET /oauth/authorize?client_id&request_uri`.
pub async fn show(State(ctx): State<Context>, request: Request<Body>) -> Response {
    let asked = Asked::query(&ctx, &request);
    let shown = async {
        let asked = asked?;
        let mut opened = ctx.oauth.open_request(&ctx, &asked).await?;
        let browser = ctx.oauth.browser(&asked.headers)?;
        ctx.oauth
            .bind(&mut opened, &browser, false, ctx.now_ms())
            .await?;
        Ok(next_page(&ctx, &opened, &browser, asked.value("sign_in").is_some()).await)
    };
    shown
        .await
        .unwrap_or_else(|e: OAuthError| failure(&ctx, &e))
}

async fn next_page(ctx: &Context, opened: &Opened, browser: &Browser, sign_in: bool) -> Response {
    let request = opened.request();
    let accounts = choices(ctx, opened, browser);
    if request.prompt == Some(Prompt::None) {
        let code = if accounts.is_empty() {
            ErrorCode::LoginRequired
        } else {
            ErrorCode::ConsentRequired
        };
        return send_back(ctx, opened, browser, &[("error", code.name())]).await;
    }
    if sign_in || accounts.is_empty() {
        let hint = request.login_hint.as_deref().unwrap_or_default();
        return sign_in_page(ctx, opened, browser, hint, None);
    }
    let permissions = match Permissions::parse(&request.scope) {
        Ok(permissions) => permissions.words(),
        Err(e) => return failure(ctx, &e),
    };
    let uri = opened.uri();
    let consent = ConsentPage {
        hostname: ctx.config.hostname(),
        form_token: browser.form_token(),
        request: &uri,
        client_id: &opened.client.client_id,
        client: opened.client.host(),
        client_name: opened.client.name(),
        back: shortened(&request.redirect_uri),
        local: opened.client.client_id.starts_with("http://localhost"),
        accounts,
        other: opened.page("&sign_in=1"),
        permissions,
    };
    page(
        ctx,
        Some(browser),
        StatusCode::OK,
        &consent,
        Some(&request.redirect_uri),
    )
}

/// The accounts of this browser that may answer the request. Where the client names one, only that.
fn choices(ctx: &Context, opened: &Opened, browser: &Browser) -> Vec<Choice> {
    let request = opened.request();
    let fresh = |at_ms: u64| {
        request.prompt != Some(Prompt::Login) || ctx.now_ms().saturating_sub(at_ms) < LOGIN_MS
    };
    let mut choices: Vec<Choice> = Vec::new();
    for signed_in in browser.accounts().iter().filter(|a| fresh(a.at_ms)) {
        let Ok(did) = Did::parse(&signed_in.did) else {
            continue;
        };
        let Ok(Some(account)) = ctx.accounts.by_did(&did) else {
            continue;
        };
        if account.is_taken_down() {
            continue;
        }
        let hinted = request.login_hint.as_deref().is_none_or(|hint| {
            let hint = hint.trim_start_matches('@').to_lowercase();
            hint == account.handle.as_str()
                || hint == account.did.as_str()
                || account.email.as_deref() == Some(&hint)
        });
        choices.push(Choice {
            did: signed_in.did.clone(),
            handle: account.handle.to_string(),
            chosen: hinted,
        });
    }
    if choices.iter().any(|c| c.chosen) {
        choices.retain(|c| c.chosen);
    } else if request.login_hint.is_some() {
        choices.clear();
    }
    for (index, choice) in choices.iter_mut().enumerate() {
        choice.chosen = index == 0;
    }
    choices
}

fn sign_in_page(
    ctx: &Context,
    opened: &Opened,
    browser: &Browser,
    identifier: &str,
    refused: Option<Refused>,
) -> Response {
    let uri = opened.uri();
    let status = if refused.is_some() {
        StatusCode::UNAUTHORIZED
    } else {
        StatusCode::OK
    };
    let sign_in = SignInPage {
        hostname: ctx.config.hostname(),
        action: PATH,
        form_token: browser.form_token(),
        request: Some(&uri),
        client_id: Some(&opened.client.client_id),
        client: Some(opened.client.host()),
        identifier,
        wants_code: refused.as_ref().is_some_and(|r| r.wants_code),
        failure: refused.map(|r| r.why),
    };
    page(
        ctx,
        Some(browser),
        status,
        &sign_in,
        Some(&opened.request().redirect_uri),
    )
}

/// `POST /oauth/authorize`.
pub async fn answer(State(ctx): State<Context>, request: Request<Body>) -> Response {
    let answered = async {
        let asked = Asked::form(&ctx, request).await?;
        let mut browser = ctx.oauth.browser(&asked.headers)?;
        if !browser.is_form_token(asked.value("form")) {
            let why = "This page is too old, or your browser does not keep cookies of this server.";
            return Err(OAuthError::request(why));
        }
        let mut opened = ctx.oauth.open_request(&ctx, &asked).await?;
        ctx.oauth
            .bind(&mut opened, &browser, false, ctx.now_ms())
            .await?;
        match asked.value("do") {
            Some("sign_in") => sign_in(&ctx, &asked, &mut opened, &mut browser).await,
            Some("allow") => allow(&ctx, &asked, &opened, &browser).await,
            Some("deny") => {
                let error = [
                    ("error", "access_denied"),
                    ("error_description", "the owner of the account said no"),
                ];
                Ok(send_back(&ctx, &opened, &browser, &error).await)
            }
            _ => Err(OAuthError::request("the form does not say what to do")),
        }
    };
    answered.await.unwrap_or_else(|e| failure(&ctx, &e))
}

async fn sign_in(
    ctx: &Context,
    asked: &Asked,
    opened: &mut Opened,
    browser: &mut Browser,
) -> Result<Response, OAuthError> {
    match check_sign_in(ctx, asked).await {
        Ok(account) => {
            let now_ms = ctx.now_ms();
            ctx.oauth.sign_in(browser, &account.did, now_ms).await?;
            if opened.row.request.login_hint.is_some() {
                // Whoever signed in is meant, whatever the client believed.
                opened.row.request.login_hint = Some(account.did.to_string());
            }
            ctx.oauth.bind(opened, browser, true, now_ms).await?;
            Ok(redirect(ctx, Some(browser), &opened.page("")))
        }
        Err(refused) => {
            let identifier = asked.value("identifier").unwrap_or_default();
            Ok(sign_in_page(
                ctx,
                opened,
                browser,
                identifier,
                Some(refused),
            ))
        }
    }
}

async fn allow(
    ctx: &Context,
    asked: &Asked,
    opened: &Opened,
    browser: &Browser,
) -> Result<Response, OAuthError> {
    let did = asked.value("account").unwrap_or_default();
    if !choices(ctx, opened, browser)
        .iter()
        .any(|choice| choice.did == did)
    {
        return Ok(redirect(ctx, Some(browser), &opened.page("&sign_in=1")));
    }
    let oauth = &ctx.oauth;
    // Two clicks make one code.
    let _turn = match oauth.turn(&opened.name) {
        Some(turn) => Some(turn.lock().await),
        None => None,
    };
    if !oauth
        .rows
        .has(Kind::Request, &opened.name)
        .map_err(server_error)?
    {
        return Err(OAuthError::request(
            "This request has been answered already.",
        ));
    }
    let code = fresh_secret()?;
    let row = CodeRow {
        request: opened.row.request.clone(),
        client_key: opened.row.client_key.clone(),
        did: did.to_owned(),
    };
    let mut batch = oauth.store.batch();
    oauth.rows.delete(&mut batch, Kind::Request, &opened.name);
    oauth.rows.put(
        &mut batch,
        Kind::Code,
        &hash_secret(&code),
        &row,
        ctx.now_ms() + CODE_MS,
    );
    oauth.store.commit(batch).await.map_err(server_error)?;
    let to = opened.request().answer(&oauth.issuer, &[("code", &code)]);
    Ok(redirect(ctx, Some(browser), &to))
}

/// Sends the browser back with an error; the request is used up.
async fn send_back(
    ctx: &Context,
    opened: &Opened,
    browser: &Browser,
    error: &[(&str, &str)],
) -> Response {
    let mut batch = ctx.oauth.store.batch();
    ctx.oauth
        .rows
        .delete(&mut batch, Kind::Request, &opened.name);
    if let Err(e) = ctx.oauth.store.commit(batch).await {
        return failure(ctx, &server_error(e));
    }
    let to = opened.request().answer(&ctx.oauth.issuer, error);
    redirect(ctx, Some(browser), &to)
}

fn shortened(uri: &str) -> String {
    let end = uri.find('?').unwrap_or(uri.len());
    uri[..end].chars().take(120).collect()
}
