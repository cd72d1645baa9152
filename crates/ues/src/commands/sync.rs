//! `ues sync`: how the devices that hold a repository stand to each other.

use clap::Subcommand;
use serde_json::Value;

use super::Context;
use crate::failure::Outcome;
use crate::output::{Table, human_bytes};

/// Sync between the devices that hold a repository.
#[derive(Debug, Subcommand)]
pub enum Command {
    /// Shows each device that is or was connected, whether both have the same, and how far blobs are
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
            let mut blobs = Table::new(&[
                "repository",
                "missing",
                "coming",
                "fetched",
                "size",
                "trouble",
            ]);
            for repo in answer["blobs"].as_array().into_iter().flatten() {
                blobs.row(blob_row(repo));
            }
            context.output.result(&answer, |out| {
                table.write(out, "no other device was connected since the node started")?;
                if answer["blobs"].as_array().is_none_or(Vec::is_empty) {
                    return Ok(());
                }
                writeln!(out, "\nBlobs that records refer to:")?;
                blobs.write(out, "")
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

fn blob_row(repo: &Value) -> [String; 6] {
    let text = |name: &str| repo[name].as_str().unwrap_or_default();
    [
        text("repo").to_owned(),
        repo["missing"].to_string(),
        repo["underway"].to_string(),
        repo["fetched"].to_string(),
        human_bytes(repo["bytes"].as_u64().unwrap_or_default()),
        text("trouble").to_owned(),
    ]
}
