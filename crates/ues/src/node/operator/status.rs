//! What the node holds.

use std::path::Path;

use axum::Json;
use axum::extract::State;
use serde_json::json;

use super::Desk;
use super::answer::{Answer, Refusal};

/// `GET status`.
pub async fn status(State(desk): State<Desk>) -> Answer {
    let ctx = &desk.ctx;
    let data = desk.data.clone();
    let bytes = tokio::task::spawn_blocking(move || folder_bytes(&data, 8));
    Ok(Json(json!({
        "accounts": ctx.census.accounts(),
        "records": ctx.census.records(),
        "events": ctx.store.log().last_durable(),
        "firstEvent": ctx.store.log().first_seq(),
        "diskBytes": bytes.await.map_err(Refusal::internal)?,
        "poisoned": ctx.store.poisoned().map(|reason| reason.to_string()),
        "version": env!("CARGO_PKG_VERSION"),
    })))
}

/// Bytes that a file takes on the disk; less than its length where it has holes.
#[cfg(unix)]
fn used(meta: &std::fs::Metadata) -> u64 {
    std::os::unix::fs::MetadataExt::blocks(meta) * 512
}

/// Bytes that a file takes on the disk, as far as the system tells.
#[cfg(not(unix))]
fn used(meta: &std::fs::Metadata) -> u64 {
    meta.len()
}

/// Bytes of all files in a folder; what cannot be read counts nothing.
fn folder_bytes(dir: &Path, depth: usize) -> u64 {
    let Ok(entries) = std::fs::read_dir(dir) else {
        return 0;
    };
    entries
        .filter_map(Result::ok)
        .filter_map(|entry| Some((entry.path(), entry.metadata().ok()?)))
        .map(|(path, meta)| match meta.is_dir() {
            true if depth > 0 => folder_bytes(&path, depth - 1),
            true => 0,
            false => used(&meta),
        })
        .sum()
}
