//! `ues repo export`.

use std::path::PathBuf;

use serde_json::json;

use crate::commands::Context;
use crate::commands::acting::account_name;
use crate::commands::blob::{did_of, save};
use crate::failure::Outcome;
use crate::output::human_bytes;

/// Arguments of `ues repo export`.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Examples:
  ues repo export alice.test               writes alice.test.car
  ues repo export alice.test -o - | ssh other 'cat > alice.car'
  ues repo export alice.test --since 3kabcdefghi2j    only what came after that revision")]
pub struct Args {
    /// Handle or DID
    account: String,
    /// The file; `-` for standard output [default: ACCOUNT.car]
    #[arg(long, short, value_name = "FILE")]
    output: Option<PathBuf>,
    /// Only blocks newer than this revision
    #[arg(long, value_name = "REVISION")]
    since: Option<String>,
}

/// Runs it.
///
/// # Errors
/// What the node answers, or the file system.
pub async fn run(context: &Context, args: Args) -> Outcome {
    let client = context.client().await?;
    let name = account_name(&args.account)?;
    let did = did_of(client, name).await?;
    let mut params = vec![("did", did.as_str())];
    if let Some(since) = &args.since {
        params.push(("since", since));
    }
    let download = client
        .download("com.atproto.sync.getRepo", &params, None)
        .await?;
    let output = args
        .output
        .unwrap_or_else(|| PathBuf::from(format!("{}.car", name.replace(':', "-"))));
    if output.as_os_str() == "-" {
        save(context, download, None, "export").await?;
        return Ok(());
    }
    let bytes = save(context, download, Some(&output), "export").await?;
    let value = json!({ "did": did, "file": output, "bytes": bytes });
    context.output.line(
        &value,
        format!("{} written, {}", output.display(), human_bytes(bytes)),
    );
    Ok(())
}
