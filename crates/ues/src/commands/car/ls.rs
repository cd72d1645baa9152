//! `ues car ls`.

use serde_json::json;
use ues_data::Cid;
use ues_data::car::CarFile;
use ues_data::unixfs::{Entry, list, open};

use super::{Selection, export_failure, open_archive};
use crate::commands::Context;
use crate::failure::Outcome;
use crate::output::{FAINT, printable};

/// Arguments of `ues car ls`.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Examples:
  ues car ls photos.car                    the root: a file itself, or what is in the folder
  ues car ls photos.car 2024/summer        a folder below it
  ues car ls many.car --root bafy…         one of several roots

The size is that of all blocks below, as the folder says it.")]
pub struct Args {
    /// What to list.
    #[command(flatten)]
    selection: Selection,
}

/// Runs it.
///
/// # Errors
/// When the archive is damaged, or has no such entry.
pub fn run(context: &Context, args: &Args) -> Outcome {
    let selection = &args.selection;
    let archive = open_archive(&selection.file)?;
    if selection.root.is_none() && selection.path.is_empty() && archive.roots().len() > 1 {
        for root in archive.roots() {
            let entry = find(&archive, root, "")?;
            line(context, kind(&entry), root, None, &root.to_string());
        }
        return Ok(());
    }
    let root = selection.root(&archive)?;
    match find(&archive, &root, &selection.path)? {
        Entry::Directory { cid } => {
            for entry in list(&archive, &cid).map_err(|e| export_failure(&e))? {
                let found = find(&archive, &entry.cid, "")?;
                line(
                    context,
                    kind(&found),
                    &entry.cid,
                    entry.total_size,
                    &entry.name,
                );
            }
        }
        found => {
            let (cid, size) = match &found {
                Entry::File { cid, size } => (*cid, Some(*size)),
                Entry::Symlink { cid, .. } => (*cid, None),
                _ => (root, None),
            };
            let name = match selection.path.as_str() {
                "" => cid.to_string(),
                path => path.to_owned(),
            };
            line(context, kind(&found), &cid, size, &name);
        }
    }
    Ok(())
}

fn find(archive: &CarFile, root: &Cid, path: &str) -> Outcome<Entry> {
    open(archive, root, path).map_err(|e| export_failure(&e))
}

fn kind(entry: &Entry) -> &'static str {
    match entry {
        Entry::File { .. } => "file",
        Entry::Directory { .. } => "folder",
        Entry::Symlink { .. } => "link",
        _ => "other",
    }
}

fn line(context: &Context, kind: &str, cid: &Cid, size: Option<u64>, name: &str) {
    let value = json!({ "name": name, "kind": kind, "cid": cid.to_string(), "size": size });
    let size = size.map_or_else(|| "-".to_owned(), |size| size.to_string());
    context.output.line(
        &value,
        format!(
            "{kind:6} {size:>12} {FAINT}{cid}{FAINT:#} {}",
            printable(name)
        ),
    );
}
