//! Writing files and directories of an archive to the file system.

use std::fs::{self, OpenOptions};
use std::io::{self, Write};
use std::path::{Path, PathBuf};

use cid::Cid;

use super::import::MAX_NESTING;
use super::{Entry, ExportError, FileReader, list, open};
use crate::source::BlockSource;

/// Bounds on what is written. A few blocks can describe more files than any disk holds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ExtractLimits {
    /// How many files, folders and links there may be.
    pub entries: u64,
    /// How many bytes the files may have, all together.
    pub bytes: u64,
}

impl Default for ExtractLimits {
    /// A million entries, 64 GiB.
    fn default() -> Self {
        Self {
            entries: 1_000_000,
            bytes: 64 << 30,
        }
    }
}

/// What was written.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Extracted {
    /// Files, folders and links.
    pub entries: u64,
    /// Bytes of files.
    pub bytes: u64,
}

/// Why nothing was written.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ExtractError {
    /// The blocks are missing, damaged, or of something else.
    #[error(transparent)]
    Export(#[from] ExportError),
    /// There is something already.
    #[error("{0} exists already")]
    Exists(PathBuf),
    /// A name that is none in a file system, or would lead elsewhere.
    #[error("{name:?} in directory {cid} cannot be the name of a file")]
    Name {
        /// The directory.
        cid: Cid,
        /// The name.
        name: String,
    },
    /// A symbolic link that leads out of what is written.
    #[error("the symbolic link {path} leads out of the folder, to {target:?}")]
    Escapes {
        /// The link.
        path: PathBuf,
        /// Where it points.
        target: String,
    },
    /// The file system failed.
    #[error("{path} could not be written")]
    Write {
        /// The file or folder.
        path: PathBuf,
        /// What the system said.
        #[source]
        reason: io::Error,
    },
    /// More than the limits allow.
    #[error("more than {} entries or {} bytes", .0.entries, .0.bytes)]
    TooMuch(ExtractLimits),
    /// Folders nested deeper than allowed.
    #[error("folders nested deeper than {0}")]
    TooDeep(usize),
}

/// Writes the file or directory `cid` to `target`, which must not exist; its folder must.
///
/// Nothing is ever written outside of `target`: names that lead elsewhere are refused, every file and folder is made
/// anew, so that a symbolic link of the archive is not followed, and links point to what lies below `target` only.
///
/// # Errors
/// When anything cannot be read or written. What was written by then is removed.
pub fn extract(
    source: &impl BlockSource,
    cid: &Cid,
    target: &Path,
    limits: ExtractLimits,
) -> Result<Extracted, ExtractError> {
    if fs::symlink_metadata(target).is_ok() {
        return Err(ExtractError::Exists(target.to_owned()));
    }
    let mut extraction = Extraction {
        source,
        limits,
        done: Extracted::default(),
    };
    let result = extraction.entry(cid, target, 0);
    let somebody_else = matches!(&result, Err(ExtractError::Exists(path)) if path == target);
    if result.is_err() && !somebody_else {
        // The first failure is the one to tell.
        let _ = fs::remove_file(target).or_else(|_| fs::remove_dir_all(target));
    }
    result.map(|()| extraction.done)
}

struct Extraction<'s, S> {
    source: &'s S,
    limits: ExtractLimits,
    done: Extracted,
}

impl<S: BlockSource> Extraction<'_, S> {
    fn entry(&mut self, cid: &Cid, path: &Path, depth: usize) -> Result<(), ExtractError> {
        if depth > MAX_NESTING {
            return Err(ExtractError::TooDeep(MAX_NESTING));
        }
        self.done.entries += 1;
        self.check_limits()?;
        match open(self.source, cid, "")? {
            Entry::File { cid, .. } => self.file(&cid, path),
            Entry::Directory { cid } => {
                fs::create_dir(path).map_err(writing(path))?;
                for entry in list(self.source, &cid)? {
                    if !is_plain(&entry.name) {
                        let name = entry.name.chars().take(64).collect();
                        return Err(ExtractError::Name { cid, name });
                    }
                    self.entry(&entry.cid, &path.join(&entry.name), depth + 1)?;
                }
                Ok(())
            }
            Entry::Symlink { target, .. } => {
                if !stays_below(&target, depth) {
                    let path = path.to_owned();
                    return Err(ExtractError::Escapes { path, target });
                }
                link(&target, path).map_err(writing(path))
            }
        }
    }

    fn file(&mut self, cid: &Cid, path: &Path) -> Result<(), ExtractError> {
        let mut file = OpenOptions::new()
            .write(true)
            .create_new(true)
            .open(path)
            .map_err(writing(path))?;
        let mut reader = FileReader::new(self.source, *cid);
        while let Some(chunk) = reader.next_chunk()? {
            self.done.bytes = self.done.bytes.saturating_add(chunk.len() as u64);
            self.check_limits()?;
            file.write_all(&chunk).map_err(writing(path))?;
        }
        Ok(())
    }

    fn check_limits(&self) -> Result<(), ExtractError> {
        if self.done.entries > self.limits.entries || self.done.bytes > self.limits.bytes {
            return Err(ExtractError::TooMuch(self.limits));
        }
        Ok(())
    }
}

fn writing(path: &Path) -> impl FnOnce(io::Error) -> ExtractError {
    let path = path.to_owned();
    move |reason| match reason.kind() {
        io::ErrorKind::AlreadyExists => ExtractError::Exists(path),
        _ => ExtractError::Write { path, reason },
    }
}

/// Whether a name is that of an entry in its own folder, on any system.
fn is_plain(name: &str) -> bool {
    let elsewhere = name.contains(['/', '\0']) || matches!(name, "" | "." | "..");
    // Drives, streams and the other separator.
    let foreign = cfg!(windows) && name.contains(['\\', ':']);
    !elsewhere && !foreign
}

/// Whether a link in a folder `depth - 1` levels below the target leads to somewhere below the target.
///
/// Upwards only at the beginning: after a name, which may be that of another link, nobody knows where upwards is.
fn stays_below(link: &str, depth: usize) -> bool {
    let mut parts = link.split('/').filter(|part| *part != ".").peekable();
    let mut up = 0;
    while parts.next_if_eq(&"..").is_some() {
        up += 1;
    }
    let rooted = link.starts_with('/') || link.contains('\0') || link.is_empty();
    !rooted && up < depth && parts.all(|part| part != ".." && (!cfg!(windows) || is_plain(part)))
}

#[cfg(unix)]
fn link(target: &str, path: &Path) -> io::Result<()> {
    std::os::unix::fs::symlink(target, path)
}

#[cfg(not(unix))]
fn link(_: &str, _: &Path) -> io::Result<()> {
    Err(io::ErrorKind::Unsupported.into())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn links_stay_below() {
        for (link, depth) in [
            ("a", 1),
            ("./a/b", 1),
            ("../a", 2),
            ("../../a", 3),
            ("..", 2),
        ] {
            assert!(stays_below(link, depth), "{link} at {depth}");
        }
        for (link, depth) in [
            ("a", 0),
            ("..", 1),
            ("../a", 1),
            ("../../a", 2),
            ("a/../..", 5),
            ("./../a", 1),
            ("/etc", 9),
            ("", 3),
            ("a\0", 3),
        ] {
            assert!(!stays_below(link, depth), "{link} at {depth}");
        }
    }
}
