//! `ues check`.

use serde_json::{Value, json};

use super::Context;
use crate::failure::{Failure, Outcome};
use crate::output::{BAD, FAINT, GOOD, printable};

/// Arguments of `ues check`.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Every block is hashed and held against its name, every tree walked, every signature and reference verified. The \
node may run meanwhile. Exit code 0: all is sound. 4: something is damaged; the list says what, and what is not.")]
pub struct Args {}

/// Runs it.
///
/// # Errors
/// [`crate::failure::Exit::Unsound`] when something is damaged.
pub async fn run(context: &Context, _: Args) -> Outcome {
    let client = context.client().await?;
    let progress = context.output.progress("check", 0);
    let report = client
        .admin_work("check", &json!({}), |line| {
            progress.message(line["stage"].as_str().unwrap_or_default());
            progress.set(
                line["done"].as_u64().unwrap_or(0),
                line["total"].as_u64().unwrap_or(0),
            );
        })
        .await;
    drop(progress);
    let report = report?;
    context.output.result(&report, |out| {
        for part in report["parts"].as_array().into_iter().flatten() {
            let what = printable(part["what"].as_str().unwrap_or_default());
            let found = part["found"].as_str().unwrap_or_default();
            let problems = part["problems"]
                .as_array()
                .map(Vec::as_slice)
                .unwrap_or_default();
            if problems.is_empty() && part["problemCount"].as_u64().unwrap_or(0) == 0 {
                writeln!(out, "{GOOD}sound{GOOD:#}   {what} {FAINT}{found}{FAINT:#}")?;
                continue;
            }
            writeln!(out, "{BAD}damaged{BAD:#} {what} {FAINT}{found}{FAINT:#}")?;
            for problem in problems.iter().filter_map(Value::as_str) {
                writeln!(out, "          {}", printable(problem))?;
            }
        }
        Ok(())
    });
    match report["problems"].as_u64() {
        Some(0) => Ok(()),
        Some(n) => Err(Failure::unsound(format!("{n} problems found"))
            .hint("export what is sound (ues repo export), and bring back the rest from a copy")),
        None => Err(Failure::failed("the node did not say what it found")),
    }
}
