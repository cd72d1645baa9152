//! `ues repo diff`.

use std::collections::BTreeMap;

use serde_json::json;
use ues_data::Cid;

use super::source::Source;
use crate::commands::Context;
use crate::failure::{Failure, Outcome};
use crate::output::{BAD, FAINT, GOOD, printable};

/// Arguments of `ues repo diff`.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Examples:
  ues repo diff yesterday.car alice.test   what changed since an export
  ues repo diff ours.car theirs.car        the exit code is 0 also when they differ")]
pub struct Args {
    /// A CAR file, an address, or an account of the node
    #[arg(value_name = "OLD")]
    old: String,
    /// The same
    #[arg(value_name = "NEW")]
    new: String,
}

/// Runs it.
///
/// # Errors
/// When one of them cannot be read or is no repository.
pub async fn run(context: &Context, args: Args) -> Outcome {
    let old = records(context, &args.old).await?;
    let new = records(context, &args.new).await?;
    let (mut added, mut changed, mut removed) = (0, 0, 0);
    for (path, cid) in &old {
        match new.get(path) {
            Some(now) if now == cid => {}
            Some(now) => {
                changed += 1;
                let value = json!({ "change": "update", "path": path, "old": cid.to_string(), "new": now.to_string() });
                context
                    .output
                    .line(&value, format!("~ {}", printable(path)));
            }
            None => {
                removed += 1;
                let value = json!({ "change": "delete", "path": path, "old": cid.to_string() });
                context
                    .output
                    .line(&value, format!("{BAD}-{BAD:#} {}", printable(path)));
            }
        }
    }
    for (path, cid) in new.iter().filter(|(path, _)| !old.contains_key(*path)) {
        added += 1;
        let value = json!({ "change": "create", "path": path, "new": cid.to_string() });
        context
            .output
            .line(&value, format!("{GOOD}+{GOOD:#} {}", printable(path)));
    }
    context.output.remark(format!(
        "{FAINT}{added} added, {changed} changed, {removed} removed, of {} and {} records{FAINT:#}",
        old.len(),
        new.len()
    ));
    Ok(())
}

async fn records(context: &Context, text: &str) -> Outcome<BTreeMap<String, Cid>> {
    let archive = Source::parse(text)?.load(context).await?;
    let mut records = BTreeMap::new();
    archive
        .verify(
            None,
            |path, cid, _| {
                records.insert(path.as_str().to_owned(), *cid);
            },
            |_, _| {},
        )
        .map_err(|e| Failure::unsound(format!("{text} is no valid repository: {e}")))?;
    Ok(records)
}
