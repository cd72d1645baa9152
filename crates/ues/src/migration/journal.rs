//! What a later run has to know, in a small file: nothing that the servers could be asked for, and no secret that would let
//! anybody sign in.

use std::fs::{self, File, OpenOptions, TryLockError};
use std::io::{self, Write};
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::plan::Direction;
use crate::failure::{Failure, Outcome};

/// Prefix of the names of the files.
const PREFIX: &str = "account-";

/// What is written down.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Record {
    /// Which way.
    pub direction: Direction,
    /// Address of the other server.
    pub server: String,
    /// The server behind that address that holds the account.
    pub host: Option<String>,
    /// The account.
    pub did: String,
    /// Its handles, the one before and the one after.
    pub handles: Vec<String>,
    /// Whether the new account was made, or was about to be made, by this move. One that was there before is not deleted.
    pub made: bool,
    /// How the new server calls itself in identities.
    pub endpoint: Option<String>,
    /// Root of the records that were compared at both servers.
    pub root: Option<String>,
    /// A signed operation that may not have been handed in. The code that it took is used up.
    pub operation: Option<Value>,
}

impl Record {
    /// Of a move that begins.
    pub fn new(direction: Direction, server: &str, did: &str) -> Self {
        Self {
            direction,
            server: server.to_owned(),
            host: None,
            did: did.to_owned(),
            handles: Vec::new(),
            made: false,
            endpoint: None,
            root: None,
            operation: None,
        }
    }

    /// A later run may name the account by this handle; the last one is that at the new server.
    pub fn remember(&mut self, handle: &str) {
        let is_handle = !handle.is_empty() && !handle.starts_with("did:");
        if is_handle && !self.handles.iter().any(|known| known == handle) {
            self.handles.push(handle.to_owned());
        }
    }
}

/// The file of one move, and a folder for what is on its way. One process at a time has it.
pub struct Journal {
    path: PathBuf,
    /// What is written down.
    pub record: Record,
    _lock: File,
}

impl Journal {
    /// The journal of an account's move: the one that an earlier run has left, else a new one.
    ///
    /// # Errors
    /// When another process moves the account, an unfinished move is another one, or the disk fails.
    pub fn open(folder: &Path, direction: Direction, server: &str, did: &str) -> Outcome<Self> {
        make_folder(folder).map_err(using(folder))?;
        let path = folder.join(file_name(did));
        let lock = lock(&path.with_extension("lock"))?;
        let record = match fs::read(&path) {
            Ok(text) => parse(&path, &text)?,
            Err(e) if e.kind() == io::ErrorKind::NotFound => Record::new(direction, server, did),
            Err(e) => return Err(using(&path)(e)),
        };
        if (record.direction, record.server.as_str()) != (direction, server) {
            let way = match record.direction {
                Direction::From => "--from",
                Direction::To => "--to",
            };
            let sentence = format!("{did} is on its way already: {way} {}", record.server);
            return Err(Failure::failed(sentence)
                .hint("finish that move with the same command, or end it with --abandon"));
        }
        let journal = Self {
            path,
            record,
            _lock: lock,
        };
        make_folder(&journal.work()).map_err(using(&journal.work()))?;
        Ok(journal)
    }

    /// The DID of an unfinished move that a handle or DID names.
    pub fn find(folder: &Path, account: &str) -> Option<Record> {
        let entries = fs::read_dir(folder).ok()?;
        entries
            .flatten()
            .map(|entry| entry.path())
            .filter(|path| path.extension().is_some_and(|e| e == "json"))
            .filter(|path| {
                let name = path.file_name().and_then(|n| n.to_str());
                name.is_some_and(|name| name.starts_with(PREFIX))
            })
            .filter_map(|path| parse(&path, &fs::read(&path).ok()?).ok())
            .find(|r: &Record| r.did == account || r.handles.iter().any(|h| h == account))
    }

    /// A folder for what is on its way.
    pub fn work(&self) -> PathBuf {
        self.path.with_extension("work")
    }

    /// Writes, so that an interruption leaves either what was there or what is there now.
    ///
    /// # Errors
    /// When the disk fails.
    pub fn write(&self) -> Outcome {
        let new = self.path.with_extension("new");
        let write = || -> io::Result<()> {
            let text = serde_json::to_vec_pretty(&self.record)?;
            let mut file =
                private(OpenOptions::new().write(true).create(true).truncate(true)).open(&new)?;
            file.write_all(&text)?;
            file.sync_all()?;
            fs::rename(&new, &self.path)
        };
        write().map_err(using(&self.path))
    }

    /// It is over: there is nothing to go on with.
    ///
    /// # Errors
    /// When the disk fails.
    pub fn finish(self) -> Outcome {
        let gone = |e: io::Error| match e.kind() {
            io::ErrorKind::NotFound => Ok(()),
            _ => Err(e),
        };
        fs::remove_dir_all(self.work())
            .or_else(gone)
            .and_then(|()| fs::remove_file(&self.path).or_else(gone))
            .map_err(using(&self.path))
    }
}

fn using(path: &Path) -> impl Fn(io::Error) -> Failure {
    let path = path.display().to_string();
    move |cause| Failure::failed(format!("cannot use {path}: {cause}"))
}

fn parse(path: &Path, text: &[u8]) -> Outcome<Record> {
    serde_json::from_slice(text).map_err(Failure::while_doing(format!("read {}", path.display())))
}

fn file_name(did: &str) -> String {
    let plain = |c: char| match c {
        c if c.is_ascii_alphanumeric() || matches!(c, '.' | '-') => c,
        _ => '_',
    };
    // Two DIDs may differ in what a file name cannot show.
    let cid = ues_data::raw_cid(did.as_bytes()).to_string();
    let tail = cid.get(cid.len().saturating_sub(8)..).unwrap_or_default();
    let shown: String = did.chars().take(64).map(plain).collect();
    format!("{PREFIX}{shown}-{tail}.json")
}

fn private(options: &mut OpenOptions) -> &mut OpenOptions {
    #[cfg(unix)]
    std::os::unix::fs::OpenOptionsExt::mode(options, 0o600);
    options
}

fn make_folder(folder: &Path) -> io::Result<()> {
    let mut builder = fs::DirBuilder::new();
    builder.recursive(true);
    #[cfg(unix)]
    std::os::unix::fs::DirBuilderExt::mode(&mut builder, 0o700);
    builder.create(folder)
}

/// Lets go when the process ends, however it ends.
fn lock(path: &Path) -> Outcome<File> {
    let file = private(OpenOptions::new().write(true).create(true).truncate(false)).open(path);
    let file = file.map_err(using(path))?;
    match file.try_lock() {
        Ok(()) => Ok(file),
        Err(TryLockError::WouldBlock) => Err(Failure::unavailable(
            "another process moves this account now",
        )),
        Err(TryLockError::Error(e)) => Err(using(path)(e)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const DID: &str = "did:plc:abcdefghijklmnopqrstuvwx";

    #[test]
    fn what_is_written_is_found_again() {
        let dir = tempfile::tempdir().unwrap();
        let folder = dir.path().join("migrations");
        let open = || Journal::open(&folder, Direction::From, "https://old.example", DID);
        let mut journal = open().unwrap();
        assert!(open().is_err(), "one process at a time");
        journal.record.handles = vec!["a.example".to_owned()];
        journal.record.made = true;
        journal.write().unwrap();
        drop(journal);

        assert_eq!(Journal::find(&folder, "a.example").unwrap().did, DID);
        assert_eq!(Journal::find(&folder, DID).unwrap().did, DID);
        assert!(Journal::find(&folder, "b.example").is_none());
        assert!(Journal::open(&folder, Direction::To, "https://old.example", DID).is_err());
        let journal = open().unwrap();
        assert!(journal.record.made);
        #[cfg(unix)]
        {
            use std::os::unix::fs::PermissionsExt;
            let mode = |path: &Path| fs::metadata(path).unwrap().permissions().mode() & 0o777;
            assert_eq!(mode(&journal.path), 0o600);
            assert_eq!(mode(&journal.work()), 0o700);
        }
        journal.finish().unwrap();
        assert!(Journal::find(&folder, DID).is_none());
        assert!(!open().unwrap().record.made);
    }
}
