//! `ues log`: what the devices of a repository wrote, and what came of it.

use serde_json::Value;

use super::Context;
use super::acting::As;
use crate::failure::Outcome;
use crate::output::{FAINT, STRONG, printable};

/// Arguments of `ues log`.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Examples:
  ues log alice.test                       the last 20 operations of all devices, newest last
  ues --json log alice.test --limit 1000   an operation a line

Where two devices changed one record without knowing of each other, one of the two counts: a record rather than a \
deletion, then the later one, then the one of the greater author key, then the one of the greater name. The other is \
kept until somebody writes who has seen both. `ues record history` shows all versions of one record; `ues repo log` the \
commits that came of it.")]
pub struct Args {
    /// Handle or DID; the only account when left away
    account: Option<String>,
    /// How many at most
    #[arg(long, default_value_t = 20, value_name = "N")]
    limit: usize,
}

/// Runs it.
///
/// # Errors
/// What the node answers.
pub async fn run(context: &Context, args: Args) -> Outcome {
    let client = context.client().await?;
    let account = As::of(args.account).name(client).await?;
    let limit = args.limit.to_string();
    let params = [("account", account.as_str()), ("limit", limit.as_str())];
    let answer = client.admin_get("sync/log", &params).await?;
    for operation in answer["operations"].as_array().into_iter().flatten() {
        context.output.result(operation, |out| {
            writeln!(
                out,
                "{FAINT}{}{FAINT:#} {STRONG}{}{STRONG:#} {} {}",
                operation["time"].as_str().unwrap_or_default(),
                who(operation),
                operation["action"].as_str().unwrap_or_default(),
                what(operation),
            )?;
            match outcome(operation) {
                Some(outcome) => writeln!(out, "    {outcome}"),
                None => Ok(()),
            }
        });
    }
    Ok(())
}

fn what(operation: &Value) -> String {
    let text = |name: &str| operation[name].as_str().map(printable);
    text("path").or_else(|| text("name")).unwrap_or_default()
}

/// `phone #12`.
pub fn who(value: &Value) -> String {
    let device = printable(value["device"].as_str().unwrap_or_default());
    format!("{device} #{}", value["seq"])
}

/// How an operation stands, in words; `None` where there is nothing to tell.
pub fn outcome(value: &Value) -> Option<String> {
    match value["standing"].as_str()? {
        "won" => {
            let over = value["over"].as_array()?;
            let mut told: Vec<String> = over
                .iter()
                .map(|lost| format!("over {}: {}", who(lost), reason(lost, true)))
                .collect();
            let with: Vec<String> = value["with"].as_array()?.iter().map(who).collect();
            if !with.is_empty() {
                let with = with.join(", ");
                told.push(format!(
                    "together with {with}: neither knew the other, and the lexicon says how they merge"
                ));
            }
            (!told.is_empty()).then(|| format!("counts {}", told.join("; ")))
        }
        "merged" => Some(format!(
            "merged into {}; where no rule merges, that one counts: {}",
            who(&value["into"]),
            reason(value, false)
        )),
        "lost" => Some(format!(
            "does not count, {} does: {}; kept until somebody writes who has seen both",
            who(&value["to"]),
            reason(value, false)
        )),
        "replaced" => match value["by"].is_object() {
            true => Some(format!(
                "replaced by {}, who had seen it",
                who(&value["by"])
            )),
            false => Some("replaced since by somebody who had seen it".to_owned()),
        },
        _ => None,
    }
}

/// Why one of two that did not know each other counts. `this` is told of, or the other one.
fn reason(value: &Value, this: bool) -> &'static str {
    match (value["because"].as_str().unwrap_or_default(), this) {
        ("record", true) => "neither knew the other, and a record stands over a deletion",
        ("record", false) => "neither knew the other, and a deletion gives way to a record",
        ("time", true) => "neither knew the other, and this one is later",
        ("time", false) => "neither knew the other, and that one is later",
        ("author", true) => "same time, and this author's key is the greater one",
        ("author", false) => "same time, and that author's key is the greater one",
        (_, true) => "same time and author, and this name is the greater one",
        (_, false) => "same time and author, and that name is the greater one",
    }
}
