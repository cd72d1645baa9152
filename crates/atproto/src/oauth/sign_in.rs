//! Signing in to the pages, by the account's own password.

use std::net::IpAddr;
use std::sync::Arc;

use http::HeaderMap;
use ues_repo::repo::layout::Status;
use ues_repo::syntax::AtIdentifier;

use crate::accounts::{Account, MAX_OLD_PASSWORD};
use crate::context::Context;
use crate::limits::{self, Tightest};
use crate::methods::second_factor;

use super::authorize::Asked;

const WRONG: &str = "The handle or the password is wrong.";

/// Why somebody is not signed in.
pub struct Refused {
    /// In words for them.
    pub why: String,
    /// Whether a code besides the password is wanted.
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
pub async fn check_sign_in(ctx: &Context, asked: &Asked) -> Result<Arc<Account>, Refused> {
    let text = |name| asked.value(name).unwrap_or_default();
    let (headers, client) = (&asked.headers, asked.client);
    let account =
        check_password(ctx, headers, client, text("identifier"), text("password")).await?;
    let spend = || {
        let mut tightest = Tightest::default();
        if ctx.limiter.applies(headers, client) {
            let did = account.did.as_str();
            tightest.add(ctx.limiter.consume(limits::SECOND_FACTOR, did, 1));
        }
        tightest.check()
    };
    let code = asked.value("code").map(str::trim);
    match second_factor(ctx, &account, code, spend).await {
        Ok(()) => Ok(account),
        Err(e) => Err(Refused {
            why: format!("{}.", e.message().trim_end_matches('.')),
            wants_code: true,
        }),
    }
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
            return Err("Too many tries. Wait some minutes.".to_owned());
        }
    }
    if password.chars().count() > MAX_OLD_PASSWORD {
        return Err(WRONG.to_owned());
    }
    let failed = |cause: &dyn std::fmt::Display| {
        tracing::error!(%cause, "signing in failed");
        "The server failed. Try again later.".to_owned()
    };
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
