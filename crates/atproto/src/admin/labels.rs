//! Labels that whoever administers the node makes and takes back.

use serde_json::json;

use super::Actor;
use crate::context::Context;
use crate::labels::{Draft, Label};
use crate::lifecycle::note;
use crate::xrpc::XrpcError;

/// Puts a label on a subject, or takes it back; gives the label's number with it.
///
/// # Errors
/// When it is no label, there is none to take back, or nothing can be written.
pub async fn put_label(
    ctx: &Context,
    actor: &Actor,
    draft: Draft,
    neg: bool,
) -> Result<(u64, Label), XrpcError> {
    let now_ms = ctx.now_ms();
    let draft = match neg {
        // It is taken back for good, whenever it would have ended.
        true => Draft { exp: None, ..draft },
        false => draft,
    };
    draft
        .check(now_ms)
        .map_err(|e| XrpcError::invalid(e.to_string()))?;
    let label = Label::sign(draft, neg, &ctx.labels.labeler, now_ms);
    if neg {
        let current = ctx.labels.current(&label, now_ms);
        let missing = || {
            let message = format!("{} has no label {:?}", label.uri, label.val);
            XrpcError::named("NotFound", message)
        };
        current.map_err(XrpcError::internal)?.ok_or_else(missing)?;
    }
    let mut details = json!({ "label": label.val });
    for (name, text) in [("cid", &label.cid), ("exp", &label.exp)] {
        if let Some(text) = text {
            details[name] = text.as_str().into();
        }
    }
    let what = if neg { "negateLabel" } else { "createLabel" };
    let mut batch = ctx.store.batch();
    note(ctx, &mut batch, Some(actor.act(what, &label.uri, details)));
    // In a task of its own: a caller who goes away must not keep it from those who listen.
    let (of, put) = (ctx.clone(), label.clone());
    let seq = tokio::spawn(async move { of.labels.put(batch, &put).await });
    let seq = seq.await.map_err(XrpcError::internal)?;
    Ok((seq.map_err(XrpcError::internal)?, label))
}
