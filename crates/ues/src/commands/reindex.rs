//! `ues reindex`.

use serde_json::json;

use super::Context;
use crate::failure::Outcome;

/// Arguments of `ues reindex`.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
The indexes answer `ues record query`. They hold nothing of their own: they are dropped and built again from what \
is stored, while the node goes on serving.")]
pub struct Args {}

/// Runs it.
///
/// # Errors
/// What the node answers.
pub async fn run(context: &Context, _: Args) -> Outcome {
    let client = context.client().await?;
    let progress = context.output.progress("reindex", 0);
    let report = client
        .admin_work("reindex", &json!({}), |line| {
            progress.set(
                line["done"].as_u64().unwrap_or(0),
                line["total"].as_u64().unwrap_or(0),
            );
        })
        .await;
    drop(progress);
    let report = report?;
    context.output.line(
        &report,
        format!(
            "indexes built again up to event {}",
            report["cursor"].as_u64().unwrap_or(0)
        ),
    );
    Ok(())
}
