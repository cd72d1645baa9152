//! `ues repo log`.

use serde_json::Value;

use crate::commands::Context;
use crate::commands::acting::account_name;
use crate::failure::Outcome;
use crate::output::{FAINT, STRONG, printable};

/// Arguments of `ues repo log`.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Examples:
  ues repo log alice.test                  the last 20 events of this account
  ues --json repo log --after 0 --limit 1000000      the node's whole event log, an event a line")]
pub struct Args {
    /// Handle or DID; all accounts when left away
    account: Option<String>,
    /// Only events after this number; the last ones when left away
    #[arg(long, value_name = "NUMBER")]
    after: Option<u64>,
    /// How many at most
    #[arg(long, default_value_t = 20, value_name = "N")]
    limit: u64,
}

/// Runs it.
///
/// # Errors
/// What the node answers.
pub async fn run(context: &Context, args: Args) -> Outcome {
    let client = context.client().await?;
    let mut left = args.limit;
    let mut after = args.after;
    while left > 0 {
        let (limit, from) = (left.min(500).to_string(), after.map(|n| n.to_string()));
        let mut params = vec![("limit", limit.as_str())];
        if let Some(account) = &args.account {
            params.push(("account", account_name(account)?));
        }
        if let Some(from) = &from {
            params.push(("after", from));
        }
        let page = client.admin_get("log", &params).await?;
        let events = page["events"].as_array().cloned().unwrap_or_default();
        for event in &events {
            context.output.result(event, |out| print(out, event));
        }
        left = left.saturating_sub(events.len() as u64);
        // Without --after the node answers the last events, and there is nothing behind them.
        match (after, page["next"].as_u64()) {
            (Some(_), Some(next)) => after = Some(next),
            _ => break,
        }
    }
    Ok(())
}

fn print(out: &mut dyn std::io::Write, event: &Value) -> std::io::Result<()> {
    let text = |name: &str| printable(event[name].as_str().unwrap_or_default());
    let kind = text("kind");
    writeln!(
        out,
        "{STRONG}{:>6}{STRONG:#} {kind:<8} {} {FAINT}{}{FAINT:#} {}",
        event["seq"].to_string(),
        text("did"),
        text("time"),
        if kind == "commit" || kind == "sync" {
            text("rev")
        } else {
            text("status")
        },
    )?;
    for op in event["ops"].as_array().into_iter().flatten() {
        let mark = match op["action"].as_str() {
            Some("create") => "+",
            Some("delete") => "-",
            _ => "~",
        };
        writeln!(
            out,
            "       {mark} {}",
            printable(op["path"].as_str().unwrap_or_default())
        )?;
    }
    Ok(())
}
