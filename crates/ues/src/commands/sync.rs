//! `ues sync`: how the devices that hold a repository stand to each other.

use std::path::{Path, PathBuf};

use clap::Subcommand;
use serde_json::{Value, json};
use tokio_util::io::ReaderStream;

use super::Context;
use super::acting::As;
use super::blob::save;
use crate::failure::{Failure, Outcome};
use crate::output::{Table, human_bytes, printable};

/// Sync between the devices that hold a repository.
#[derive(Debug, Subcommand)]
pub enum Command {
    /// Shows each device that is or was connected, whether both have the same, and how far blobs are
    Status,
    /// Writes what this device has into a file, for devices that it does not meet over a network
    #[command(after_help = "\
Examples:
  ues sync export /media/stick/alice.uessync             all operations that are here
  ues sync export news.uessync --since 0:5,2:310         only what a device lacks whose `ues sync heads` says so
  ues sync export start.uessync --snapshot               for a device that has nothing yet

What is in the file is signed: it may go any way. It is not encrypted.")]
    Export {
        /// The file; `-` for standard output
        #[arg(value_name = "FILE")]
        file: PathBuf,
        /// Whose repository.
        #[command(flatten)]
        acting: As,
        /// Leaves out what a device with these heads has: `ues sync heads` shows them there
        #[arg(long, value_name = "HEADS")]
        since: Option<String>,
        /// Begins with a new snapshot of the whole repository, for a device that has none; needs the repository's key
        #[arg(long)]
        snapshot: bool,
    },
    /// Takes in what another device has written into a file
    #[command(after_help = "\
Examples:
  ues sync import /media/stick/alice.uessync
  ues sync import start.uessync --root did:key:zQ3s…     a repository that this device does not hold yet

Each operation is verified like one that comes over the network. What is here already changes nothing; what builds on \
something that is not here is refused and told: take the earlier file in first, then this one again.")]
    Import {
        /// The file
        #[arg(value_name = "FILE")]
        file: PathBuf,
        /// The repository's key, as `ues device grant` has shown it, for a repository that is not here yet
        #[arg(long, value_name = "KEY")]
        root: Option<String>,
    },
    /// Drops the operations that all devices have, and what was deleted with them
    #[command(after_help = "\
Where the repository's key is, this signs a snapshot first. Each device drops what is before the latest snapshot that all \
devices have; one that does not show itself for network.away_days is not waited for. Whoever comes back later gets the \
snapshot, and keeps what it wrote meanwhile. The node does this by itself every network.compact_hours.")]
    Compact {
        /// Whose repository.
        #[command(flatten)]
        acting: As,
        /// Waits for no other device
        #[arg(long)]
        now: bool,
    },
    /// Shows how far each writer has come here, for `export --since` on another device
    Heads {
        /// Whose repository.
        #[command(flatten)]
        acting: As,
    },
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
            Ok(())
        }
        Command::Export {
            file,
            acting,
            since,
            snapshot,
        } => export(context, &file, &acting, since, snapshot).await,
        Command::Import { file, root } => import(context, &file, root).await,
        Command::Compact { acting, now } => compact(context, &acting, now).await,
        Command::Heads { acting } => {
            let account = acting.name(client).await?;
            let params = [("account", account.as_str())];
            let answer = client.admin_get("sync/heads", &params).await?;
            let heads = answer["heads"].as_str().unwrap_or_default().to_owned();
            context.output.line(&answer, heads);
            Ok(())
        }
    }
}

async fn export(
    context: &Context,
    file: &Path,
    acting: &As,
    since: Option<String>,
    snapshot: bool,
) -> Outcome {
    let client = context.client().await?;
    let account = acting.name(client).await?;
    let mut params = vec![("account", account.as_str())];
    if let Some(since) = &since {
        params.push(("since", since));
    }
    if snapshot {
        params.push(("snapshot", "true"));
    }
    let download = client.admin_download("sync/export", &params).await?;
    if file.as_os_str() == "-" {
        save(context, download, None, "export").await?;
        return Ok(());
    }
    let bytes = save(context, download, Some(file), "export").await?;
    let value = json!({ "file": file, "bytes": bytes });
    let text = format!("{} written, {}", file.display(), human_bytes(bytes));
    context.output.line(&value, text);
    Ok(())
}

async fn import(context: &Context, file: &Path, root: Option<String>) -> Outcome {
    let reading = || Failure::while_doing(format!("read {}", file.display()));
    let input = tokio::fs::File::open(file).await.map_err(reading())?;
    let client = context.client().await?;
    let params: Vec<_> = root.iter().map(|root| ("root", root.as_str())).collect();
    let stream = ReaderStream::with_capacity(input, 256 << 10);
    let answer = client.admin_upload("sync/import", &params, stream).await?;
    let count = |name: &str| answer[name].as_u64().unwrap_or_default();
    context.output.result(&answer, |out| {
        write!(
            out,
            "{} operations are new, {} were here",
            count("new"),
            count("known")
        )?;
        if count("waiting") > 0 {
            write!(
                out,
                ", {} wait until it turns out whether they count",
                count("waiting")
            )?;
        }
        writeln!(out)?;
        if count("forks") > 0 {
            writeln!(
                out,
                "{} devices contradicted themselves: ues device ls",
                count("forks")
            )?;
        }
        if answer["equal"] == true {
            writeln!(out, "this device now has what the other one had")?;
        }
        Ok(())
    });
    if count("refused") == 0 {
        return Ok(());
    }
    for reason in answer["reasons"].as_array().into_iter().flatten() {
        let why = printable(reason["why"].as_str().unwrap_or_default());
        context
            .output
            .remark(format!("refused: {} operations: {why}", reason["count"]));
    }
    let text = format!("{} operations were refused", count("refused"));
    Err(Failure::failed(text).hint(
        "if an earlier file is missing, take it in and then this one again; without --since a file has all",
    ))
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

async fn compact(context: &Context, acting: &As, now: bool) -> Outcome {
    let client = context.client().await?;
    let account = acting.name(client).await?;
    let input = json!({ "account": account, "now": now });
    let answer = client.admin_post("sync/compact", &input).await?;
    let waiting = answer["waitingFor"].as_array().into_iter().flatten();
    let waiting: Vec<String> = waiting
        .filter_map(|device| device["name"].as_str().map(printable))
        .collect();
    context.output.result(&answer, |out| {
        writeln!(
            out,
            "{} operations dropped, {} blocks freed",
            answer["dropped"], answer["freed"]
        )?;
        match waiting.is_empty() {
            true => Ok(()),
            false => writeln!(
                out,
                "the rest stays until {} has it, {} days at most; --now does not wait",
                waiting.join(", "),
                answer["awayDays"]
            ),
        }
    });
    Ok(())
}
