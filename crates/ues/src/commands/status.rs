//! `ues status`.

use serde_json::json;

use super::Context;
use crate::failure::Outcome;
use crate::node::run_file::RunFile;
use crate::output::{FAINT, GOOD, STRONG, human_bytes};

/// Arguments of `ues status`.
#[derive(Debug, clap::Args)]
pub struct Args {}

/// Runs it.
///
/// # Errors
/// As any command that talks to the node.
pub async fn run(context: &Context, _: Args) -> Outcome {
    let client = context.client().await?;
    let mut status = client.admin_get("status", &[]).await?;
    let running = client.is_remote();
    let run = if running {
        RunFile::read(&context.config()?.data)
    } else {
        None
    };
    status["running"] = json!(running);
    status["data"] = json!(context.config()?.data);
    if let Some(run) = &run {
        status["pid"] = json!(run.pid);
        status["url"] = json!(run.url);
    }
    context.output.result(&status, |out| {
        match &run {
            Some(run) => writeln!(
                out,
                "{GOOD}running{GOOD:#} at {STRONG}{}{STRONG:#}, process {}",
                run.public_url, run.pid
            )?,
            None => writeln!(out, "not running; ues up starts it")?,
        }
        writeln!(
            out,
            "{FAINT}data{FAINT:#}      {}",
            status["data"].as_str().unwrap_or_default()
        )?;
        for name in ["accounts", "records", "events", "subscribers"] {
            if let Some(n) = status[name].as_u64() {
                writeln!(out, "{FAINT}{name:<9}{FAINT:#} {n}")?;
            }
        }
        if let Some(bytes) = status["diskBytes"].as_u64() {
            writeln!(out, "{FAINT}disk{FAINT:#}      {}", human_bytes(bytes))?;
        }
        if let Some(reason) = status["poisoned"].as_str() {
            writeln!(out, "{FAINT}writes{FAINT:#}    refused: {reason}")?;
        }
        Ok(())
    });
    Ok(())
}
