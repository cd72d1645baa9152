//! Where a running node is to be found: a small file in its data folder.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

const NAME: &str = "node.json";

/// What a running node says about itself. After a crash the file may be left over; whoever reads it asks the
/// address whether the node is there.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct RunFile {
    /// Process.
    pub pid: u32,
    /// Where it listens, as a URL that a process on the same machine can call.
    pub url: String,
    /// Where others reach it.
    pub public_url: String,
}

/// Removes the file when the node stops.
#[derive(Debug)]
pub struct Written(PathBuf);

impl RunFile {
    /// The file of a folder, if there is a readable one.
    pub fn read(dir: &Path) -> Option<Self> {
        serde_json::from_slice(&fs::read(dir.join(NAME)).ok()?).ok()
    }

    /// Writes it, whole or not at all.
    ///
    /// # Errors
    /// What the system says.
    pub fn write(&self, dir: &Path) -> io::Result<Written> {
        let path = dir.join(NAME);
        let fresh = dir.join("node.json.new");
        fs::write(&fresh, serde_json::to_vec_pretty(self)?)?;
        fs::rename(&fresh, &path)?;
        Ok(Written(path))
    }
}

impl Drop for Written {
    fn drop(&mut self) {
        if let Err(error) = fs::remove_file(&self.0) {
            tracing::warn!("cannot remove {}: {error}", self.0.display());
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn is_there_while_the_node_runs() {
        let dir = tempfile::tempdir().unwrap();
        let run = RunFile {
            pid: 7,
            url: "http://127.0.0.1:1".into(),
            public_url: "http://localhost:1".into(),
        };
        let written = run.write(dir.path()).unwrap();
        assert_eq!(RunFile::read(dir.path()), Some(run));
        drop(written);
        assert_eq!(RunFile::read(dir.path()), None);
    }
}
