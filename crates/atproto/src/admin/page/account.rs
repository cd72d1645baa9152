//! `/admin/account`: one account, and what can be done to it.

use std::sync::Arc;

use askama::Template;
use axum::body::Body;
use axum::extract::State;
use axum::response::Response;
use http::Request;
use serde_json::{Value, json};
use ues_repo::repo::layout::Status;
use ues_repo::syntax::{Datetime, Did};

use super::desk::{Desk, Frame, Visit};
use super::words::{when, when_ms};
use crate::accounts::{Account, handle_rules};
use crate::admin::{
    NewQuotas, Subject, end_sessions, lift_suspension, send_password_reset, set_account_invites,
    set_deactivated, set_quotas, set_takedown, suspend,
};
use crate::context::Context;
use crate::lifecycle;
use crate::methods::{EmailChange, change_email, change_handle_as};
use crate::quota::quotas;
use crate::web::{bytes, grouped};
use crate::xrpc::XrpcError;

const DAY_MS: u64 = 86_400_000;
/// Longest suspension that the page gives, in days.
const MAX_DAYS: u64 = 3650;

struct SessionLine {
    id: String,
    kind: String,
    since: String,
    used: String,
}

struct AppLine {
    client: String,
    name: Option<String>,
    since: String,
    used: String,
}

struct PasswordLine {
    name: String,
    since: String,
    privileged: bool,
}

struct CodeLine {
    code: String,
    used: usize,
    available: i64,
    disabled: bool,
}

/// What an account has, besides its row.
struct Holdings {
    records: String,
    record_bytes: String,
    record_quota: Option<String>,
    record_bytes_quota: Option<String>,
    own_record_quota: bool,
    own_record_bytes_quota: bool,
    collections: Vec<String>,
    blobs: String,
    blob_bytes: String,
    quota: Option<String>,
    own_quota: bool,
    sessions: Vec<SessionLine>,
    apps: Vec<AppLine>,
    passwords: Vec<PasswordLine>,
    codes: Vec<CodeLine>,
}

#[derive(Template)]
#[template(path = "admin/account.html")]
struct AccountPage {
    frame: Frame,
    did: String,
    handle: String,
    status: &'static str,
    email: Option<String>,
    confirmed: Option<String>,
    since: String,
    takedown: Option<String>,
    deactivated: Option<String>,
    delete_after: Option<String>,
    invited_with: Option<String>,
    invites_disabled: bool,
    factors: Vec<&'static str>,
    taken_down: bool,
    /// Until when it is suspended, and why.
    suspended: Option<(String, Option<String>)>,
    off: bool,
    held: Holdings,
}

/// `GET /admin/account?did`.
pub async fn show(State(desk): State<Desk>, request: Request<Body>) -> Response {
    let visit = match desk.enter(&request) {
        Ok(visit) => visit,
        Err(refused) => return *refused,
    };
    let made = account(&desk, &visit).await;
    desk.page(&visit, made)
}

fn found(ctx: &Context, visit: &Visit) -> Result<Arc<Account>, XrpcError> {
    let did = Did::parse(visit.field("did").unwrap_or_default());
    let did = did.map_err(|_| XrpcError::invalid("which account is not said"))?;
    let missing = || XrpcError::named("NotFound", format!("there is no account {did}"));
    lifecycle::account(ctx, &did)?.ok_or_else(missing)
}

async fn account(desk: &Desk, visit: &Visit) -> Result<AccountPage, XrpcError> {
    let ctx = &desk.ctx;
    let account = found(ctx, visit)?;
    let (of, whose) = (ctx.clone(), Arc::clone(&account));
    let held = tokio::task::spawn_blocking(move || holdings(&of, &whose));
    let held = held.await.map_err(XrpcError::internal)??;
    let mut factors = Vec::new();
    if ctx.totps.is_on(&account.did).map_err(XrpcError::internal)? {
        factors.push("authenticator");
    }
    if account.email_factor {
        factors.push("code by mail");
    }
    Ok(AccountPage {
        frame: desk.frame(visit, "accounts"),
        did: account.did.to_string(),
        handle: account.handle.to_string(),
        status: account.status().name().unwrap_or("active"),
        email: account.email.clone(),
        confirmed: account.email_confirmed_at.as_deref().map(when),
        since: when(&account.created_at),
        takedown: account.takedown.clone(),
        deactivated: account.deactivated_at.as_deref().map(when),
        delete_after: account.delete_after.as_deref().map(when),
        invited_with: account.invite_code.clone(),
        invites_disabled: account.invites_disabled,
        factors,
        taken_down: account.status() == Status::Takendown,
        suspended: account.suspension.as_ref().map(|suspension| {
            let until = suspension.until.as_deref().map(when);
            let until =
                until.map_or_else(|| "until it is lifted".to_owned(), |t| format!("until {t}"));
            (until, suspension.reason.clone())
        }),
        off: account.is_deactivated(),
        held,
    })
}

fn holdings(ctx: &Context, account: &Account) -> Result<Holdings, XrpcError> {
    let did = &account.did;
    let repos = &ctx.repos;
    let usage = repos.usage(did).map_err(XrpcError::internal)?;
    let quotas = quotas(ctx, account);
    let sessions = ctx.sessions.list(did, ctx.now_ms());
    let sessions = sessions.map_err(XrpcError::internal)?.into_iter();
    let apps = ctx.oauth.connected_apps(did);
    let apps = apps.map_err(XrpcError::internal)?.into_iter();
    let passwords = ctx.app_passwords.list(did);
    let passwords = passwords.map_err(XrpcError::internal)?.into_iter();
    let mut codes = Vec::new();
    for invite in ctx
        .invites
        .of_account(did.as_str())
        .map_err(XrpcError::internal)?
    {
        let uses = ctx.invites.uses(&invite.code);
        codes.push(CodeLine {
            used: uses.map_err(XrpcError::internal)?.len(),
            code: invite.code,
            available: invite.available,
            disabled: invite.disabled,
        });
    }
    Ok(Holdings {
        records: grouped(usage.records),
        record_bytes: bytes(usage.record_bytes),
        record_quota: quotas.records.map(grouped),
        record_bytes_quota: quotas.record_bytes.map(bytes),
        collections: repos.collections(did).map_err(XrpcError::internal)?,
        blobs: grouped(usage.blobs),
        blob_bytes: bytes(usage.blob_bytes),
        quota: quotas.blob_bytes.map(bytes),
        own_quota: account.blob_quota.is_some(),
        own_record_quota: account.record_quota.is_some(),
        own_record_bytes_quota: account.record_bytes_quota.is_some(),
        sessions: sessions
            .map(|session| SessionLine {
                id: session.id,
                kind: match session.grant.app_password {
                    Some(name) => format!("app password “{name}”"),
                    None => "own password".to_owned(),
                },
                since: when_ms(session.started_ms),
                used: when_ms(session.used_ms),
            })
            .collect(),
        apps: apps
            .map(|app| AppLine {
                client: app.client_id,
                name: app.client_name,
                since: when_ms(app.created_ms),
                used: when_ms(app.refreshed_ms),
            })
            .collect(),
        passwords: passwords
            .map(|password| PasswordLine {
                since: when(&password.created_at),
                name: password.name,
                privileged: password.privileged,
            })
            .collect(),
        codes,
    })
}

/// `POST /admin/account`.
pub async fn answer(State(desk): State<Desk>, request: Request<Body>) -> Response {
    let visit = match desk.order(request).await {
        Ok(visit) => visit,
        Err(refused) => return *refused,
    };
    let account = match found(&desk.ctx, &visit) {
        Ok(account) => account,
        Err(e) => return desk.done(&visit, Err(e), "/admin/accounts"),
    };
    let done = order(&desk, &visit, &account).await;
    let gone = done.is_ok() && visit.field("do") == Some("delete");
    let to = match gone {
        true => "/admin/accounts".to_owned(),
        false => format!("/admin/account?did={}", account.did),
    };
    desk.done(&visit, done, &to)
}

async fn order(desk: &Desk, visit: &Visit, account: &Account) -> Result<String, XrpcError> {
    let (ctx, actor, did) = (&desk.ctx, &visit.actor, &account.did);
    let given = |name: &str, what: &str| {
        let missing = || XrpcError::invalid(format!("{what} is missing"));
        visit.field(name).map(str::to_owned).ok_or_else(missing)
    };
    match visit.field("do").unwrap_or_default() {
        "take_down" => {
            let reason = visit.field("reason").map(str::to_owned);
            set_takedown(ctx, actor, &Subject::Repo(did.clone()), true, reason).await?;
            Ok("The account is taken down.".to_owned())
        }
        "give_back" => {
            set_takedown(ctx, actor, &Subject::Repo(did.clone()), false, None).await?;
            Ok("The account is served again.".to_owned())
        }
        "suspend" => {
            let days = given("days", "the number of days")?;
            let days = days
                .parse::<u64>()
                .ok()
                .filter(|days| (1..=MAX_DAYS).contains(days));
            let wrong = || XrpcError::invalid(format!("a suspension takes 1 to {MAX_DAYS} days"));
            let ends = ctx.now_ms() + days.ok_or_else(wrong)? * DAY_MS;
            let until = Datetime::from_unix_millis(ends.cast_signed()).to_string();
            let reason = visit.field("reason").map(str::to_owned);
            suspend(ctx, actor, did, Some(&until), reason).await?;
            Ok(format!("The account is suspended until {}.", when(&until)))
        }
        "lift" => {
            lift_suspension(ctx, actor, did).await?;
            Ok("The suspension is lifted.".to_owned())
        }
        "deactivate" => {
            set_deactivated(ctx, actor, did, true).await?;
            Ok("The account is switched off.".to_owned())
        }
        "activate" => {
            set_deactivated(ctx, actor, did, false).await?;
            Ok("The account is switched on.".to_owned())
        }
        "end_sessions" => {
            end_sessions(ctx, actor, did, None).await?;
            Ok("All sessions are ended.".to_owned())
        }
        "end_session" => {
            let id = given("session", "the session")?;
            end_sessions(ctx, actor, did, Some(&id)).await?;
            Ok("The session is ended.".to_owned())
        }
        "reset_password" => {
            send_password_reset(ctx, actor, did).await?;
            Ok("The letter is written. Mails shows whether it went.".to_owned())
        }
        "handle" => {
            let handle = given("handle", "the handle")?;
            let act = actor.act(
                "updateAccountHandle",
                did.as_str(),
                json!({ "handle": handle }),
            );
            let handle = change_handle_as(ctx, did, &handle, Some(act)).await?;
            Ok(format!("The account is now {handle}."))
        }
        "email" => {
            let email = given("email", "the address")?;
            if !handle_rules::is_email(&email) {
                return Err(XrpcError::invalid(format!("{email} is no e-mail address")));
            }
            let act = actor.act(
                "updateAccountEmail",
                did.as_str(),
                json!({ "email": email }),
            );
            let change = EmailChange {
                email: &email,
                factor: None,
                token: None,
            };
            change_email(ctx, did, change, Some(act)).await?;
            Ok(format!("The address is now {email}."))
        }
        "disable_invites" => {
            set_account_invites(ctx, actor, did, true, None).await?;
            Ok("The account gets no invite codes any more.".to_owned())
        }
        "enable_invites" => {
            set_account_invites(ctx, actor, did, false, None).await?;
            Ok("The account gets invite codes again.".to_owned())
        }
        kind @ ("quota" | "record_quota" | "record_bytes_quota") => {
            let quota = match visit.field(kind) {
                None => None,
                Some(text) => {
                    let wrong = || XrpcError::invalid(format!("{text:?} is no number"));
                    Some(text.parse::<u64>().map_err(|_| wrong())?)
                }
            };
            let mut new = NewQuotas::default();
            match kind {
                "record_quota" => new.records = Some(quota),
                "record_bytes_quota" => new.record_bytes = Some(quota),
                _ => new.blob_bytes = Some(quota),
            }
            set_quotas(ctx, actor, did, new).await?;
            Ok("The quota is set.".to_owned())
        }
        "delete" => {
            let typed = visit.field("confirm").unwrap_or_default();
            if typed != account.handle.as_str() && typed != did.as_str() {
                return Err(XrpcError::invalid(
                    "nothing was deleted: what was typed is not the handle of this account",
                ));
            }
            let act = actor.act("deleteAccount", did.as_str(), Value::Null);
            lifecycle::delete(ctx, did, Some(act)).await?;
            Ok(format!("{typed} is deleted."))
        }
        _ => Err(XrpcError::invalid("there is no such button")),
    }
}
