//! `ues pin import` and `ues pin export`.

use std::path::PathBuf;

use axum::body::Body;
use futures::StreamExt;
use http::Method;
use serde_json::json;
use tokio::io::{AsyncBufReadExt, AsyncRead, AsyncWriteExt, BufReader};
use tokio_stream::wrappers::LinesStream;
use ues_data::parse_cid;
use ues_pins::Owner;

use super::cluster_export;
use crate::commands::Context;
use crate::failure::{Failure, Outcome};
use crate::output::{BAD, FAINT};

/// Refusals that are shown one by one.
const SHOWN: u64 = 20;
/// Pins that are asked for at a time.
const PAGE: &str = "1000";

/// How pins are written.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
enum Format {
    /// As `ues pin import` reads them
    Ues,
    /// As `ipfs-cluster-service state import` reads them
    Cluster,
}

/// Arguments of `ues pin import`.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Examples:
  ues pin import cids.txt                  a CID a line
  ues pin export | ssh other ues pin import -
  
A line is a CID, or an object as `POST /pins` takes it: {\"cid\": …, \"name\": …, \"meta\": {…}, \"replication\": 2}. \
What was imported is durable; importing the same again changes nothing but the time of the requests.")]
pub struct ImportArgs {
    /// The file; `-` for standard input
    file: PathBuf,
}

/// Arguments of `ues pin export`.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Examples:
  ues pin export -o pins.jsonl
  ues pin export --format cluster -o state.json && ipfs-cluster-service state import state.json

With --format cluster these are the pins of everybody. Those that came from a cluster have the allocations that they had \
there; all others have workers of this service as allocations, which no cluster knows: `state import --allocations` \
gives them peers of its own.")]
pub struct ExportArgs {
    /// For `ues pin import`, or for `ipfs-cluster-service state import`
    #[arg(long, value_enum, default_value = "ues")]
    format: Format,
    /// With --format cluster: only the pins of this owner
    #[arg(long)]
    owner: Option<Owner>,
    /// The file; standard output when left away
    #[arg(long, short, value_name = "FILE")]
    output: Option<PathBuf>,
}

/// `ues pin import`
///
/// # Errors
/// When the file cannot be read, or some lines are refused.
pub async fn import(context: &Context, args: ImportArgs) -> Outcome {
    let client = context.client().await?;
    let input: Box<dyn AsyncRead + Send + Unpin> = if args.file.as_os_str() == "-" {
        Box::new(tokio::io::stdin())
    } else {
        let reading = Failure::while_doing(format!("read {}", args.file.display()));
        Box::new(tokio::fs::File::open(&args.file).await.map_err(reading)?)
    };
    let lines = LinesStream::new(BufReader::with_capacity(1 << 20, input).lines());
    let body = lines.ready_chunks(500).map(|lines| {
        let mut out = String::new();
        for line in lines {
            let line = line?;
            let line = line.trim();
            if parse_cid(line).is_ok() {
                out.push_str(&json!({ "cid": line }).to_string());
            } else {
                out.push_str(line);
            }
            out.push('\n');
        }
        Ok::<_, std::io::Error>(out)
    });
    let body = Body::from_stream(body);
    let mut answers = client.pins_lines(Method::POST, "/pins/bulk", body).await?;
    let progress = context.output.progress("pins", 0);
    let (mut added, mut refused) = (0u64, 0u64);
    while let Some(answer) = answers.next().await? {
        if answer["error"].is_null() {
            added += 1;
            progress.advance(1);
        } else {
            refused += 1;
            if refused <= SHOWN {
                let why = answer["error"]["details"].as_str().unwrap_or_default();
                let cid = answer["cid"].as_str().unwrap_or_default();
                context
                    .output
                    .remark(format!("{BAD}refused{BAD:#} {cid} {why}"));
            }
        }
    }
    drop(progress);
    let value = json!({ "added": added, "refused": refused });
    context
        .output
        .line(&value, format!("{added} accepted, {refused} refused"));
    if refused > 0 {
        return Err(Failure::failed(format!("{refused} lines were refused")));
    }
    Ok(())
}

/// `ues pin export`
///
/// # Errors
/// What the node answers, or the file system.
pub async fn export(context: &Context, args: ExportArgs) -> Outcome {
    let client = context.client().await?;
    if args.format == Format::Cluster {
        let owner = args.owner.as_ref();
        return cluster_export::run(context, client, owner, args.output.as_deref()).await;
    }
    if args.owner.is_some() {
        return Err(Failure::usage("--owner goes with --format cluster only"));
    }
    let mut out: Box<dyn tokio::io::AsyncWrite + Send + Unpin> = match &args.output {
        Some(path) => {
            let writing = Failure::while_doing(format!("write {}", path.display()));
            Box::new(tokio::fs::File::create(path).await.map_err(writing)?)
        }
        None => Box::new(tokio::io::stdout()),
    };
    let progress = context.output.progress("pins", 0);
    let mut cursor = String::new();
    let mut count = 0u64;
    loop {
        let mut params = vec![("status", "queued,pinning,pinned,failed"), ("limit", PAGE)];
        if !cursor.is_empty() {
            params.push(("cursor", &cursor));
        }
        let page = client.pins_get("/pins", &params).await?;
        let results = page["results"].as_array().cloned().unwrap_or_default();
        let mut lines = String::new();
        for pin in &results {
            lines.push_str(&pin["pin"].to_string());
            lines.push('\n');
        }
        out.write_all(lines.as_bytes()).await?;
        count += results.len() as u64;
        progress.advance(results.len() as u64);
        let more = page["count"].as_u64().unwrap_or(0) > results.len() as u64;
        match results.last().and_then(|pin| pin["requestid"].as_str()) {
            Some(last) if more => last.clone_into(&mut cursor),
            _ => break,
        }
    }
    out.flush().await?;
    drop(progress);
    context
        .output
        .remark(format!("{FAINT}{count} pins{FAINT:#}"));
    Ok(())
}
