//! `/admin/invites`: codes made, listed, made worthless.

use std::sync::Arc;

use askama::Template;
use axum::body::Body;
use axum::extract::State;
use axum::response::Response;
use http::Request;
use ues_repo::syntax::{AtIdentifier, Did};

use super::desk::{Desk, Frame, Visit};
use super::words::{account_name, when};
use crate::accounts::InviteOrder;
use crate::admin::{MAX_COUNT, MAX_USES, disable_invites, make_invites};
use crate::xrpc::XrpcError;

const PATH: &str = "/admin/invites";
/// Codes of one page.
const PAGE: usize = 100;

struct InviteLine {
    code: String,
    used: usize,
    available: i64,
    owner: String,
    made: String,
    disabled: bool,
}

#[derive(Template)]
#[template(path = "admin/invites.html")]
struct InvitesPage {
    frame: Frame,
    required: bool,
    invites: Vec<InviteLine>,
    /// The query string of the page after this one.
    next: Option<String>,
}

/// `GET /admin/invites?at&code`.
pub async fn show(State(desk): State<Desk>, request: Request<Body>) -> Response {
    let visit = match desk.enter(&request) {
        Ok(visit) => visit,
        Err(refused) => return *refused,
    };
    let made = invites(&desk, &visit).await;
    desk.page(&visit, made)
}

async fn invites(desk: &Desk, visit: &Visit) -> Result<InvitesPage, XrpcError> {
    let ctx = &desk.ctx;
    let at = visit.field("at").map(str::to_owned);
    let after = at.zip(visit.field("code").map(str::to_owned));
    let all = Arc::clone(&ctx.invites);
    let listed =
        tokio::task::spawn_blocking(move || all.list(InviteOrder::Recent, after.as_ref(), PAGE));
    let listed = listed.await.map_err(XrpcError::internal)?;
    let listed = listed.map_err(XrpcError::internal)?;
    let last = listed.last().filter(|_| listed.len() == PAGE);
    Ok(InvitesPage {
        frame: desk.frame(visit, "invites"),
        required: ctx.config.invite_required,
        next: last.map(|((at, code), ..)| {
            let mut next = form_urlencoded::Serializer::new(String::new());
            next.append_pair("at", at).append_pair("code", code);
            next.finish()
        }),
        invites: listed
            .iter()
            .map(|(_, invite, uses)| InviteLine {
                code: invite.code.clone(),
                used: uses.len(),
                available: invite.available,
                owner: Did::parse(&invite.for_account)
                    .map_or_else(|_| String::new(), |did| account_name(ctx, &did)),
                made: when(&invite.created_at),
                disabled: invite.disabled,
            })
            .collect(),
    })
}

/// `POST /admin/invites`.
pub async fn answer(State(desk): State<Desk>, request: Request<Body>) -> Response {
    let visit = match desk.order(request).await {
        Ok(visit) => visit,
        Err(refused) => return *refused,
    };
    let done = match visit.field("do") {
        Some("make") => make(&desk, &visit).await,
        Some("disable") => disable(&desk, &visit).await,
        _ => Err(XrpcError::invalid("there is no such button")),
    };
    desk.done(&visit, done, PATH)
}

async fn make(desk: &Desk, visit: &Visit) -> Result<String, XrpcError> {
    let ctx = &desk.ctx;
    let number = |name: &str, most: i64| {
        let number = visit.field(name).unwrap_or("1").parse::<i64>().ok();
        let wrong = || XrpcError::invalid(format!("{name}: expected a number from 1 to {most}"));
        number.filter(|n| (1..=most).contains(n)).ok_or_else(wrong)
    };
    let uses = number("uses", MAX_USES)?;
    let count = usize::try_from(number("count", MAX_COUNT)?).unwrap_or(1);
    let accounts = match visit.field("account") {
        None => None,
        Some(name) => {
            let missing = || XrpcError::invalid(format!("there is no account {name}"));
            let id = AtIdentifier::parse(name.trim_start_matches('@')).map_err(|_| missing())?;
            let found = ctx
                .accounts
                .by_identifier(&id)
                .map_err(XrpcError::internal)?;
            let found = found.filter(|account| !account.is_deleted());
            Some(vec![found.ok_or_else(missing)?.did.to_string()])
        }
    };
    let made = make_invites(ctx, &visit.actor, accounts, count, uses).await?;
    let codes: Vec<_> = made.into_iter().flat_map(|(_, codes)| codes).collect();
    Ok(codes.join("\n"))
}

async fn disable(desk: &Desk, visit: &Visit) -> Result<String, XrpcError> {
    let code = visit.field("code").unwrap_or_default();
    let known = desk.ctx.invites.get(code).map_err(XrpcError::internal)?;
    if known.is_none() {
        return Err(XrpcError::invalid(format!(
            "there is no invite code {code}"
        )));
    }
    disable_invites(&desk.ctx, &visit.actor, &[code.to_owned()], &[]).await?;
    Ok(format!("{code} is good for nothing now."))
}
