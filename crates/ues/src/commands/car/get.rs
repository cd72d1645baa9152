//! `ues car get`.

use std::path::PathBuf;

use serde_json::json;
use ues_data::unixfs::{Entry, ExtractError, ExtractLimits, extract, open};

use super::{Selection, export_failure, open_archive};
use crate::commands::Context;
use crate::failure::{Failure, Outcome};
use crate::output::human_bytes;

/// Arguments of `ues car get`.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Examples:
  ues car get photos.car -o photos         the whole folder
  ues car get photos.car 2024/summer.jpg   one file, to ./summer.jpg

Every block is checked against its CID, and nothing is written outside of the target: names and symbolic links that \
lead elsewhere are refused. What exists is not overwritten. When anything fails, what was written by then is removed.")]
pub struct Args {
    /// What to take out.
    #[command(flatten)]
    selection: Selection,
    /// What to write, a new file or folder [default: the last name of PATH, or the root's CID]
    #[arg(long, short, value_name = "TARGET")]
    output: Option<PathBuf>,
    /// Stops at so many files, folders and links
    #[arg(long, value_name = "NUMBER", default_value_t = ExtractLimits::default().entries)]
    max_files: u64,
    /// Stops at so many bytes
    #[arg(long, value_name = "BYTES", default_value_t = ExtractLimits::default().bytes)]
    max_bytes: u64,
}

/// Runs it.
///
/// # Errors
/// When the archive is damaged, has no such entry, or would write elsewhere.
pub fn run(context: &Context, args: &Args) -> Outcome {
    let selection = &args.selection;
    let archive = open_archive(&selection.file)?;
    let root = selection.root(&archive)?;
    let found = open(&archive, &root, &selection.path).map_err(|e| export_failure(&e))?;
    let cid = match found {
        Entry::File { cid, .. } | Entry::Directory { cid } | Entry::Symlink { cid, .. } => cid,
        _ => root,
    };
    let name = selection.path.rsplit('/').find(|name| !name.is_empty());
    let target = match (&args.output, name) {
        (Some(path), _) => path.clone(),
        (None, Some(name @ ("." | ".."))) => {
            return Err(Failure::usage(format!("{name:?} is no name for a file"))
                .hint("say where to write with -o"));
        }
        (None, Some(name)) => PathBuf::from(name),
        (None, None) => PathBuf::from(root.to_string()),
    };
    let limits = ExtractLimits {
        entries: args.max_files,
        bytes: args.max_bytes,
    };
    let done = extract(&archive, &cid, &target, limits).map_err(|error| match error {
        ExtractError::Export(error) => export_failure(&error),
        ExtractError::Exists(path) => Failure::failed(format!("{} exists already", path.display()))
            .hint("choose another target with -o"),
        ExtractError::Write { path, reason } => {
            Failure::failed(format!("cannot write {}: {reason}", path.display()))
        }
        ExtractError::TooMuch(_) => Failure::failed(error.to_string())
            .hint("raise --max-files or --max-bytes if that is what you expect"),
        other => Failure::unsound(other.to_string()),
    })?;
    let value = json!({
        "cid": cid.to_string(), "target": target, "files": done.entries, "bytes": done.bytes,
    });
    context.output.line(
        &value,
        format!("{} written, {}", target.display(), human_bytes(done.bytes)),
    );
    Ok(())
}
