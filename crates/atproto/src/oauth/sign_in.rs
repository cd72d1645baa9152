//! Signing in to the pages, by the account's own password.

use std::net::IpAddr;
use std::sync::Arc;

use http::HeaderMap;
use ues_repo::repo::layout::Status;
use ues_repo::syntax::AtIdentifier;

use crate::accounts::{Account, MAX_OLD_PASSWORD};
use crate::context::Context;
use crate::factors;
use crate::limits::{self, Tightest};
use crate::xrpc::XrpcError;

use super::asked::Asked;
use super::browser::Browser;
use super::passkeys::finish_sign_in;

const WRONG: &str = "The handle or the password is wrong.";
const FAILED: &str = "The server failed. Try again later.";
const TOO_MANY: &str = "Too many tries. Wait some minutes.";

/// Why somebody is not signed in.
pub struct Refused {
    /// In words for them.
    pub why: String,
    /// Whether the password was right, and a code is wanted besides.
    pub wants_code: bool,
}

impl From<String> for Refused {
    fn from(why: String) -> Self {
        Self {
            why,
            wants_code: false,
        }
    }
}

/// The account that a sign-in form names, if its password and, where it wants one, its code are right.
/// The code may follow in a form of its own (`do=code`): the browser is known to have had the password. A passkey
/// (`do=passkey`) stands for both.
pub async fn check_sign_in(
    ctx: &Context,
    asked: &Asked,
    browser: &Browser,
) -> Result<Arc<Account>, Refused> {
    let text = |name| asked.value(name).unwrap_or_default();
    let (headers, client) = (&asked.headers, asked.client);
    if asked.value("do") == Some("passkey") {
        return Ok(finish_sign_in(ctx, browser, text("credential")).await?);
    }
    let account = if asked.value("do") == Some("code") {
        half_way(ctx, browser)?
    } else {
        check_password(ctx, headers, client, text("identifier"), text("password")).await?
    };
    if let Err(e) = check_factor(ctx, asked, &account).await {
        let put = ctx.oauth.put_half_way(browser, &account.did, ctx.now_ms());
        put.await.map_err(|_| FAILED.to_owned())?;
        return Err(Refused {
            why: sentence(&e),
            wants_code: true,
        });
    }
    Ok(account)
}

fn half_way(ctx: &Context, browser: &Browser) -> Result<Arc<Account>, String> {
    let did = ctx.oauth.half_way(browser).map_err(|_| FAILED.to_owned())?;
    let account = did.map(|did| ctx.accounts.by_did(&did)).transpose();
    let account = account.map_err(|e| failed(&e))?.flatten();
    account
        .filter(|a| !a.is_deleted() && !a.is_taken_down())
        .ok_or_else(|| "That took too long. Sign in again.".to_owned())
}

/// Whether a form of somebody who is signed in brings their password and, where sign-ins want one, a code.
/// An error is a sentence for the page.
pub async fn check_again(ctx: &Context, asked: &Asked, account: &Account) -> Result<(), String> {
    let password = asked.value("password").unwrap_or_default();
    let did = account.did.as_str();
    match check_password(ctx, &asked.headers, asked.client, did, password).await {
        Err(why) if why == WRONG => return Err("The password is wrong.".to_owned()),
        other => other?,
    };
    let checked = check_factor(ctx, asked, account).await;
    checked.map_err(|e| sentence(&e))
}

/// Counts a try of a second factor.
pub fn spend_factor(ctx: &Context, asked: &Asked, account: &Account) -> Result<(), XrpcError> {
    let mut tightest = Tightest::default();
    if ctx.limiter.applies(&asked.headers, asked.client) {
        let did = account.did.as_str();
        tightest.add(ctx.limiter.consume(limits::SECOND_FACTOR, did, 1));
    }
    tightest.check()
}

async fn check_factor(ctx: &Context, asked: &Asked, account: &Account) -> Result<(), XrpcError> {
    let code = asked.value("code").map(str::trim);
    let spend = || spend_factor(ctx, asked, account);
    factors::check(ctx, account, code, spend).await
}

/// An error as a sentence for the page.
pub fn sentence(e: &XrpcError) -> String {
    match e.name() {
        "RateLimitExceeded" => TOO_MANY.to_owned(),
        "InternalServerError" => FAILED.to_owned(),
        "InvalidToken" if e.message() == "Token is invalid" => "This code is not good.".to_owned(),
        _ => format!("{}.", e.message().trim_end_matches('.')),
    }
}

/// Logs a failure of ours; gives what the page says of it.
pub fn failed(cause: &dyn std::fmt::Display) -> String {
    tracing::error!(%cause, "signing in failed");
    FAILED.to_owned()
}

/// The account of a handle, DID or e-mail address and a password. An error is a sentence for the page.
async fn check_password(
    ctx: &Context,
    headers: &HeaderMap,
    client: IpAddr,
    identifier: &str,
    password: &str,
) -> Result<Arc<Account>, String> {
    let identifier = identifier.trim().trim_start_matches('@').to_lowercase();
    if ctx.limiter.applies(headers, client) {
        let short: String = identifier.chars().take(320).collect();
        let key = format!("{short}-{}", limits::limit_key(client));
        let mut tightest = Tightest::default();
        for limit in [limits::CREATE_SESSION_DAY, limits::CREATE_SESSION] {
            tightest.add(ctx.limiter.consume(limit, &key, 1));
        }
        if tightest.check().is_err() {
            return Err(TOO_MANY.to_owned());
        }
    }
    if password.chars().count() > MAX_OLD_PASSWORD {
        return Err(WRONG.to_owned());
    }
    let account = if identifier.contains('@') {
        ctx.accounts.by_email(&identifier)
    } else {
        match AtIdentifier::parse(&identifier) {
            Ok(id) => ctx.accounts.by_identifier(&id),
            Err(_) => Ok(None),
        }
    };
    let account = account.map_err(|e| failed(&e))?;
    let account = account.filter(|a| a.status() != Status::Deleted);
    let stored = account.as_ref().and_then(|a| a.password.as_deref());
    let same = ctx.passwords.verify(password, stored).await;
    let same = same.map_err(|e| failed(&e))?;
    let account = account.filter(|_| same).ok_or_else(|| WRONG.to_owned())?;
    if account.is_taken_down() {
        return Err("This account has been taken down.".to_owned());
    }
    Ok(account)
}
