//! `ues car verify`.

use std::collections::BTreeSet;
use std::path::PathBuf;

use serde_json::json;
use ues_data::content_id::IDENTITY;
use ues_data::{BlockSource, Cid, Limits, block};

use super::open_archive;
use crate::commands::Context;
use crate::failure::{Failure, Outcome};
use crate::output::{GOOD, human_bytes};

/// Arguments of `ues car verify`.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Examples:
  ues car verify photos.car
  ues car verify part.car --partial        blocks may be missing

Each block is hashed, and every link below the roots followed. Exit code 4 when a block is damaged or missing. An \
archive of a repository is verified with its signature by `ues repo verify`.")]
pub struct Args {
    /// The CAR file
    #[arg(value_name = "FILE")]
    file: PathBuf,
    /// Blocks may be missing
    #[arg(long)]
    partial: bool,
}

/// Runs it.
///
/// # Errors
/// [`crate::failure::Exit::Unsound`] when something is not as it must be.
pub fn run(context: &Context, args: &Args) -> Outcome {
    let name = args.file.display();
    let archive = open_archive(&args.file)?;
    let mut seen: BTreeSet<Cid> = archive.roots().iter().copied().collect();
    let mut open: Vec<Cid> = seen.iter().copied().collect();
    let mut missing = 0_u64;
    let mut first_missing = None;
    while let Some(cid) = open.pop() {
        if cid.hash().code() == IDENTITY {
            continue;
        }
        let found = archive.block(&cid);
        let Some(bytes) = found.map_err(Failure::while_doing(format!("read {name}")))? else {
            missing += 1;
            first_missing.get_or_insert(cid);
            continue;
        };
        let value = match block::decode(cid.codec(), &bytes, Limits::GENERAL) {
            Ok(value) => value,
            // What we cannot read may still be carried.
            Err(block::CodecError::Unsupported(_)) => continue,
            Err(e) => return Err(Failure::unsound(format!("{name}: block {cid}: {e}"))),
        };
        let mut links = Vec::new();
        value.references(&mut links);
        open.extend(links.into_iter().filter(|link| seen.insert(*link)));
    }
    if let Some(cid) = first_missing
        && !args.partial
    {
        let message = format!("{name} is not whole: {missing} blocks are missing, first {cid}");
        return Err(Failure::unsound(message).hint("--partial allows it"));
    }
    let mut reached = 0;
    for cid in &seen {
        let there = archive.contains(cid);
        reached += usize::from(there.map_err(Failure::while_doing("read the archive"))?);
    }
    let roots: Vec<String> = archive.roots().iter().map(Cid::to_string).collect();
    let value = json!({
        "ok": true, "roots": roots, "blocks": archive.len(), "bytes": archive.bytes(),
        "unreached": archive.len() - reached, "missing": missing,
    });
    context.output.line(
        &value,
        format!(
            "{GOOD}sound{GOOD:#} {} blocks, {}, {} {}",
            archive.len(),
            human_bytes(archive.bytes()),
            roots.len(),
            if roots.len() == 1 { "root" } else { "roots" },
        ),
    );
    Ok(())
}
