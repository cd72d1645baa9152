//! `ues car`: files and folders as content-addressed archives. It needs no node.

mod add;
mod get;
mod ls;
mod verify;

use std::fs::File;
use std::path::{Path, PathBuf};

use clap::Subcommand;
use ues_data::car::{CarFile, CarLimits};
use ues_data::unixfs::ExportError;
use ues_data::{Cid, parse_cid};

use super::Context;
use crate::failure::{Failure, Outcome};

/// CAR archives of files: make, list, take out, verify.
#[derive(Debug, Subcommand)]
pub enum Command {
    /// Puts files and folders into an archive, and prints the CIDs that IPFS gives them
    Add(add::Args),
    /// Lists what is in an archive
    #[command(visible_alias = "list")]
    Ls(ls::Args),
    /// Takes files and folders out of an archive
    Get(get::Args),
    /// Checks every block of an archive, and that none is missing
    Verify(verify::Args),
}

/// Runs it.
///
/// # Errors
/// What the archive or the file system is not as it must be.
pub fn run(context: &Context, command: Command) -> Outcome {
    match command {
        Command::Add(args) => add::run(context, &args),
        Command::Ls(args) => ls::run(context, &args),
        Command::Get(args) => get::run(context, &args),
        Command::Verify(args) => verify::run(context, &args),
    }
}

/// Which entry of an archive is meant.
#[derive(Debug, clap::Args)]
struct Selection {
    /// The CAR file
    #[arg(value_name = "FILE")]
    file: PathBuf,
    /// A path below the root, `folder/picture.jpg`
    #[arg(value_name = "PATH", default_value = "", hide_default_value = true)]
    path: String,
    /// The root to begin at; needed when the archive has several
    #[arg(long, value_name = "CID")]
    root: Option<String>,
}

impl Selection {
    /// The root that is meant.
    fn root(&self, archive: &CarFile) -> Outcome<Cid> {
        if let Some(text) = &self.root {
            return parse_cid(text)
                .map_err(|e| Failure::usage(format!("{text:?} is not a CID: {e}")));
        }
        match archive.roots() {
            [root] => Ok(*root),
            [] => Err(
                Failure::usage(format!("{} names no root", self.file.display()))
                    .hint("say where to begin with --root CID"),
            ),
            several => Err(Failure::usage(format!(
                "{} has {} roots",
                self.file.display(),
                several.len()
            ))
            .hint(format!(
                "choose one with --root:\n{}",
                several
                    .iter()
                    .take(10)
                    .map(Cid::to_string)
                    .collect::<Vec<_>>()
                    .join("\n")
            ))),
        }
    }
}

/// Opens an archive, every block checked against its CID.
fn open_archive(path: &Path) -> Outcome<CarFile> {
    let file =
        File::open(path).map_err(Failure::while_doing(format!("read {}", path.display())))?;
    CarFile::open(file, CarLimits::default())
        .map_err(|e| Failure::unsound(format!("{} is damaged: {e}", path.display())))
}

/// What is wrong with the files in an archive.
fn export_failure(error: &ExportError) -> Failure {
    match error {
        ExportError::NotFound { .. } => Failure::not_found(error.to_string()),
        ExportError::Codec { .. } => Failure::unsound(error.to_string())
            .hint("ues repo ls and ues repo verify read archives of repositories"),
        _ => Failure::unsound(error.to_string()),
    }
}
