//! `ues lexicon`.

use std::path::{Path, PathBuf};

use clap::Subcommand;
use serde_json::{Value, json};
use ues_repo::lexicon::{Document, compare};

use super::Context;
use crate::failure::{Failure, Outcome};
use crate::output::{BAD, FAINT, GOOD, STRONG, Table};

/// Lexicons: the schemas of records and calls.
#[derive(Debug, Subcommand)]
pub enum Command {
    /// Tells whether a new version of a lexicon breaks what was written by the old one
    #[command(after_help = "\
Example:
  ues lexicon check v1.json v2.json        exit code 4 when something breaks")]
    Check {
        /// The version in use
        #[arg(value_name = "OLD")]
        old: PathBuf,
        /// The version to come
        #[arg(value_name = "NEW")]
        new: PathBuf,
    },
    /// Lists the lexicons that the node knows
    #[command(visible_alias = "list")]
    Ls {
        /// Only names that begin so, such as app.bsky.feed
        #[arg(value_name = "PREFIX")]
        prefix: Option<String>,
    },
    /// Prints a lexicon
    Show {
        /// Its name
        #[arg(value_name = "NSID")]
        nsid: String,
    },
    /// Gives the node a lexicon, new or in a newer version that breaks nothing
    Add {
        /// The JSON file
        #[arg(value_name = "FILE")]
        file: PathBuf,
    },
}

/// Runs it.
///
/// # Errors
/// [`crate::failure::Exit::Unsound`] for a breaking change; what the node answers.
pub async fn run(context: &Context, command: Command) -> Outcome {
    match command {
        Command::Check { old, new } => check(context, &old, &new),
        Command::Ls { prefix } => ls(context, prefix.as_deref().unwrap_or_default()).await,
        Command::Show { nsid } => {
            let client = context.client().await?;
            let document = client.admin_get("lexicon", &[("nsid", &nsid)]).await?;
            context
                .output
                .result(&document, |out| writeln!(out, "{document:#}"));
            Ok(())
        }
        Command::Add { file } => {
            let (document, _) = read(&file)?;
            let client = context.client().await?;
            let answer = client.admin_post("lexicons", &document).await?;
            let nsid = answer["nsid"].as_str().unwrap_or_default();
            context.output.line(&answer, format!("{nsid} is known now"));
            Ok(())
        }
    }
}

fn read(path: &Path) -> Outcome<(Value, Document)> {
    let name = path.display();
    let text =
        std::fs::read_to_string(path).map_err(Failure::while_doing(format!("read {name}")))?;
    let json: Value = serde_json::from_str(&text)
        .map_err(|e| Failure::usage(format!("{name} is not JSON: {e}")))?;
    let document = Document::parse(&json)
        .map_err(|e| Failure::usage(format!("{name} is not a lexicon: {e}")))?;
    Ok((json, document))
}

fn check(context: &Context, old: &Path, new: &Path) -> Outcome {
    let changes = compare(&read(old)?.1, &read(new)?.1);
    let all: Vec<Value> = changes
        .iter()
        .map(|c| json!({ "path": c.path, "kind": format!("{:?}", c.kind), "explanation": c.explanation }))
        .collect();
    let value = json!({ "compatible": changes.is_empty(), "breaking": all });
    context.output.result(&value, |out| {
        if changes.is_empty() {
            return writeln!(
                out,
                "{GOOD}compatible{GOOD:#}: nothing written by the old version breaks"
            );
        }
        for change in &changes {
            writeln!(
                out,
                "{BAD}breaks{BAD:#} {STRONG}{}{STRONG:#} {}",
                change.path, change.explanation
            )?;
        }
        Ok(())
    });
    match changes.len() {
        0 => Ok(()),
        n => Err(Failure::unsound(format!("{n} breaking changes"))
            .hint("publish the new version under another name instead")),
    }
}

async fn ls(context: &Context, prefix: &str) -> Outcome {
    let client = context.client().await?;
    let answer = client.admin_get("lexicons", &[("prefix", prefix)]).await?;
    let mut table = Table::new(&["lexicon", "kind", "from"]);
    for lexicon in answer["lexicons"].as_array().into_iter().flatten() {
        let text = |name: &str| lexicon[name].as_str().unwrap_or("-").to_owned();
        table.row([text("nsid"), text("kind"), text("from")]);
    }
    context.output.result(&answer["lexicons"], |out| {
        table.write(out, "no lexicon of that name")?;
        writeln!(out, "{FAINT}ues lexicon show NSID prints one{FAINT:#}")
    });
    Ok(())
}
