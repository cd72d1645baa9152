//! The list of what a migration left out.

use std::fs::{File, OpenOptions};
use std::io::{BufWriter, Seek, SeekFrom, Write};
use std::path::{Path, PathBuf};

use serde_json::{Value, json};

use crate::failure::{Failure, Outcome};

/// Lines of JSON: why, and the pin as the source has it.
pub(super) struct LeftOutFile {
    path: PathBuf,
    file: BufWriter<File>,
    bytes: u64,
}

impl LeftOutFile {
    /// Opens it; what was written behind the given length is forgotten.
    pub(super) fn open(path: PathBuf, bytes: u64) -> Outcome<Self> {
        let open = || -> std::io::Result<File> {
            let mut options = OpenOptions::new();
            let mut file = options
                .create(true)
                .write(true)
                .truncate(false)
                .open(&path)?;
            file.set_len(bytes)?;
            file.seek(SeekFrom::End(0))?;
            Ok(file)
        };
        let file = open().map_err(Failure::while_doing(format!("write {}", path.display())))?;
        Ok(Self {
            path,
            file: BufWriter::new(file),
            bytes,
        })
    }

    /// Where it is.
    pub(super) fn path(&self) -> &Path {
        &self.path
    }

    /// Adds a pin.
    pub(super) fn add(&mut self, reason: &str, why: Option<&str>, pin: &[u8]) -> Outcome {
        let pin: Value = serde_json::from_slice(pin).map_err(Failure::while_doing("read a pin"))?;
        let line = format!("{}\n", json!({ "reason": reason, "why": why, "pin": pin }));
        self.bytes += line.len() as u64;
        let writing = Failure::while_doing(format!("write {}", self.path.display()));
        self.file.write_all(line.as_bytes()).map_err(writing)
    }

    /// Makes it durable; its length in bytes.
    pub(super) fn sync(&mut self) -> Outcome<u64> {
        if !self.file.buffer().is_empty() {
            let sync = |file: &mut BufWriter<File>| {
                file.flush()?;
                file.get_ref().sync_data()
            };
            let writing = Failure::while_doing(format!("write {}", self.path.display()));
            sync(&mut self.file).map_err(writing)?;
        }
        Ok(self.bytes)
    }
}

/// What a reason means, for people.
pub(super) fn meaning(reason: &str) -> &str {
    match reason {
        "clusterdag-pin" => {
            "lists of shards (clusterdag-pin), which have no use without a cluster that divides DAGs"
        }
        "shard-pin" => "shards of divided DAGs (shard-pin); the DAG itself is pinned as a whole",
        "ended" => "pins whose end has passed",
        "refused" => "refused by the service",
        other => other,
    }
}
