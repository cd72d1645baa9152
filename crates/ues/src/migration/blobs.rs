//! The blobs: those that the new server misses, a few at a time.

use std::fs::File;
use std::io::Read;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};

use futures::{StreamExt, TryStreamExt, stream};
use serde_json::{Value, json};
use sha2::{Digest, Sha256};
use ues_data::{Cid, parse_cid};

use super::mover::Mover;
use super::person::Report;
use super::plan::Step;
use super::repository::{remove, size_of};
use crate::failure::{Failure, Outcome};
use crate::output::human_bytes;

/// Blobs that are on their way at one time.
const AT_ONCE: usize = 4;
/// Blobs of a page of what is missing.
const PAGE: &str = "500";
/// How often a blob is tried while a server does not answer.
const TRIES: u32 = 3;
/// Lost blobs that are named in a failure.
const NAMED: usize = 10;

/// What came of a blob.
enum Moved {
    /// It has so many bytes.
    Bytes(u64),
    /// The old server does not have it.
    Lost(String),
}

impl Mover {
    /// Brings what the new server misses.
    pub(super) async fn blobs(&self) -> Outcome<Report> {
        let (mut count, mut bytes) = (0_u64, 0_u64);
        let mut before = usize::MAX;
        let lost = loop {
            let missing = self.missing().await?;
            if missing.is_empty() {
                break Vec::new();
            }
            if missing.len() >= before {
                let new = self.new.address();
                let sentence = format!("{new} misses {} blobs that it was given", missing.len());
                return Err(Failure::unsound(sentence));
            }
            before = missing.len();
            let total = missing.len() as u64;
            let done = AtomicU64::new(0);
            self.person.progress(Step::Blobs, 0, total);
            let moves = stream::iter(missing.into_iter().enumerate().map(|(number, cid)| {
                let done = &done;
                async move {
                    let moved = self.blob(number, &cid).await?;
                    let done = done.fetch_add(1, Ordering::Relaxed) + 1;
                    self.person.progress(Step::Blobs, done, total);
                    Ok::<_, Failure>(moved)
                }
            }));
            let moved: Vec<Moved> = moves.buffer_unordered(AT_ONCE).try_collect().await?;
            let mut lost = Vec::new();
            for moved in moved {
                match moved {
                    Moved::Lost(cid) => lost.push(cid),
                    Moved::Bytes(size) => (count, bytes) = (count + 1, bytes + size),
                }
            }
            if !lost.is_empty() {
                break lost;
            }
        };
        self.judge(&lost)?;
        let text = match count {
            0 => "all blobs are there".to_owned(),
            _ => format!("{count} blobs, {}", human_bytes(bytes)),
        };
        let details = json!({ "copied": count, "bytes": bytes, "lost": lost });
        Ok(Report::new(text, details))
    }

    /// Whether the account may move without these.
    fn judge(&self, lost: &[String]) -> Outcome {
        if lost.is_empty() {
            return Ok(());
        }
        let some: Vec<&str> = lost.iter().take(NAMED).map(String::as_str).collect();
        let more = if lost.len() > NAMED { ", …" } else { "" };
        let sentence = format!(
            "{} of the blobs that records point to are not at {}: {}{more}",
            lost.len(),
            self.old.address(),
            some.join(", ")
        );
        if self.wishes.without_lost_blobs {
            self.person.warn(&sentence);
            return Ok(());
        }
        Err(Failure::failed(sentence).hint(
            "they are lost there already; --without-lost-blobs moves the account without them",
        ))
    }

    /// The CIDs of the blobs that the new server misses.
    async fn missing(&self) -> Outcome<Vec<Cid>> {
        let mut all = Vec::new();
        let mut cursor: Option<String> = None;
        loop {
            let mut params = vec![("limit", PAGE)];
            if let Some(cursor) = &cursor {
                params.push(("cursor", cursor));
            }
            let nsid = "com.atproto.repo.listMissingBlobs";
            let page = self.new.query(nsid, &params).await?;
            let before = all.len();
            for blob in page["blobs"].as_array().into_iter().flatten() {
                let cid = blob["cid"].as_str().and_then(|cid| parse_cid(cid).ok());
                let nameless = || {
                    let sentence = format!("{} misses a blob without a name", self.new.address());
                    Failure::unsound(sentence)
                };
                all.push(cid.ok_or_else(nameless)?);
            }
            match page["cursor"].as_str() {
                Some(next) if all.len() > before && cursor.as_deref() != Some(next) => {
                    cursor = Some(next.to_owned());
                }
                _ => break,
            }
        }
        all.sort_unstable();
        all.dedup();
        Ok(all)
    }

    async fn blob(&self, number: usize, cid: &Cid) -> Outcome<Moved> {
        let path = self.journal.work().join(format!("blob-{number}"));
        let mut tries = 1;
        loop {
            match self.carry(cid, &path).await {
                Err(failure) if is_passing(&failure) && tries < TRIES => tries += 1,
                other => return other,
            }
        }
    }

    /// Reads a blob from the old server, checks it, and gives it to the new one.
    async fn carry(&self, cid: &Cid, path: &Path) -> Outcome<Moved> {
        let nsid = "com.atproto.sync.getBlob";
        let name = cid.to_string();
        let params = [("did", self.did()), ("cid", name.as_str())];
        let mime = match self.old.try_download(nsid, &params, path).await? {
            Ok(mime) => mime,
            Err(error) if error.is_missing() => return Ok(Moved::Lost(name)),
            Err(error) => return Err(error.into()),
        };
        if !has_hash(path.to_owned(), *cid).await? {
            let sentence = format!("{} gives other bytes for blob {cid}", self.old.address());
            return Err(Failure::unsound(sentence));
        }
        let bytes = size_of(path)?;
        let nsid = "com.atproto.repo.uploadBlob";
        let answer = self.new.upload(nsid, &mime, path).await?;
        let taken = &answer["blob"]["ref"]["$link"];
        if taken != &Value::from(name.as_str()) {
            let sentence = format!("{} names blob {cid} {taken}", self.new.address());
            return Err(Failure::unsound(sentence));
        }
        remove(path)?;
        Ok(Moved::Bytes(bytes))
    }
}

fn is_passing(failure: &Failure) -> bool {
    failure.exit == crate::failure::Exit::Unavailable
}

/// Whether a file is what a CID names.
async fn has_hash(path: PathBuf, cid: Cid) -> Outcome<bool> {
    let hash = move || -> std::io::Result<bool> {
        let mut file = File::open(path)?;
        let mut hasher = Sha256::new();
        let mut piece = vec![0; 64 * 1024];
        loop {
            let length = file.read(&mut piece)?;
            match piece.get(..length) {
                Some(read) if !read.is_empty() => hasher.update(read),
                _ => break,
            }
        }
        Ok(cid.hash().digest() == hasher.finalize().as_slice())
    };
    let hashed = tokio::task::spawn_blocking(hash).await;
    Ok(hashed.map_err(Failure::while_doing("read a blob"))??)
}
