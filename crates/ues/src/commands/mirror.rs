//! `ues mirror`: copies of repositories that live elsewhere.

use clap::Subcommand;
use serde_json::{Value, json};

use super::Context;
use crate::failure::{Failure, Outcome};
use crate::output::{Table, human_bytes, printable};

/// Mirrors: copies of public repositories that live elsewhere, kept current while the node runs.
#[derive(Debug, clap::Args)]
#[command(args_conflicts_with_subcommands = true, subcommand_negates_reqs = true)]
pub struct Args {
    /// What to do with mirrors that are there.
    #[command(subcommand)]
    command: Option<Command>,
    /// Whose repository is to be mirrored: a DID or a handle
    #[arg(value_name = "DID")]
    repo: Option<String>,
    /// Keeps the blobs that records refer to, too
    #[arg(long)]
    blobs: bool,
    /// A peer that may have it, such as /ip4/192.168.1.5/tcp/4100/p2p/12D3Koo…; may be repeated
    #[arg(long, value_name = "ADDRESS")]
    from: Vec<String>,
    /// The most bytes that are taken [default: 4 GiB]
    #[arg(long, value_name = "BYTES")]
    max: Option<u64>,
    /// Does not wait for the copy
    #[arg(long)]
    no_wait: bool,
}

/// What to do with mirrors that are there.
#[derive(Debug, Subcommand)]
pub enum Command {
    /// Lists mirrors
    #[command(visible_alias = "list")]
    Ls,
    /// Shows a mirror: which revision, from whom, what goes on, what was refused
    #[command(visible_alias = "show")]
    Status {
        /// Whose repository: a DID or a handle
        #[arg(value_name = "DID")]
        repo: String,
    },
    /// Brings a mirror up to date now
    Update {
        /// Whose repository: a DID or a handle
        #[arg(value_name = "DID")]
        repo: String,
    },
    /// Lets go of a mirror
    #[command(visible_alias = "remove")]
    Rm {
        /// Whose repository: a DID or a handle
        #[arg(value_name = "DID")]
        repo: String,
    },
}

/// Runs it.
///
/// # Errors
/// What the node answers.
pub async fn run(context: &Context, args: Args) -> Outcome {
    match (args.command, args.repo) {
        (None, Some(repo)) => {
            let mut input = json!({ "repo": repo, "peers": args.from });
            if args.blobs {
                input["blobs"] = true.into();
            }
            if let Some(max) = args.max {
                input["maxBytes"] = max.into();
            }
            let row = context.client().await?.admin_post("mirror", &input).await?;
            match args.no_wait {
                true => {
                    let did = row["did"].as_str().unwrap_or_default();
                    context.output.line(&row, format!("{did} is mirrored"));
                    Ok(())
                }
                false => update(context, &repo).await,
            }
        }
        (Some(Command::Ls) | None, None) => list(context).await,
        (Some(Command::Ls), _) => list(context).await,
        (Some(Command::Status { repo }), _) => status(context, &repo).await,
        (Some(Command::Update { repo }), _) => update(context, &repo).await,
        (Some(Command::Rm { repo }), _) => {
            let client = context.client().await?;
            let input = json!({ "repo": repo });
            let answer = client.admin_post("mirror/remove", &input).await?;
            let text = format!("{} is mirrored no more", printable(&repo));
            context.output.line(&answer, text);
            Ok(())
        }
    }
}

async fn list(context: &Context) -> Outcome {
    let answer = context.client().await?.admin_get("mirrors", &[]).await?;
    let rows = answer["mirrors"].clone();
    let mut table = Table::new(&["repository", "handle", "revision", "size", "from", "state"]);
    for row in rows.as_array().into_iter().flatten() {
        let text = |name: &str| row[name].as_str().unwrap_or_default().to_owned();
        table.row([
            text("did"),
            text("handle"),
            text("rev"),
            human_bytes(row["bytes"].as_u64().unwrap_or_default()),
            text("source"),
            state(row),
        ]);
    }
    context
        .output
        .result(&rows, |out| table.write(out, "nothing is mirrored"));
    Ok(())
}

/// In a few words how a mirror is.
fn state(row: &Value) -> String {
    let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
    if row["refused"].is_object() {
        return format!("refused: {}", text(&row["refused"]["why"]));
    }
    if row["status"].is_string() {
        return text(&row["status"]);
    }
    if row["now"]["fetching"].is_string() {
        return format!("{} blocks have come", row["now"]["blocks"]);
    }
    match (row["now"]["trouble"].as_str(), row["rev"].is_string()) {
        (Some(trouble), _) => trouble.to_owned(),
        (None, false) => "to come".to_owned(),
        (None, true) if row["followed"] == true => "followed".to_owned(),
        (None, true) => "asked for from time to time".to_owned(),
    }
}

async fn status(context: &Context, repo: &str) -> Outcome {
    let client = context.client().await?;
    let row = client.admin_get("mirror", &[("repo", repo)]).await?;
    context.output.result(&row, |out| {
        let text = |name: &str| printable(row[name].as_str().unwrap_or("-"));
        writeln!(out, "repository  {} ({})", text("did"), text("handle"))?;
        writeln!(out, "revision    {}", text("rev"))?;
        writeln!(out, "from        {}", text("source"))?;
        writeln!(out, "server      {}", text("server"))?;
        let bytes = human_bytes(row["bytes"].as_u64().unwrap_or_default());
        writeln!(out, "holds       {} records, {bytes}", row["records"])?;
        if row["blobs"] == true {
            writeln!(out, "blobs       {} are missing", row["missingBlobs"])?;
        }
        writeln!(out, "state       {}", printable(&state(&row)))
    });
    Ok(())
}

async fn update(context: &Context, repo: &str) -> Outcome {
    let client = context.client().await?;
    let progress = context.output.progress("blocks", 0);
    let input = json!({ "repo": repo });
    let done = client
        .admin_work("mirror/update", &input, |line| {
            progress.set(line["blocks"].as_u64().unwrap_or_default(), 0);
            progress.message(printable(line["from"].as_str().unwrap_or_default()));
        })
        .await;
    drop(progress);
    let done = done?;
    let text = |name: &str| printable(done[name].as_str().unwrap_or_default());
    let why = done["why"].as_str().map(printable);
    match done["outcome"].as_str() {
        Some("refused") => Err(Failure::unsound(format!(
            "the copy of {} is refused: {}",
            text("did"),
            why.unwrap_or_default()
        ))
        .hint("what was here before stays")),
        Some("unavailable") => Err(Failure::unavailable(format!(
            "nothing came of {}: {}",
            text("did"),
            why.unwrap_or_default()
        ))
        .hint("while the node runs it is tried again by itself")),
        outcome => {
            let sentence = match outcome {
                Some("updated") => format!(
                    "{} is here at revision {}, {} blocks came from {}",
                    text("did"),
                    text("rev"),
                    done["taken"]["blocks"],
                    text("source")
                ),
                _ => format!("{} is here at revision {}", text("did"), text("rev")),
            };
            context.output.line(&done, sentence);
            Ok(())
        }
    }
}
