//! `ues pin export --format cluster`.

use std::ffi::OsString;
use std::path::{Path, PathBuf};

use tokio::fs::{self, File};
use tokio::io::{AsyncWrite, AsyncWriteExt};
use ues_pins::Owner;

use crate::client::{Client, Download};
use crate::commands::Context;
use crate::failure::{Failure, Outcome};
use crate::output::FAINT;

/// Writes pins as `ipfs-cluster-service state import` reads them. A file has its name only when it is whole.
///
/// # Errors
/// What the node answers, or the file system.
pub(super) async fn run(
    context: &Context,
    client: &Client,
    owner: Option<&Owner>,
    output: Option<&Path>,
) -> Outcome {
    let params = owner.map(|owner| ("owner", owner.as_str()));
    let params: Vec<_> = params.into_iter().collect();
    let pins = client.admin_download("pins/export", &params).await?;
    let count = match output {
        None => copy(context, pins, &mut tokio::io::stdout()).await?,
        Some(path) => to_file(context, pins, path).await?,
    };
    context
        .output
        .remark(format!("{FAINT}{count} pins{FAINT:#}"));
    Ok(())
}

async fn to_file(context: &Context, pins: Download, path: &Path) -> Outcome<u64> {
    let writing = || Failure::while_doing(format!("write {}", path.display()));
    let mut part = OsString::from(path);
    part.push(".part");
    let part = PathBuf::from(part);
    let mut file = File::create(&part).await.map_err(writing())?;
    let copied = copy(context, pins, &mut file).await;
    let count = match copied {
        Ok(count) => count,
        Err(failure) => {
            // What is left behind would not harm either.
            let _ = fs::remove_file(&part).await;
            return Err(failure);
        }
    };
    file.sync_all().await.map_err(writing())?;
    fs::rename(&part, path).await.map_err(writing())?;
    Ok(count)
}

/// Copies lines; returns their number.
async fn copy(
    context: &Context,
    mut pins: Download,
    out: &mut (impl AsyncWrite + Unpin),
) -> Outcome<u64> {
    let progress = context.output.progress("pins", 0);
    let mut count = 0;
    while let Some(piece) = pins.next().await? {
        out.write_all(&piece).await?;
        let lines = piece.iter().filter(|byte| **byte == b'\n').count() as u64;
        count += lines;
        progress.advance(lines);
    }
    out.flush().await?;
    Ok(count)
}
