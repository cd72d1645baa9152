//! `ues car add`.

use std::collections::HashSet;
use std::fs::{self, File};
use std::io::{self, BufWriter, Write};
use std::path::{Path, PathBuf};

use bytes::Bytes;
use serde_json::json;
use ues_data::car::CarWriter;
use ues_data::source::FromFn;
use ues_data::unixfs::{ImportOptions, Imported, import_path};
use ues_data::{BlockSinkError, Cid};

use crate::commands::Context;
use crate::failure::{Failure, Outcome};
use crate::output::{FAINT, human_bytes};

/// Arguments of `ues car add`.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Examples:
  ues car add photos                       writes photos.car and prints its CID
  ues car add photos -o - | ipfs dag import
  ues car add letter.txt --only-hash       the CID alone, nothing is written
  ues car add old --cid-version 0          Qm…, as `ipfs add` without options

Each PATH becomes a root of the archive. The CIDs are those of `ipfs add -r --cid-version 1`: blocks of 256 KiB, 174 \
links a node, folders above 256 KiB of names and CIDs divided. Symbolic links are kept as links and never followed. \
The input is read twice, first for the roots, which stand at the beginning of an archive.")]
pub struct Args {
    /// Files and folders
    #[arg(value_name = "PATH", required = true)]
    paths: Vec<PathBuf>,
    /// The archive; `-` for standard output [default: NAME.car, of the first PATH]
    #[arg(long, short, value_name = "FILE")]
    output: Option<PathBuf>,
    /// Prints the CIDs and writes nothing
    #[arg(long, short = 'n', conflicts_with = "output")]
    only_hash: bool,
    /// The version of CIDs
    #[arg(long, value_name = "VERSION", default_value = "1", value_parser = ["0", "1"])]
    cid_version: String,
    /// Whether the bytes of files lie in raw blocks [default: yes in version 1, no in version 0]
    #[arg(long, value_name = "BOOL", num_args = 0..=1, require_equals = true, default_missing_value = "true")]
    raw_leaves: Option<bool>,
    /// How many bytes of a file go into one block, 1 to 1048576
    #[arg(long, value_name = "BYTES", default_value_t = 256 << 10)]
    chunk_size: usize,
    /// With the files of a folder whose names begin with a dot
    #[arg(long)]
    hidden: bool,
}

impl Args {
    fn options(&self) -> ImportOptions {
        let base = match self.cid_version.as_str() {
            "0" => ImportOptions::cid_v0(),
            _ => ImportOptions::cid_v1(),
        };
        ImportOptions {
            raw_leaves: self.raw_leaves.unwrap_or(base.raw_leaves),
            chunk_size: self.chunk_size,
            hidden: self.hidden,
            ..base
        }
    }

    fn target(&self) -> Outcome<Option<PathBuf>> {
        if self.only_hash {
            return Ok(None);
        }
        if let Some(path) = &self.output {
            return Ok(Some(path.clone()));
        }
        let name = self.paths.first().and_then(|path| path.file_name());
        let mut name = name
            .ok_or_else(|| Failure::usage("no name for the archive").hint("give one with -o"))?
            .to_owned();
        name.push(".car");
        Ok(Some(name.into()))
    }
}

/// Runs it.
///
/// # Errors
/// When something cannot be read or written.
pub fn run(context: &Context, args: &Args) -> Outcome {
    let options = args.options();
    let target = args.target()?;
    let mut nothing = FromFn(|_: &Cid, _: Bytes| Ok::<(), BlockSinkError>(()));
    let made = args
        .paths
        .iter()
        .map(|path| import(path, options, &mut nothing))
        .collect::<Outcome<Vec<Imported>>>()?;
    let roots: Vec<Cid> = made.iter().map(|made| made.cid).collect();
    let written = match &target {
        None => None,
        Some(path) if path.as_os_str() == "-" => {
            write(io::stdout().lock(), args, options, &roots)?;
            // The archive is the result.
            return Ok(());
        }
        Some(path) => Some(write_file(path, args, options, &roots)?),
    };
    for (path, made) in args.paths.iter().zip(&made) {
        let mut value = json!({
            "path": path, "cid": made.cid.to_string(), "size": made.total_size,
        });
        if let Some(file) = &target {
            value["file"] = json!(file);
        }
        context
            .output
            .line(&value, format!("{} {}", made.cid, path.display()));
    }
    if let (Some(file), Some(bytes)) = (&target, written) {
        context.output.remark(format!(
            "{FAINT}{} written, {}{FAINT:#}",
            file.display(),
            human_bytes(bytes)
        ));
    }
    Ok(())
}

fn import(
    path: &Path,
    options: ImportOptions,
    sink: &mut impl ues_data::BlockSink,
) -> Outcome<Imported> {
    import_path(path, options, sink).map_err(|error| {
        let cause = std::error::Error::source(&error).map(|cause| format!(": {cause}"));
        Failure::failed(format!("{error}{}", cause.unwrap_or_default()))
    })
}

/// Writes the archive under another name until it is whole; says how many bytes it has.
fn write_file(path: &Path, args: &Args, options: ImportOptions, roots: &[Cid]) -> Outcome<u64> {
    let mut part = path.as_os_str().to_owned();
    part.push(".part");
    let part = PathBuf::from(part);
    let writing = || Failure::while_doing(format!("write {}", path.display()));
    let result = File::create(&part).map_err(writing()).and_then(|file| {
        write(&file, args, options, roots)?;
        file.sync_all().map_err(writing())?;
        fs::rename(&part, path).map_err(writing())?;
        Ok(file.metadata().map_err(writing())?.len())
    });
    if result.is_err() {
        // Half an archive helps nobody; the first failure is the one to tell.
        let _ = fs::remove_file(&part);
    }
    result
}

fn write(output: impl Write, args: &Args, options: ImportOptions, roots: &[Cid]) -> Outcome {
    let writing = || Failure::while_doing("write the archive");
    let output = BufWriter::with_capacity(1 << 20, output);
    let mut archive = CarWriter::new(output, roots).map_err(writing())?;
    let mut written = HashSet::new();
    for (path, root) in args.paths.iter().zip(roots) {
        let mut sink = FromFn(|cid: &Cid, bytes: Bytes| {
            if !written.insert(*cid) {
                return Ok(());
            }
            archive.block(cid, &bytes).map_err(|reason| BlockSinkError {
                cid: *cid,
                reason: reason.into(),
            })
        });
        if import(path, options, &mut sink)?.cid != *root {
            return Err(
                Failure::failed(format!("{} changed while it was read", path.display()))
                    .hint("an archive cannot lie in the folder that it is made of"),
            );
        }
    }
    archive.finish().map_err(writing())?;
    Ok(())
}
