//! `ues admin suspend`.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use serde_json::json;
use ues_repo::syntax::Datetime;

use super::Context;
use super::acting::account_name;
use crate::client::Client;
use crate::failure::{Failure, Outcome};

/// Arguments of `ues admin suspend`.
#[derive(Debug, clap::Args)]
pub struct Args {
    /// Handle or DID
    account: String,
    /// When it ends, such as 2026-12-24T00:00:00Z
    #[arg(long, value_name = "TIME", conflicts_with = "length")]
    until: Option<String>,
    /// How long it takes: a number with s, m, h, d or w
    #[arg(long = "for", value_name = "LENGTH")]
    length: Option<String>,
    /// Why; goes into the audit
    #[arg(long)]
    reason: Option<String>,
    /// Ends it now instead
    #[arg(long, conflicts_with_all = ["until", "length", "reason"])]
    lift: bool,
}

/// Runs it.
///
/// # Errors
/// What the node answers.
pub async fn run(context: &Context, client: &Client, args: Args) -> Outcome {
    let until = match &args.length {
        Some(text) => Some(end_of(text)?),
        None => args.until,
    };
    let input = json!({
        "account": account_name(&args.account)?, "until": until, "reason": args.reason, "lift": args.lift,
    });
    let value = client.admin_post("account/suspend", &input).await?;
    let account = &args.account;
    let line = match value["suspension"]["until"].as_str() {
        _ if args.lift => format!(
            "{account} is {}",
            value["status"].as_str().unwrap_or_default()
        ),
        Some(until) => format!("{account} is suspended until {until}"),
        None => format!(
            "{account} is suspended until that is lifted: ues admin suspend {account} --lift"
        ),
    };
    context.output.line(&value, line);
    Ok(())
}

/// When a length of time from now on is over, RFC 3339.
fn end_of(text: &str) -> Outcome<String> {
    let wrong = || {
        Failure::usage(format!("{text:?} is no length of time"))
            .hint("a number with s, m, h, d or w, such as 7d")
    };
    let length = length(text).ok_or_else(wrong)?;
    let now = SystemTime::now().duration_since(UNIX_EPOCH);
    let end = now.unwrap_or_default().checked_add(length);
    let end = end.and_then(|end| i64::try_from(end.as_millis()).ok());
    Ok(Datetime::from_unix_millis(end.ok_or_else(wrong)?).to_string())
}

fn length(text: &str) -> Option<Duration> {
    let (number, unit) = text.split_at_checked(text.len().checked_sub(1)?)?;
    let seconds = match unit {
        "s" => 1,
        "m" => 60,
        "h" => 3600,
        "d" => 86_400,
        "w" => 604_800,
        _ => return None,
    };
    let number: u32 = number.parse().ok()?;
    Some(Duration::from_secs(u64::from(number) * seconds)).filter(|length| !length.is_zero())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lengths_of_time() {
        assert_eq!(length("7d"), Some(Duration::from_secs(604_800)));
        assert_eq!(length("90m"), Some(Duration::from_secs(5400)));
        for text in ["", "d", "7", "-1d", "0h", "7y", "7.5d", "7é"] {
            assert_eq!(length(text), None, "{text}");
        }
    }
}
