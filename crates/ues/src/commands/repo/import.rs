//! `ues repo import`.

use std::path::PathBuf;

use futures::StreamExt;
use serde_json::json;
use tokio_util::io::ReaderStream;

use crate::commands::Context;
use crate::commands::acting::account_name;
use crate::failure::{Failure, Outcome};

/// Arguments of `ues repo import`.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Example:
  ues account create alice.test && ues repo import alice.test old-home.car

The records become those of the file; all else goes. The node checks every block and signs the result with the \
account's own key. Blobs that the records point to are brought along with `ues blob put`.")]
pub struct Args {
    /// Handle or DID
    account: String,
    /// The CAR file
    #[arg(value_name = "FILE")]
    file: PathBuf,
}

/// Runs it.
///
/// # Errors
/// What the node answers, or the file system.
pub async fn run(context: &Context, args: Args) -> Outcome {
    let reading = || Failure::while_doing(format!("read {}", args.file.display()));
    let file = tokio::fs::File::open(&args.file).await.map_err(reading())?;
    let length = file.metadata().await.map_err(reading())?.len();
    let client = context.client().await?;
    let session = client
        .session(account_name(&args.account)?, "repo import")
        .await?;
    let progress = context.output.progress("import", length);
    let (told, heard) = std::sync::mpsc::channel();
    let stream = ReaderStream::with_capacity(file, 256 << 10).inspect(move |piece| {
        if let Ok(piece) = piece {
            // The receiver is there as long as the call runs.
            let _ = told.send(piece.len() as u64);
        }
    });
    let upload = client.upload(
        "com.atproto.repo.importRepo",
        "application/vnd.ipld.car",
        length,
        stream,
        &session.token,
    );
    tokio::pin!(upload);
    let mut tick = tokio::time::interval(std::time::Duration::from_millis(200));
    let answer = loop {
        tokio::select! {
            answer = &mut upload => break answer,
            _ = tick.tick() => progress.advance(heard.try_iter().sum()),
        }
    };
    drop(progress);
    answer?;
    let account = client
        .admin_get("account", &[("account", &session.did)])
        .await?;
    let value = json!({
        "did": session.did, "records": account["records"], "rev": account["rev"], "commit": account["commit"],
    });
    context.output.line(
        &value,
        format!(
            "{} now holds {} records, revision {}",
            session.handle,
            account["records"],
            account["rev"].as_str().unwrap_or_default()
        ),
    );
    Ok(())
}
