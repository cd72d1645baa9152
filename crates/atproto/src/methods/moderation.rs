//! `com.atproto.moderation.createReport` and `com.atproto.temp.checkSignupQueue`.

use serde::Deserialize;
use serde_json::{Value, json};
use ues_repo::syntax::Datetime;

use crate::lifecycle;
use crate::limits::CREATE_REPORT;
use crate::moderation::Report;
use crate::xrpc::{Auth, Call, Method, Reply, XrpcError};

/// The methods of this file.
pub fn methods() -> [Method; 2] {
    [
        Method::new(
            "com.atproto.moderation.createReport",
            Auth::Ever,
            create_report,
        ),
        Method::new(
            "com.atproto.temp.checkSignupQueue",
            Auth::Session,
            check_signup_queue,
        ),
    ]
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct ReportInput {
    reason_type: String,
    reason: Option<String>,
    subject: Value,
}

/// Keeps the report for the operator.
async fn create_report(mut call: Call) -> Result<Reply, XrpcError> {
    let did = call.did()?.clone();
    call.spend(CREATE_REPORT, did.as_str(), 1)?;
    let input: ReportInput = call.take_input()?;
    let ctx = &call.ctx;
    // A session outlives its account for a while.
    lifecycle::account(ctx, &did)?
        .ok_or_else(|| XrpcError::forbidden("AccountNotFound", "Account not found"))?;
    let mut batch = ctx.store.batch();
    let mut report = Report {
        id: 0,
        reason_type: input.reason_type,
        reason: input.reason,
        subject: input.subject,
        reported_by: did.to_string(),
        created_at: Datetime::now().to_string(),
        done: None,
    };
    report.id = ctx.reports.add(&mut batch, |id| Report {
        id,
        ..report.clone()
    });
    ctx.store.commit(batch).await.map_err(XrpcError::internal)?;
    Reply::json(&report)
}

/// Nobody waits for an account here.
async fn check_signup_queue(_: Call) -> Result<Reply, XrpcError> {
    Reply::json(&json!({ "activated": true }))
}
