//! How far a migration is, in a small file.

use std::collections::BTreeMap;
use std::fs::{self, File};
use std::io::Write;
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};
use ues_pins::Owner;
use ues_pins::migration::{PinSetDigest, Position};
use ues_pins::service::TakenOver;

use super::batch::Taken;
use crate::failure::{Failure, Outcome};

/// What is written down after each batch.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Record {
    /// Where the pins come from, without a password.
    pub source: String,
    /// Whose they become.
    pub owner: String,
    /// What the requests of this migration are marked with.
    pub tag: String,
    /// Pins that end by then are not compared, in seconds since the Unix epoch.
    pub horizon_s: u64,
    /// How far the source was read; `None` before the first batch.
    pub position: Option<Position>,
    /// Whether it was read to its end.
    pub complete: bool,
    /// Pins that were read.
    pub read: u64,
    /// Pins that the service has accepted.
    pub taken: u64,
    /// Those among them that stood for a divided DAG.
    pub converted: u64,
    /// Earlier requests of the owner in whose place they came.
    pub replaced: u64,
    /// Pins that came twice.
    pub repeated: u64,
    /// What the service has to hold, except for pins that end soon.
    pub digest: PinSetDigest,
    /// How many were left out, by reason.
    pub left_out: BTreeMap<String, u64>,
    /// Length of the list of what was left out, in bytes.
    pub left_out_bytes: u64,
}

impl Record {
    /// Another pin was accepted.
    pub(super) fn add(&mut self, taken: &Taken) {
        self.taken += 1;
        self.converted += u64::from(taken.converted);
        let end = taken.pin.options.expire_at;
        if end.is_none_or(|end| end > self.horizon_s) {
            self.digest.add(&taken.pin);
        }
    }

    /// What is no longer there because a later pin of the source took its place. When it is uncertain whether the
    /// batch arrived before, what is there already counts as its own.
    pub(super) fn deduct(&mut self, taken: &TakenOver, uncertain: bool) {
        self.replaced += taken.replaced;
        self.repeated += taken.changed.count();
        self.digest.remove(taken.changed);
        if !uncertain {
            self.repeated += taken.again.count();
            self.digest.remove(taken.again);
        }
    }

    /// Another pin was left out.
    pub(super) fn leave_out(&mut self, reason: &str) {
        *self.left_out.entry(reason.to_owned()).or_default() += 1;
    }
}

/// The file.
pub(super) struct Journal {
    path: PathBuf,
    pub record: Record,
}

impl Journal {
    /// For migrations from this source for this owner; nothing is read or written yet.
    pub(super) fn new(folder: &Path, source: &str, owner: &Owner) -> Self {
        let name = file_name(source, owner);
        Self {
            path: folder.join(format!("{name}.json")),
            record: Record {
                source: source.to_owned(),
                owner: owner.to_string(),
                tag: String::new(),
                horizon_s: 0,
                position: None,
                complete: false,
                read: 0,
                taken: 0,
                converted: 0,
                replaced: 0,
                repeated: 0,
                digest: PinSetDigest::default(),
                left_out: BTreeMap::new(),
                left_out_bytes: 0,
            },
        }
    }

    /// Whether an unfinished migration is written down.
    pub(super) fn exists(&self) -> bool {
        self.path.exists()
    }

    /// Where what is left out is listed.
    pub(super) fn left_out_path(&self) -> PathBuf {
        self.path.with_extension("left-out.jsonl")
    }

    /// Begins from the start.
    pub(super) fn begin(mut self, horizon_s: u64) -> Outcome<Self> {
        let mut id = [0; 8];
        getrandom::fill(&mut id).map_err(Failure::while_doing("draw a random number"))?;
        self.record.tag = format!("migration-{:016x}", u64::from_be_bytes(id));
        self.record.horizon_s = horizon_s;
        if let Some(folder) = self.path.parent() {
            let making = Failure::while_doing(format!("make {}", folder.display()));
            fs::create_dir_all(folder).map_err(making)?;
        }
        self.write()?;
        Ok(self)
    }

    /// Goes on.
    pub(super) fn resume(mut self) -> Outcome<Self> {
        let path = self.path.display();
        if !self.exists() {
            let sentence = format!(
                "no unfinished migration from {} for {} is known here",
                self.record.source, self.record.owner
            );
            return Err(Failure::not_found(sentence)
                .hint("without --resume it begins from the start; doing so twice does no harm"));
        }
        let text = fs::read(&self.path).map_err(Failure::while_doing(format!("read {path}")))?;
        self.record =
            serde_json::from_slice(&text).map_err(Failure::while_doing(format!("read {path}")))?;
        Ok(self)
    }

    /// Writes how far it is, so that an interruption leaves either what was there or what is there now.
    pub(super) fn write(&self) -> Outcome {
        let writing = || Failure::while_doing(format!("write {}", self.path.display()));
        let text =
            serde_json::to_vec_pretty(&self.record).map_err(Failure::while_doing("write"))?;
        let new = self.path.with_extension("new");
        let write = || -> std::io::Result<()> {
            let mut file = File::create(&new)?;
            file.write_all(&text)?;
            file.sync_all()?;
            fs::rename(&new, &self.path)
        };
        write().map_err(writing())
    }

    /// It is done: there is nothing to go on with.
    pub(super) fn finish(self) -> Outcome<Record> {
        let removing = Failure::while_doing(format!("remove {}", self.path.display()));
        fs::remove_file(&self.path).map_err(removing)?;
        Ok(self.record)
    }
}

/// A file name for a source and an owner.
fn file_name(source: &str, owner: &Owner) -> String {
    let named = format!("{owner}\n{source}");
    let cid = ues_data::raw_cid(named.as_bytes()).to_string();
    cid.get(cid.len().saturating_sub(20)..)
        .unwrap_or(&cid)
        .to_owned()
}
