//! `ues pin`.

mod add;
mod bulk;
mod cluster_export;
mod ls;
mod migrate;
mod show;
mod totals;

use clap::Subcommand;
use http::Method;
use serde_json::json;

use super::Context;
use crate::failure::{Failure, Outcome};

/// Pins: content that the node, or a fleet of workers, keeps alive.
#[derive(Debug, Subcommand)]
pub enum Command {
    /// Pins files, folders, archives or CIDs, and waits until they are pinned
    Add(add::Args),
    /// Lists pins, newest first
    #[command(visible_alias = "list")]
    Ls(ls::Args),
    /// Shows how far a pin is, and on which worker
    Status {
        /// A CID or the id of a request
        id: String,
    },
    /// Shows changes as they happen, until interrupted
    Watch {
        /// Only of these CIDs
        cids: Vec<String>,
    },
    /// Removes pins; pins of others for the same content stay
    Rm {
        /// CIDs or ids of requests
        #[arg(required = true)]
        ids: Vec<String>,
    },
    /// Tries again at once what failed or waits
    Recover {
        /// CIDs
        #[arg(required = true)]
        cids: Vec<String>,
    },
    /// Counts pins, copies and drift, of all owners
    Totals,
    /// Adds many pins: CIDs or JSON objects, one a line
    Import(bulk::ImportArgs),
    /// Takes over all pins of an IPFS-Cluster
    Migrate(migrate::Args),
    /// Writes all pins as lines that `ues pin import` reads
    Export(bulk::ExportArgs),
}

/// Runs it.
///
/// # Errors
/// What the node answers.
pub async fn run(context: &Context, command: Command) -> Outcome {
    match command {
        Command::Add(args) => add::run(context, args).await,
        Command::Ls(args) => ls::run(context, args).await,
        Command::Status { id } => show::status(context, &id).await,
        Command::Totals => totals::run(context).await,
        Command::Watch { cids } => show::watch(context, &cids).await,
        Command::Rm { ids } => rm(context, &ids).await,
        Command::Recover { cids } => {
            let client = context.client().await?;
            let input = json!({ "cids": cids });
            let answer = client.admin_post("pins/recover", &input).await?;
            context.output.line(&answer, "they are tried again");
            Ok(())
        }
        Command::Import(args) => bulk::import(context, args).await,
        Command::Migrate(args) => migrate::run(context, args).await,
        Command::Export(args) => bulk::export(context, args).await,
    }
}

async fn rm(context: &Context, ids: &[String]) -> Outcome {
    let client = context.client().await?;
    for id in ids {
        client
            .pins_send(Method::DELETE, &format!("/pins/{}", path_part(id)?), None)
            .await?;
        context.output.line(
            &json!({ "removed": id }),
            format!("{id} is no longer pinned for you"),
        );
    }
    Ok(())
}

/// An id as part of a path; ids and CIDs are made of letters and digits.
fn path_part(id: &str) -> Outcome<&str> {
    if !id.is_empty() && id.bytes().all(|b| b.is_ascii_alphanumeric()) {
        Ok(id)
    } else {
        Err(Failure::usage(format!(
            "{id:?} is neither a CID nor the id of a pin request"
        )))
    }
}

/// Reads a time such as `90s`, `15m`, `12h`, `30d` as seconds.
///
/// # Errors
/// A phrase saying what was expected.
pub fn duration(text: &str) -> Result<u64, String> {
    let expected = || "a time such as 90s, 15m, 12h or 30d expected".to_owned();
    let unit = text.chars().last().ok_or_else(expected)?;
    let factor: u64 = match unit {
        's' => 1,
        'm' => 60,
        'h' => 3600,
        'd' => 86_400,
        'w' => 604_800,
        _ => return Err(expected()),
    };
    let number = text.get(..text.len() - 1).ok_or_else(expected)?;
    number
        .parse::<u64>()
        .ok()
        .and_then(|n| n.checked_mul(factor))
        .ok_or_else(expected)
}

#[cfg(test)]
mod tests {
    use super::duration;

    #[test]
    fn times() {
        assert_eq!(duration("90s"), Ok(90));
        assert_eq!(duration("2d"), Ok(172_800));
        for bad in [
            "",
            "d",
            "5",
            "5 d",
            "-1s",
            "1y",
            "99999999999999999999d",
            "é",
        ] {
            assert!(duration(bad).is_err(), "{bad:?}");
        }
    }
}
