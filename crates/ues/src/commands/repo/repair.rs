//! `ues repo repair`.

use serde_json::json;

use crate::commands::Context;
use crate::commands::acting::account_name;
use crate::failure::Outcome;
use crate::output::GOOD;

/// Arguments of `ues repo repair`.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Every node of the tree and every record is held against its hash. If all are there, the rows beside the tree (by which \
records are found and listed) are made what the tree says, and a fresh commit over the same tree is signed and announced \
with #sync, so that relays and mirrors look again. If something is lost, nothing is changed: then a backup, or an import \
of an archive of the repository, helps (ues repo import).")]
pub struct Args {
    /// Handle or DID
    account: String,
}

/// Runs it.
///
/// # Errors
/// What the node answers; [`crate::failure::Exit::Unsound`] when something is lost.
pub async fn run(context: &Context, args: Args) -> Outcome {
    let client = context.client().await?;
    let input = json!({ "account": account_name(&args.account)? });
    let value = client.admin_post("repo/repair", &input).await?;
    context.output.result(&value, |out| {
        writeln!(
            out,
            "{GOOD}sound{GOOD:#}: {} records, {} nodes; {} rows rebuilt, {} removed; now at {}",
            value["records"],
            value["nodes"],
            value["rebuilt"],
            value["removed"],
            value["rev"].as_str().unwrap_or_default()
        )
    });
    Ok(())
}
