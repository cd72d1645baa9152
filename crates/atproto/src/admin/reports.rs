//! Reports that stay here: marked as done, or opened again.

use serde_json::json;
use ues_repo::syntax::Datetime;

use super::Actor;
use crate::context::Context;
use crate::lifecycle::note;
use crate::moderation::{Done, Report};
use crate::xrpc::XrpcError;

/// Longest note on what was done, in characters.
const MAX_NOTE: usize = 2000;

/// Marks a report as done, with a note on what was done; or opens it again.
///
/// # Errors
/// 400 `NotFound` when there is no such report; when the note is too long, or nothing can be written.
pub async fn mark_report(
    ctx: &Context,
    actor: &Actor,
    id: u64,
    done: bool,
    words: Option<String>,
) -> Result<Report, XrpcError> {
    let words = words.filter(|words| !words.trim().is_empty());
    if words
        .as_deref()
        .is_some_and(|w| w.chars().count() > MAX_NOTE)
    {
        let message = format!("a note has at most {MAX_NOTE} characters");
        return Err(XrpcError::invalid(message));
    }
    let found = ctx.reports.get(id).map_err(XrpcError::internal)?;
    let missing = || XrpcError::named("NotFound", format!("there is no report {id}"));
    let mut report = found.ok_or_else(missing)?;
    report.done = done.then(|| Done {
        at: Datetime::now().to_string(),
        by: actor.name().to_owned(),
        note: words.clone(),
    });
    let mut details = json!({ "done": done });
    if let Some(words) = words {
        details["note"] = words.into();
    }
    let mut batch = ctx.store.batch();
    ctx.reports.replace(&mut batch, id, &report);
    let act = actor.act("markReport", format!("report {id}"), details);
    note(ctx, &mut batch, Some(act));
    ctx.store.commit(batch).await.map_err(XrpcError::internal)?;
    Ok(report)
}
