//! Mail that waits, reports, and what was done in administering the node.

use axum::Json;
use axum::extract::{Query, State};
use serde::Deserialize;
use serde_json::json;
use ues_atproto::admin;

use super::Desk;
use super::accounts::actor;
use super::answer::{Answer, Refusal};

/// Which page: entries before a number, the newest first.
#[derive(Deserialize)]
pub struct Page {
    limit: Option<usize>,
    before: Option<u64>,
    /// Of reports, those that are not done.
    #[serde(default)]
    open: bool,
}

impl Page {
    fn limit(&self) -> usize {
        self.limit.unwrap_or(50).clamp(1, 1000)
    }
}

/// Which letter.
#[derive(Deserialize)]
pub struct Which {
    id: u64,
}

/// `GET audit?limit&before`.
pub async fn audit(State(desk): State<Desk>, Query(page): Query<Page>) -> Answer {
    let acts = desk.ctx.acts.page(page.before, page.limit());
    let acts = acts.map_err(Refusal::internal)?;
    let acts: Vec<_> = acts
        .iter()
        .map(|(number, act)| {
            let mut line = json!(act);
            line["number"] = (*number).into();
            line
        })
        .collect();
    Ok(Json(json!({ "acts": acts })))
}

/// `GET reports?limit&before&open`.
pub async fn reports(State(desk): State<Desk>, Query(page): Query<Page>) -> Answer {
    let reports = desk
        .ctx
        .reports
        .page_of(page.before, page.limit(), |report| {
            !page.open || report.done.is_none()
        });
    let reports = reports.map_err(Refusal::internal)?;
    let reports: Vec<_> = reports.into_iter().map(|(_, report)| report).collect();
    Ok(Json(json!({ "reports": reports })))
}

/// What becomes of a report.
#[derive(Deserialize)]
pub struct Mark {
    id: u64,
    done: bool,
    note: Option<String>,
}

/// `POST report {id, done, note?}`: marks a report as done, or opens it again.
pub async fn mark_report(State(desk): State<Desk>, Json(mark): Json<Mark>) -> Answer {
    let report = admin::mark_report(&desk.ctx, &actor(), mark.id, mark.done, mark.note).await?;
    Ok(Json(json!(report)))
}

/// `POST mail/again {id}`: tries a letter that was not sent again.
pub async fn mail_again(State(desk): State<Desk>, Json(which): Json<Which>) -> Answer {
    admin::send_again(&desk.ctx, &actor(), which.id).await?;
    Ok(Json(json!({ "id": which.id })))
}

/// `GET mails?limit`.
pub async fn mails(State(desk): State<Desk>, Query(page): Query<Page>) -> Answer {
    let mails = desk.ctx.outbox.list(page.limit());
    Ok(Json(json!({ "mails": mails.map_err(Refusal::internal)? })))
}

/// `GET mail?id`: with its text, which is gone once it was sent.
pub async fn mail(State(desk): State<Desk>, Query(which): Query<Which>) -> Answer {
    let found = admin::read_letter(&desk.ctx, &actor(), which.id).await?;
    let (mail, text) =
        found.ok_or_else(|| Refusal::not_found(format!("there is no letter {}", which.id)))?;
    let mut answer = json!(mail);
    answer["text"] = json!(text);
    Ok(Json(answer))
}
