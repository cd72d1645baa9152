//! The records: read as one archive, checked, and handed in.

use std::fs::File;
use std::io::BufReader;
use std::path::{Path, PathBuf};

use serde_json::json;
use ues_data::car::{CarFile, CarLimits};
use ues_repo::repo::MAX_IMPORT_BLOCKS;
use ues_repo::repo::verify::{self, Verified, VerifyError};

use super::mover::Mover;
use super::person::Report;
use super::side::Side;
use crate::failure::{Failure, Outcome};
use crate::output::human_bytes;

const CAR: &str = "application/vnd.ipld.car";

impl Mover {
    /// Brings the records to the new server, unless it has the same ones already.
    pub(super) async fn repository(&self) -> Outcome<Report> {
        let root = self.root(&self.old).await?;
        if self.root(&self.new).await? == root {
            let details = json!({ "root": root, "copied": false });
            return Ok(Report::new("all records are there", details));
        }
        let path = self.journal.work().join("repository.car");
        let params = [("did", self.did())];
        let nsid = "com.atproto.sync.getRepo";
        self.old.try_download(nsid, &params, &path).await??;
        let bytes = size_of(&path)?;
        let verified = verify(path.clone(), self.old.address().to_owned()).await?;
        if verified.did.as_str() != self.did() {
            let sentence = format!(
                "{} gives the repository of {}",
                self.old.address(),
                verified.did
            );
            return Err(Failure::unsound(sentence));
        }
        let nsid = "com.atproto.repo.importRepo";
        self.new.upload(nsid, CAR, &path).await?;
        remove(&path)?;
        let (copied, found) = (verified.data.to_string(), self.root(&self.new).await?);
        if copied != found {
            return Err(Failure::unsound(format!(
                "{} has the tree {found} after it was given {copied}",
                self.new.address()
            )));
        }
        let records = verified.records;
        let details = json!({ "root": copied, "records": records, "bytes": bytes, "copied": true });
        let text = format!("{records} records, {}", human_bytes(bytes));
        Ok(Report::new(text, details))
    }

    /// The root of the tree of records at a server: equal for equal records, whoever has signed them.
    pub(super) async fn root(&self, side: &Side) -> Outcome<String> {
        let nsid = "com.atproto.sync.getLatestCommit";
        let head = side.query(nsid, &[("did", self.did())]).await?;
        let commit = head["cid"].as_str().unwrap_or_default();
        let name = match side.is_own() {
            true => "own-commit.car",
            false => "other-commit.car",
        };
        let path = self.journal.work().join(name);
        let params = [("did", self.did()), ("cids", commit)];
        let nsid = "com.atproto.sync.getBlocks";
        side.try_download(nsid, &params, &path).await??;
        let found = read_commit(&path, commit);
        remove(&path)?;
        found.map_err(|why| Failure::unsound(format!("{}: commit {commit}: {why}", side.address())))
    }
}

/// The root that a commit names, from an archive that holds the commit.
fn read_commit(path: &Path, commit: &str) -> Result<String, String> {
    let file = File::open(path).map_err(|e| e.to_string())?;
    let reader = ues_data::car::CarReader::new(BufReader::new(file), CarLimits::default());
    for block in reader.map_err(|e| e.to_string())? {
        let (cid, bytes) = block.map_err(|e| e.to_string())?;
        if cid.to_string() == commit {
            let commit =
                ues_repo::repo::commit::Commit::decode(&bytes).map_err(|e| e.to_string())?;
            return Ok(commit.data.to_string());
        }
    }
    Err("it is not what was asked for".to_owned())
}

/// Reads an archive: every block has the hash that its name says, the tree is whole, every record is there.
async fn verify(path: PathBuf, server: String) -> Outcome<Verified> {
    let read = move || -> Outcome<Verified> {
        let damaged = |e: VerifyError| {
            Failure::unsound(format!(
                "the repository that {server} gives is damaged: {e}"
            ))
        };
        let file = File::open(&path)?;
        let limits = CarLimits {
            max_blocks: MAX_IMPORT_BLOCKS,
            ..CarLimits::default()
        };
        let archive = CarFile::open(file, limits).map_err(|e| damaged(e.into()))?;
        let root = verify::root_of(&archive).map_err(damaged)?;
        // The signature may be that of a server before: one that has imported a repository signs with the next write.
        verify::verify(&archive, root, None, |_| Ok(())).map_err(damaged)
    };
    let read = tokio::task::spawn_blocking(read).await;
    read.map_err(Failure::while_doing("read the repository"))?
}

pub(super) fn size_of(path: &Path) -> Outcome<u64> {
    let data = std::fs::metadata(path);
    Ok(data
        .map_err(Failure::while_doing(format!("read {}", path.display())))?
        .len())
}

pub(super) fn remove(path: &Path) -> Outcome {
    std::fs::remove_file(path).map_err(Failure::while_doing(format!("remove {}", path.display())))
}
