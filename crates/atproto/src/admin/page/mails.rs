//! `/admin/mails`: letters of the last week, those that wait and those that failed.

use askama::Template;
use axum::body::Body;
use axum::extract::State;
use axum::response::Response;
use http::Request;

use super::desk::{Desk, Frame, Visit};
use super::words::when;
use crate::admin::{read_letter, send_again};
use crate::mail::Mail;
use crate::xrpc::XrpcError;

const PATH: &str = "/admin/mails";
/// Letters shown.
const SHOWN: usize = 200;

struct MailLine {
    id: u64,
    to: String,
    subject: String,
    written: String,
    state: String,
    sent: bool,
    failing: bool,
}

#[derive(Template)]
#[template(path = "admin/mails.html")]
struct MailsPage {
    frame: Frame,
    sends: bool,
    mails: Vec<MailLine>,
    /// One that is shown with its text, which is gone once it was sent.
    opened: Option<(MailLine, Option<String>)>,
}

/// `GET /admin/mails?id`.
pub async fn show(State(desk): State<Desk>, request: Request<Body>) -> Response {
    match desk.enter(&request) {
        Ok(visit) => {
            let made = mails(&desk, &visit).await;
            desk.page(&visit, made)
        }
        Err(refused) => *refused,
    }
}

async fn mails(desk: &Desk, visit: &Visit) -> Result<MailsPage, XrpcError> {
    let ctx = &desk.ctx;
    let mails = ctx.outbox.list(SHOWN).map_err(XrpcError::internal)?;
    let opened = match visit.field("id").and_then(|id| id.parse().ok()) {
        Some(id) => read_letter(ctx, &visit.actor, id).await?,
        None => None,
    };
    Ok(MailsPage {
        frame: desk.frame(visit, "mails"),
        sends: ctx.config.mail.smtp_url.is_some(),
        mails: mails.iter().map(line).collect(),
        opened: opened.map(|(mail, text)| (line(&mail), text)),
    })
}

fn line(mail: &Mail) -> MailLine {
    let state = match (&mail.sent_at, &mail.error) {
        (Some(at), _) => format!("sent {}", when(at)),
        (None, Some(error)) if mail.given_up => {
            format!("given up after {} tries: {error}", mail.attempts)
        }
        (None, Some(error)) => format!("{} tries: {error}", mail.attempts),
        (None, None) => "waits".to_owned(),
    };
    MailLine {
        id: mail.id,
        to: mail.to.clone(),
        subject: mail.subject.clone(),
        written: when(&mail.created_at),
        state,
        sent: mail.sent_at.is_some(),
        failing: mail.sent_at.is_none() && mail.error.is_some(),
    }
}

/// `POST /admin/mails`.
pub async fn answer(State(desk): State<Desk>, request: Request<Body>) -> Response {
    let visit = match desk.order(request).await {
        Ok(visit) => visit,
        Err(refused) => return *refused,
    };
    let id = visit.field("id").and_then(|id| id.parse().ok());
    let done = match (visit.field("do"), id) {
        (Some("again"), Some(id)) => send_again(&desk.ctx, &visit.actor, id)
            .await
            .map(|()| format!("Letter {id} is tried again.")),
        _ => Err(XrpcError::invalid("there is no such button")),
    };
    desk.done(&visit, done, PATH)
}
