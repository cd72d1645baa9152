//! `ues sync`: how the devices that hold a repository stand to each other.

use clap::Subcommand;
use serde_json::Value;

use super::Context;
use crate::failure::Outcome;
use crate::output::{Table, human_bytes};

/// Sync between the devices that hold a repository.
#[derive(Debug, Subcommand)]
pub enum Command {
    /// Shows each device that is or was connected, and whether both have the same
    Status,
}

/// Runs it.
///
/// # Errors
/// What the node answers.
pub async fn run(context: &Context, command: Command) -> Outcome {
    let client = context.client().await?;
    match command {
        Command::Status => {
            let answer = client.admin_get("sync", &[]).await?;
            let mut table = Table::new(&["repository", "device", "state", "received", "in", "out"]);
            for session in answer["sessions"].as_array().into_iter().flatten() {
                table.row(row(session));
            }
            context.output.result(&answer, |out| {
                table.write(out, "no other device was connected since the node started")
            });
        }
    }
    Ok(())
}

fn row(session: &Value) -> [String; 6] {
    let text = |name: &str| session[name].as_str().unwrap_or_default().to_owned();
    let bytes = |name: &str| human_bytes(session[name].as_u64().unwrap_or_default());
    let state = match session["reason"].as_str() {
        Some(reason) => format!("{}: {reason}", text("stage")),
        None => text("stage"),
    };
    [
        text("repo"),
        text("peer"),
        state,
        session["received"].to_string(),
        bytes("bytesIn"),
        bytes("bytesOut"),
    ]
}
