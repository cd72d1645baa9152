//! `/admin/accounts`: finding accounts.

use askama::Template;
use axum::body::Body;
use axum::extract::State;
use axum::response::Response;
use http::Request;

use super::desk::{Desk, Frame, Visit};
use super::words::when;
use crate::accounts::Account;
use crate::admin::{find_accounts, is_like};
use crate::xrpc::XrpcError;

/// Accounts of one page.
const PAGE: usize = 50;
/// Longest text that is looked for, in characters.
const MAX_QUERY: usize = 300;

struct AccountLine {
    did: String,
    handle: String,
    email: String,
    status: &'static str,
    since: String,
}

#[derive(Template)]
#[template(path = "admin/accounts.html")]
struct AccountsPage {
    frame: Frame,
    query: String,
    accounts: Vec<AccountLine>,
    /// The query string of the page after this one.
    next: Option<String>,
}

/// `GET /admin/accounts?q&cursor`: by a part of the handle, the DID or the e-mail address.
pub async fn show(State(desk): State<Desk>, request: Request<Body>) -> Response {
    let visit = match desk.enter(&request) {
        Ok(visit) => visit,
        Err(refused) => return *refused,
    };
    let made = accounts(&desk, &visit).await;
    desk.page(&visit, made)
}

async fn accounts(desk: &Desk, visit: &Visit) -> Result<AccountsPage, XrpcError> {
    let query: String = visit
        .field("q")
        .unwrap_or_default()
        .chars()
        .take(MAX_QUERY)
        .collect();
    let after = visit.field("cursor").map(str::to_owned);
    let found = find_accounts(&desk.ctx, after, PAGE, is_like(&query)).await?;
    let last = found.last().filter(|_| found.len() == PAGE);
    Ok(AccountsPage {
        frame: desk.frame(visit, "accounts"),
        next: last.map(|last| {
            let mut next = form_urlencoded::Serializer::new(String::new());
            next.append_pair("q", &query);
            next.append_pair("cursor", last.did.as_str());
            next.finish()
        }),
        query,
        accounts: found.iter().map(|account| line(account)).collect(),
    })
}

fn line(account: &Account) -> AccountLine {
    AccountLine {
        did: account.did.to_string(),
        handle: account.handle.to_string(),
        email: account.email.clone().unwrap_or_default(),
        status: account.status().name().unwrap_or("active"),
        since: when(&account.created_at),
    }
}
