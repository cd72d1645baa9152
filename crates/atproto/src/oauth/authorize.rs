//! `/oauth/authorize`: who is it, and do they agree.

use axum::body::Body;
use axum::extract::State;
use axum::response::Response;
use http::{Request, StatusCode};
use ues_oauth::{
    AuthorizationRequest, ClientMetadata, ErrorCode, OAuthError, Permissions, Prompt, Words,
};
use ues_repo::syntax::Did;

use super::asked::Asked;
use super::browser::Browser;
use super::consent::{Silent, give_code};
use super::end_points::REQUEST_URI;
use super::page::{Choice, ConsentPage, SignInPage, failure, page, page_with_passkeys, redirect};
use super::permission_sets::SetView;
use super::rows::{Kind, RequestRow};
use super::sign_in::{Refused, check_sign_in};
use super::sign_up::{For, Wrong, sign_up, sign_up_page};
use super::{OAuth, server_error};
use crate::context::Context;

/// For how long a request that was opened can be answered.
const OPENED_MS: u64 = 3_600_000;
/// How fresh a sign-in must be where the client asks for one.
const LOGIN_MS: u64 = 300_000;
const PATH: &str = "/oauth/authorize";

/// A pushed request that was found again.
pub struct Opened {
    /// What it is called.
    pub name: String,
    /// What was pushed.
    pub row: RequestRow,
    /// Who pushed it.
    pub client: std::sync::Arc<ClientMetadata>,
}

impl Opened {
    /// What is asked for.
    pub fn request(&self) -> &AuthorizationRequest {
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
        next_page(&ctx, &asked, &opened, &browser).await
    };
    shown
        .await
        .unwrap_or_else(|e: OAuthError| failure(&ctx, &e))
}

async fn next_page(
    ctx: &Context,
    asked: &Asked,
    opened: &Opened,
    browser: &Browser,
) -> Result<Response, OAuthError> {
    let request = opened.request();
    let accounts = choices(ctx, opened, browser);
    if let Some(response) = without_page(ctx, opened, browser, &accounts).await? {
        return Ok(response);
    }
    let wished = |what: &str| asked.value(what).is_some();
    if wished("sign_up") || request.prompt == Some(Prompt::Create) && !wished("sign_in") {
        return Ok(new_account_page(ctx, asked, opened, browser, None));
    }
    if wished("sign_in") || accounts.is_empty() {
        let hint = request.login_hint.as_deref().unwrap_or_default();
        return Ok(sign_in_page(ctx, opened, browser, hint, None));
    }
    let (permissions, sets) = asked_for(ctx, &request.scope).await?;
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
        sets,
    };
    let back = Some(request.redirect_uri.as_str());
    Ok(page(ctx, Some(browser), StatusCode::OK, &consent, back))
}

/// The answer to a request that shows no page: because it may not, or need not.
async fn without_page(
    ctx: &Context,
    opened: &Opened,
    browser: &Browser,
    accounts: &[Choice],
) -> Result<Option<Response>, OAuthError> {
    let request = opened.request();
    let silent = request.prompt == Some(Prompt::None);
    if !silent && (request.prompt.is_some() || request.login_hint.is_none()) {
        return Ok(None);
    }
    let error = match accounts {
        [one] => {
            let missing = ctx
                .oauth
                .needs_no_page(opened, browser, &one.did, ctx.now_ms())?;
            match missing {
                Silent::Nothing => {
                    let code = give_code(ctx, opened, browser, &one.did).await?;
                    return Ok(Some(code));
                }
                Silent::SignIn => ErrorCode::LoginRequired,
                Silent::Consent => ErrorCode::ConsentRequired,
            }
        }
        [] => ErrorCode::LoginRequired,
        _ => ErrorCode::AccountSelectionRequired,
    };
    if !silent {
        return Ok(None);
    }
    Ok(Some(
        send_back(ctx, opened, browser, &[("error", error.name())]).await,
    ))
}

fn new_account_page(
    ctx: &Context,
    asked: &Asked,
    opened: &Opened,
    browser: &Browser,
    wrong: Option<Wrong>,
) -> Response {
    let (uri, sign_in) = (opened.uri(), opened.page("&sign_in=1"));
    let client = opened.client.host();
    let to = For {
        action: PATH,
        request: Some((&uri, &opened.client.client_id)),
        client: Some(&client),
        sign_in: &sign_in,
        back: Some(&opened.request().redirect_uri),
    };
    sign_up_page(ctx, browser, asked, to, wrong)
}

/// What a scope asks for, in words.
async fn asked_for(ctx: &Context, scope: &str) -> Result<(Vec<Words>, Vec<SetView>), OAuthError> {
    let asked = Permissions::parse(scope)?;
    let sets = ctx.oauth.set_views(ctx, &asked).await?;
    Ok((asked.words(), sets))
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
        passkeys: ctx.oauth.passkeys.is_some(),
        failure: refused.map(|r| r.why),
        sign_up: opened.page("&sign_up=1"),
    };
    let back = &opened.request().redirect_uri;
    page_with_passkeys(ctx, browser, status, &sign_in, Some(back))
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
            Some("sign_in" | "code" | "passkey") => {
                sign_in(&ctx, &asked, &mut opened, &mut browser).await
            }
            Some("sign_up") => create(&ctx, &asked, &mut opened, &mut browser).await,
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
    match check_sign_in(ctx, asked, browser).await {
        Ok(account) => go_on(ctx, &account.did, opened, browser).await,
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

async fn create(
    ctx: &Context,
    asked: &Asked,
    opened: &mut Opened,
    browser: &mut Browser,
) -> Result<Response, OAuthError> {
    match sign_up(ctx, asked).await? {
        Ok(did) => go_on(ctx, &did, opened, browser).await,
        Err(wrong) => Ok(new_account_page(ctx, asked, opened, browser, Some(wrong))),
    }
}

/// Signs an account in, and goes on to what it is asked.
async fn go_on(
    ctx: &Context,
    did: &Did,
    opened: &mut Opened,
    browser: &mut Browser,
) -> Result<Response, OAuthError> {
    let now_ms = ctx.now_ms();
    ctx.oauth.sign_in(browser, did, now_ms).await?;
    let request = &mut opened.row.request;
    if request.login_hint.is_some() || request.prompt == Some(Prompt::Create) {
        // Whoever signed in is meant, whatever the client believed.
        request.login_hint = Some(did.to_string());
    }
    if request.prompt == Some(Prompt::Create) {
        // That is done, and what follows is to agree.
        request.prompt = Some(Prompt::Consent);
    }
    ctx.oauth.bind(opened, browser, true, now_ms).await?;
    Ok(redirect(ctx, Some(browser), &opened.page("")))
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
    give_code(ctx, opened, browser, did).await
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
