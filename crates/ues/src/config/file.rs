//! The configuration file: where it is looked for, how it is read, and the commented one that `init` writes.

use std::path::{Path, PathBuf};

use serde_json::Value;

use super::setting::{Kind, Setting};
use super::table::settings;

/// Name of the file that `ues config init` writes.
pub const FILE_NAME: &str = "ues.toml";

/// Why a configuration file is not used.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum FileError {
    /// It cannot be read.
    #[error("cannot read {}: {source}", path.display())]
    Io {
        /// The file.
        path: PathBuf,
        /// What the system said.
        source: std::io::Error,
    },
    /// It is not what its name says.
    #[error("{} is not {format}: {reason}", path.display())]
    Syntax {
        /// The file.
        path: PathBuf,
        /// TOML or JSON.
        format: &'static str,
        /// What the parser said, with the place.
        reason: String,
    },
}

/// The places where a file is looked for when none is named, the first that exists is used.
pub fn search_path() -> Vec<PathBuf> {
    let mut places = vec![PathBuf::from("ues.toml"), PathBuf::from("ues.json")];
    let home = std::env::var_os("XDG_CONFIG_HOME")
        .map(PathBuf::from)
        .filter(|p| p.is_absolute())
        .or_else(|| std::env::var_os("HOME").map(|home| PathBuf::from(home).join(".config")));
    if let Some(home) = home {
        places.push(home.join("ues").join(FILE_NAME));
    }
    places
}

/// Reads a file: TOML, or JSON when its name ends in `.json`.
///
/// # Errors
/// [`FileError`].
pub fn read(path: &Path) -> Result<Value, FileError> {
    let text = std::fs::read_to_string(path).map_err(|source| FileError::Io {
        path: path.to_owned(),
        source,
    })?;
    let syntax = |format, reason: String| FileError::Syntax {
        path: path.to_owned(),
        format,
        reason: reason.trim_end().to_owned(),
    };
    if path.extension().is_some_and(|e| e == "json") {
        serde_json::from_str(&text).map_err(|e| syntax("JSON", e.to_string()))
    } else {
        toml::from_str(&text).map_err(|e| syntax("TOML", e.to_string()))
    }
}

/// A file with every setting, explained, at its default and commented out.
pub fn commented() -> String {
    let mut out = String::from(
        "# Configuration of a UES node. Every line below stands at its default: take away the # to change it.\n\
         # Environment variables win over this file, flags win over both.\n\
         # `ues config show` tells which value is used and where it came from.\n",
    );
    let mut section = "";
    for setting in settings() {
        let (head, entry) = setting.key.split_once('.').unwrap_or(("", setting.key));
        if head != section {
            section = head;
            out.push_str(&format!("\n[{section}]\n"));
        }
        out.push('\n');
        for line in setting.help.lines() {
            out.push_str(&format!("# {line}\n"));
        }
        out.push_str(&format!("# Environment: {}\n", setting.env_name()));
        out.push_str(&format!("#{entry} = {}\n", as_toml(setting)));
    }
    out
}

fn as_toml(setting: &Setting) -> String {
    match setting.kind {
        Kind::Flag | Kind::Count | Kind::Ratio => setting.default.to_owned(),
        Kind::List | Kind::Choices(_) => {
            let items = setting.default.split(',').filter(|item| !item.is_empty());
            let items: Vec<String> = items.map(|item| format!("{item:?}")).collect();
            format!("[{}]", items.join(", "))
        }
        _ => format!("{:?}", setting.default),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::Layers;

    #[test]
    fn the_commented_file_uncommented_is_the_defaults() {
        let text: String = commented()
            .lines()
            .map(|line| match line.strip_prefix('#') {
                Some(entry) if !entry.starts_with(' ') => format!("{entry}\n"),
                _ => format!("{line}\n"),
            })
            .collect();
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join(FILE_NAME);
        std::fs::write(&path, text).unwrap();
        let mut layers = Layers::defaults().unwrap();
        let before: Vec<_> = layers.iter().map(|(s, v, _)| (s.key, v.clone())).collect();
        layers.add_file(&path).unwrap();
        let after: Vec<_> = layers.iter().map(|(s, v, _)| (s.key, v.clone())).collect();
        assert_eq!(before, after);
        assert!(
            layers
                .iter()
                .all(|(_, _, o)| !matches!(o, crate::config::Origin::Default))
        );
    }

    #[test]
    fn a_broken_file_says_where() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join(FILE_NAME);
        std::fs::write(&path, "listen = \n").unwrap();
        let error = read(&path).unwrap_err().to_string();
        assert!(
            error.contains("is not TOML") && error.contains("line 1"),
            "{error}"
        );
    }
}
