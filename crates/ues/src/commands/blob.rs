//! `ues blob`.

use std::path::{Path, PathBuf};

use clap::Subcommand;
use serde_json::{Value, json};
use tokio::io::AsyncWriteExt;
use tokio_util::io::ReaderStream;

use super::Context;
use super::acting::{As, account_name};
use crate::client::{Client, Download};
use crate::failure::{Failure, Outcome};
use crate::output::{FAINT, human_bytes};

/// Blobs: pictures and other files that records point to.
#[derive(Debug, Subcommand)]
pub enum Command {
    /// Stores a file and prints how a record points to it
    #[command(after_help = "\
Example:
  ues blob put cat.jpg --as alice.test     a blob that no record points to is dropped after a while")]
    Put {
        /// The file
        file: PathBuf,
        /// Its media type; found out from its name when left away
        #[arg(long, value_name = "TYPE")]
        mime: Option<String>,
        /// Whom it acts for.
        #[command(flatten)]
        acting: As,
    },
    /// Reads a blob
    Get {
        /// The account that holds it
        account: String,
        /// Its CID
        cid: String,
        /// Where to write it; standard output when left away
        #[arg(long, short, value_name = "FILE")]
        output: Option<PathBuf>,
    },
    /// Lists the blobs that an account's records point to
    #[command(visible_alias = "list")]
    Ls {
        /// Whom it acts for.
        #[command(flatten)]
        acting: As,
    },
}

/// Runs it.
///
/// # Errors
/// What the node answers, or the file system.
pub async fn run(context: &Context, command: Command) -> Outcome {
    match command {
        Command::Put { file, mime, acting } => put(context, &file, mime, &acting).await,
        Command::Get {
            account,
            cid,
            output,
        } => {
            let client = context.client().await?;
            let did = did_of(client, account_name(&account)?).await?;
            let params = [("did", did.as_str()), ("cid", cid.as_str())];
            let download = client
                .download("com.atproto.sync.getBlob", &params, None)
                .await?;
            let mime = download.mime.clone();
            let bytes = save(context, download, output.as_deref(), "blob").await?;
            if let Some(path) = output {
                let value = json!({ "file": path, "bytes": bytes, "mimeType": mime });
                context.output.line(
                    &value,
                    format!("{}: {mime}, {}", path.display(), human_bytes(bytes)),
                );
            }
            Ok(())
        }
        Command::Ls { acting } => ls(context, &acting).await,
    }
}

async fn put(context: &Context, file: &Path, mime: Option<String>, acting: &As) -> Outcome {
    let reading = || Failure::while_doing(format!("read {}", file.display()));
    let input = tokio::fs::File::open(file).await.map_err(reading())?;
    let length = input.metadata().await.map_err(reading())?.len();
    let mime = mime.unwrap_or_else(|| mime_by_name(file).to_owned());
    let client = context.client().await?;
    let session = acting.session(client, "blob put").await?;
    let answer = client
        .upload(
            "com.atproto.repo.uploadBlob",
            &mime,
            length,
            ReaderStream::new(input),
            &session.token,
        )
        .await?;
    context
        .output
        .result(&answer["blob"], |out| writeln!(out, "{:#}", answer["blob"]));
    Ok(())
}

async fn ls(context: &Context, acting: &As) -> Outcome {
    let client = context.client().await?;
    let did = did_of(client, &acting.name(client).await?).await?;
    let mut cursor = String::new();
    let mut any = false;
    loop {
        let mut params = vec![("did", did.as_str()), ("limit", "500")];
        if !cursor.is_empty() {
            params.push(("cursor", &cursor));
        }
        let page = client
            .query("com.atproto.sync.listBlobs", &params, None)
            .await?;
        for cid in page["cids"]
            .as_array()
            .into_iter()
            .flatten()
            .filter_map(Value::as_str)
        {
            any = true;
            context.output.line(&json!(cid), cid);
        }
        match page["cursor"].as_str() {
            Some(next) => cursor = next.to_owned(),
            None => break,
        }
    }
    if !any {
        context.output.remark(format!("{FAINT}no blobs{FAINT:#}"));
    }
    Ok(())
}

/// The DID of a handle; a DID stays what it is.
pub async fn did_of(client: &Client, account: &str) -> Outcome<String> {
    if account.starts_with("did:") {
        return Ok(account.to_owned());
    }
    let params = [("handle", account)];
    let answer = client
        .query("com.atproto.identity.resolveHandle", &params, None)
        .await?;
    Ok(answer["did"].as_str().unwrap_or_default().to_owned())
}

/// Writes a download to a file (under another name until it is whole) or to standard output; says how many bytes.
pub async fn save(
    context: &Context,
    mut download: Download,
    output: Option<&Path>,
    what: &str,
) -> Outcome<u64> {
    let progress = context.output.progress(what, download.length.unwrap_or(0));
    let mut bytes = 0;
    let Some(path) = output else {
        let mut stdout = tokio::io::stdout();
        while let Some(piece) = download.next().await? {
            stdout.write_all(&piece).await?;
            bytes += piece.len() as u64;
            progress.advance(piece.len() as u64);
        }
        stdout.flush().await?;
        return Ok(bytes);
    };
    let mut part = path.as_os_str().to_owned();
    part.push(".part");
    let part = PathBuf::from(part);
    let writing = || Failure::while_doing(format!("write {}", path.display()));
    let result = async {
        let mut file = tokio::fs::File::create(&part).await.map_err(writing())?;
        while let Some(piece) = download.next().await? {
            file.write_all(&piece).await.map_err(writing())?;
            bytes += piece.len() as u64;
            progress.advance(piece.len() as u64);
        }
        file.sync_all().await.map_err(writing())?;
        tokio::fs::rename(&part, path).await.map_err(writing())
    }
    .await;
    if result.is_err() {
        // Half a file helps nobody; the first failure is the one to tell.
        let _ = tokio::fs::remove_file(&part).await;
    }
    result.map(|()| bytes)
}

fn mime_by_name(file: &Path) -> &'static str {
    let extension = file
        .extension()
        .and_then(|e| e.to_str())
        .unwrap_or_default();
    match extension.to_ascii_lowercase().as_str() {
        "jpg" | "jpeg" => "image/jpeg",
        "png" => "image/png",
        "gif" => "image/gif",
        "webp" => "image/webp",
        "avif" => "image/avif",
        "svg" => "image/svg+xml",
        "mp4" => "video/mp4",
        "webm" => "video/webm",
        "mp3" => "audio/mpeg",
        "ogg" => "audio/ogg",
        "pdf" => "application/pdf",
        "txt" => "text/plain",
        "vtt" => "text/vtt",
        "json" => "application/json",
        _ => "application/octet-stream",
    }
}
