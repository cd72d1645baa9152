//! `ues pin add`.

use std::collections::HashSet;
use std::path::{Path, PathBuf};
use std::time::Duration;

use axum::body::Bytes;
use http::Method;
use serde_json::{Map, Value, json};
use tokio_util::io::ReaderStream;
use ues_data::car::CarWriter;
use ues_data::source::FromFn;
use ues_data::unixfs::{ImportOptions, import_path};
use ues_data::{BlockSinkError, Cid, parse_cid};

use super::show::{coloured, reason};
use super::{duration, path_part};
use crate::client::Client;
use crate::commands::Context;
use crate::failure::{Failure, Outcome};

/// How often is asked how far a pin is.
const LOOK: Duration = Duration::from_millis(150);

/// Arguments of `ues pin add`.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Examples:
  ues pin add photos                       a folder: stored in the node, then pinned
  ues pin add photos.car                   an archive: its roots are pinned
  ues pin add bafybei… --name backup       content that a worker can find
  ues pin add letter.txt --replication 3 --expires-in 30d --no-wait")]
pub struct Args {
    /// Files, folders, archives (.car) or CIDs
    #[arg(required = true, value_name = "FILE|FOLDER|CAR|CID")]
    what: Vec<String>,
    /// A name to find it by [default: the name of the file]
    #[arg(long)]
    name: Option<String>,
    /// How many workers keep it; -1: all [default: as the service is configured]
    #[arg(long, value_name = "COPIES", allow_hyphen_values = true)]
    replication: Option<i32>,
    /// How long it is kept: 90s, 12h, 30d [default: for ever]
    #[arg(long, value_name = "TIME", value_parser = duration)]
    expires_in: Option<u64>,
    /// A word to find it by; may be repeated
    #[arg(long = "tag", value_name = "WORD")]
    tags: Vec<String>,
    /// A note; may be repeated
    #[arg(long = "meta", value_name = "KEY=VALUE")]
    meta: Vec<String>,
    /// An address of somebody who has it; may be repeated
    #[arg(long = "origin", value_name = "MULTIADDR")]
    origins: Vec<String>,
    /// The block alone, not what it links to
    #[arg(long)]
    direct: bool,
    /// Returns once it is accepted and durable
    #[arg(long)]
    no_wait: bool,
}

impl Args {
    /// The pin object without its CID.
    fn wish(&self, name: Option<&str>) -> Outcome<Map<String, Value>> {
        let mut wish = Map::new();
        if let Some(name) = self.name.as_deref().or(name) {
            wish.insert("name".to_owned(), name.into());
        }
        if let Some(copies) = self.replication {
            wish.insert("replication".to_owned(), copies.into());
        }
        if let Some(seconds) = self.expires_in {
            wish.insert("ttl".to_owned(), seconds.into());
        }
        if self.direct {
            wish.insert("mode".to_owned(), "direct".into());
        }
        let pairs = self.meta.iter().map(|note| {
            let pair = note.split_once('=').map(|(k, v)| (k.to_owned(), json!(v)));
            pair.ok_or_else(|| {
                Failure::usage(format!("--meta {note} has no value"))
                    .hint("write it as --meta key=value")
            })
        });
        let notes: Map<String, Value> = pairs.collect::<Outcome<_>>()?;
        if !notes.is_empty() {
            wish.insert("meta".to_owned(), notes.into());
        }
        wish.insert("tags".to_owned(), json!(self.tags));
        wish.insert("origins".to_owned(), json!(self.origins));
        Ok(wish)
    }
}

/// Runs it.
///
/// # Errors
/// When something cannot be read, is refused, or cannot be pinned.
pub async fn run(context: &Context, args: Args) -> Outcome {
    let client = context.client().await?;
    let mut accepted = Vec::new();
    for what in &args.what {
        let path = Path::new(what);
        let pins = if path.exists() {
            add_path(context, client, path, &args).await?
        } else {
            let cid = parse_cid(what).map_err(|_| {
                Failure::usage(format!(
                    "{what:?} is neither a file that is there nor a CID"
                ))
            })?;
            let mut wish = args.wish(None)?;
            wish.insert("cid".to_owned(), cid.to_string().into());
            vec![
                client
                    .pins_send(Method::POST, "/pins", Some(&wish.into()))
                    .await?,
            ]
        };
        accepted.extend(pins.into_iter().map(|pin| (what.clone(), pin)));
    }
    let mut failed = 0;
    for (what, pin) in accepted {
        let pin = if args.no_wait {
            pin
        } else {
            settled(context, client, pin).await?
        };
        let status = pin["status"].as_str().unwrap_or_default();
        let cid = pin["pin"]["cid"].as_str().unwrap_or_default();
        context
            .output
            .line(&pin, format!("{} {cid} {what}", coloured(status)));
        if status == "failed" {
            failed += 1;
            context.output.remark(format!("  {}", reason(&pin)));
        }
    }
    if failed > 0 {
        return Err(Failure::failed(format!("{failed} could not be pinned"))
            .hint("ues pin recover CID tries again; ues pin rm CID gives up"));
    }
    Ok(())
}

/// Waits until a pin is pinned or has failed for good.
async fn settled(context: &Context, client: &Client, mut pin: Value) -> Outcome<Value> {
    let id = pin["requestid"].as_str().unwrap_or_default().to_owned();
    let path = format!("/pins/{}", path_part(&id)?);
    let progress = context.output.progress("pinning", 0);
    while !matches!(pin["status"].as_str(), Some("pinned" | "failed")) {
        let status = pin["status"].as_str().unwrap_or_default();
        let why = pin["info"]["status_details"].as_str();
        progress.message(match why {
            Some(why) => format!("{status}, tried again soon: {why}"),
            None => status.to_owned(),
        });
        tokio::time::sleep(LOOK).await;
        pin = client.pins_get(&path, &[]).await?;
    }
    Ok(pin)
}

/// Stores a file, folder or archive in the node and pins its roots.
async fn add_path(
    context: &Context,
    client: &Client,
    path: &Path,
    args: &Args,
) -> Outcome<Vec<Value>> {
    let name = path
        .file_name()
        .map(|name| name.to_string_lossy().into_owned());
    let wish = Value::from(args.wish(name.as_deref())?).to_string();
    let reading = || Failure::while_doing(format!("read {}", path.display()));
    let is_car = path
        .extension()
        .is_some_and(|e| e.eq_ignore_ascii_case("car"));
    let archive = if is_car {
        tokio::fs::File::open(path).await.map_err(reading())?
    } else {
        let path = path.to_owned();
        let packing = tokio::task::spawn_blocking(move || pack(&path));
        let file = packing
            .await
            .map_err(Failure::while_doing("read the files"))??;
        tokio::fs::File::from_std(file)
    };
    let length = archive.metadata().await.map_err(reading())?.len();
    let progress = context.output.progress("storing", length);
    let (sent, mut seen) = tokio::sync::mpsc::unbounded_channel::<u64>();
    let body = futures::StreamExt::map(
        ReaderStream::with_capacity(archive, 256 << 10),
        move |piece| {
            if let Ok(piece) = &piece {
                // The bar may be gone already.
                let _ = sent.send(piece.len() as u64);
            }
            piece
        },
    );
    let params = [("pin", wish.as_str())];
    let upload = client.pins_upload("/pins/car", "application/vnd.ipld.car", &params, body);
    tokio::pin!(upload);
    let answer = loop {
        tokio::select! {
            answer = &mut upload => break answer?,
            Some(bytes) = seen.recv() => progress.advance(bytes),
        }
    };
    Ok(answer["results"].as_array().cloned().unwrap_or_default())
}

/// Makes an archive of a file or folder, in a file without a name.
fn pack(path: &Path) -> Outcome<std::fs::File> {
    let writing = || Failure::while_doing("write a temporary archive");
    let options = ImportOptions::cid_v1();
    let mut nothing = FromFn(|_: &Cid, _: Bytes| Ok::<(), BlockSinkError>(()));
    let failed = |error: ues_data::unixfs::ImportError| {
        let cause = std::error::Error::source(&error).map(|cause| format!(": {cause}"));
        Failure::failed(format!("{error}{}", cause.unwrap_or_default()))
    };
    let root = import_path(path, options, &mut nothing)
        .map_err(failed)?
        .cid;
    let folder = std::env::temp_dir();
    let named: PathBuf = folder.join(format!("ues-pin-{}-{root}.car", std::process::id()));
    let file = std::fs::File::options()
        .read(true)
        .write(true)
        .create_new(true)
        .open(&named)
        .map_err(writing())?;
    // It stays readable here, and is gone with this process.
    std::fs::remove_file(&named).map_err(writing())?;
    let output = std::io::BufWriter::with_capacity(1 << 20, &file);
    let mut archive = CarWriter::new(output, &[root]).map_err(writing())?;
    let mut written = HashSet::new();
    let mut sink = FromFn(|cid: &Cid, bytes: Bytes| {
        if !written.insert(*cid) {
            return Ok(());
        }
        archive.block(cid, &bytes).map_err(|reason| BlockSinkError {
            cid: *cid,
            reason: reason.into(),
        })
    });
    if import_path(path, options, &mut sink).map_err(failed)?.cid != root {
        return Err(Failure::failed(format!(
            "{} changed while it was read",
            path.display()
        )));
    }
    archive.finish().map_err(writing())?;
    std::io::Seek::rewind(&mut &file).map_err(writing())?;
    Ok(file)
}
