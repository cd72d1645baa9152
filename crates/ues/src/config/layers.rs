//! Defaults, file, environment and flags, one over the other, each value remembering its origin.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use serde_json::{Map, Value};

use super::file::{self, FileError};
use super::setting::{Kind, Setting, nearest};
use super::table::settings;
use super::typed::Config;

/// Where a value came from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Origin {
    /// Nobody set it.
    Default,
    /// The configuration file.
    File(PathBuf),
    /// An environment variable.
    Env(String),
    /// A flag on the command line.
    Flag(String),
}

impl std::fmt::Display for Origin {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Default => f.write_str("default"),
            Self::File(path) => write!(f, "file {}", path.display()),
            Self::Env(name) => write!(f, "environment {name}"),
            Self::Flag(name) => write!(f, "flag {name}"),
        }
    }
}

/// Why a configuration is not used.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ConfigError {
    /// The file cannot be read or is not TOML or JSON.
    #[error(transparent)]
    File(#[from] FileError),
    /// A name that nobody knows.
    #[error("unknown setting {key:?} in {}", path.display())]
    UnknownKey {
        /// The name as it was written.
        key: String,
        /// The file.
        path: PathBuf,
        /// A known name that looks alike.
        nearest: Option<&'static str>,
    },
    /// A name after `--set` that nobody knows.
    #[error("there is no setting {key:?}")]
    UnknownName {
        /// The name as it was written.
        key: String,
        /// A known name that looks alike.
        nearest: Option<&'static str>,
    },
    /// A value of the wrong kind.
    #[error("{key} is set to {found} by {origin}, expected {expected}")]
    Value {
        /// Name of the setting.
        key: &'static str,
        /// The value as it was written.
        found: String,
        /// Who wrote it.
        origin: Origin,
        /// What would do.
        expected: String,
    },
    /// The settings do not fit the typed form; a mistake of this program.
    #[error("the configuration cannot be read: {0}")]
    Typed(#[from] serde_json::Error),
}

/// The values of all settings with their origins.
#[derive(Clone, Debug)]
pub struct Layers {
    values: BTreeMap<&'static str, (Value, Origin)>,
    unknown_env: Vec<String>,
}

/// Environment variables beginning with `UES_` that are no settings.
const OTHER_ENV: &[&str] = &["UES_CONFIG", "UES_LOG", "UES_PASSWORD"];

impl Layers {
    /// The defaults alone.
    ///
    /// # Errors
    /// [`ConfigError::Value`] when a default is not a value of its setting.
    pub fn defaults() -> Result<Self, ConfigError> {
        let mut layers = Self {
            values: BTreeMap::new(),
            unknown_env: Vec::new(),
        };
        for setting in settings() {
            layers.set_text(setting, setting.default, Origin::Default)?;
        }
        Ok(layers)
    }

    /// Lays a file over what is there: TOML, or JSON when its name ends in `.json`.
    ///
    /// # Errors
    /// [`ConfigError::File`], [`ConfigError::UnknownKey`] or [`ConfigError::Value`].
    pub fn add_file(&mut self, path: &Path) -> Result<(), ConfigError> {
        let mut leaves = Vec::new();
        flatten(String::new(), file::read(path)?, &mut leaves);
        for (key, value) in leaves {
            let Some(setting) = Setting::find(&key) else {
                let nearest = nearest(&key, settings().map(|s| s.key));
                return Err(ConfigError::UnknownKey {
                    key,
                    path: path.to_owned(),
                    nearest,
                });
            };
            let origin = Origin::File(path.to_owned());
            let found = shown(setting, value.to_string());
            match setting.check(value) {
                Ok(value) => self.values.insert(setting.key, (value, origin)),
                Err(expected) => {
                    return Err(ConfigError::Value {
                        key: setting.key,
                        found,
                        origin,
                        expected,
                    });
                }
            };
        }
        Ok(())
    }

    /// Lays an environment over what is there. Names with `UES_` that mean nothing are remembered, not refused:
    /// a container platform may set some by itself.
    ///
    /// # Errors
    /// [`ConfigError::Value`].
    pub fn add_env(
        &mut self,
        vars: impl Iterator<Item = (String, String)>,
    ) -> Result<(), ConfigError> {
        let names: BTreeMap<String, &'static Setting> =
            settings().map(|s| (s.env_name(), s)).collect();
        let mut log_filter = None;
        for (name, text) in vars {
            if let Some(setting) = names.get(&name) {
                self.set_text(setting, &text, Origin::Env(name))?;
            } else if name == "UES_LOG" || (name == "RUST_LOG" && log_filter.is_none()) {
                log_filter = Some((name, text));
            } else if name.starts_with("UES_") && !OTHER_ENV.contains(&name.as_str()) {
                let hint = match nearest(&name, names.keys().map(String::as_str)) {
                    Some(known) => format!("{name} means nothing here; did you mean {known}?"),
                    None => format!("{name} means nothing here"),
                };
                self.unknown_env.push(hint);
            }
        }
        if let (Some((name, text)), Some(setting)) = (log_filter, Setting::find("log.level"))
            && self
                .origin("log.level")
                .is_none_or(|o| !matches!(o, Origin::Env(_)))
        {
            self.set_text(setting, &text, Origin::Env(name))?;
        }
        Ok(())
    }

    /// Lays the value of a flag over what is there.
    ///
    /// # Errors
    /// [`ConfigError::Value`]. A key that is no setting is ignored.
    pub fn add_flag(&mut self, key: &str, flag: &str, text: &str) -> Result<(), ConfigError> {
        match Setting::find(key) {
            Some(setting) => self.set_text(setting, text, Origin::Flag(flag.to_owned())),
            None => Ok(()),
        }
    }

    /// Lays `--set KEY=VALUE` over what is there.
    ///
    /// # Errors
    /// [`ConfigError::UnknownName`] or [`ConfigError::Value`].
    pub fn add_named(&mut self, key: &str, text: &str) -> Result<(), ConfigError> {
        match Setting::find(key) {
            Some(setting) => self.set_text(setting, text, Origin::Flag("--set".to_owned())),
            None => Err(ConfigError::UnknownName {
                key: key.to_owned(),
                nearest: nearest(key, settings().map(|s| s.key)),
            }),
        }
    }

    fn set_text(
        &mut self,
        setting: &'static Setting,
        text: &str,
        origin: Origin,
    ) -> Result<(), ConfigError> {
        match setting.parse(text) {
            Ok(value) => {
                self.values.insert(setting.key, (value, origin));
                Ok(())
            }
            Err(expected) => Err(ConfigError::Value {
                key: setting.key,
                found: shown(setting, format!("{text:?}")),
                origin,
                expected,
            }),
        }
    }

    /// Where the value of a setting came from.
    pub fn origin(&self, key: &str) -> Option<&Origin> {
        self.values.get(key).map(|(_, origin)| origin)
    }

    /// All settings in the order of the table, with value and origin.
    pub fn iter(&self) -> impl Iterator<Item = (&'static Setting, &Value, &Origin)> {
        settings().filter_map(|s| self.values.get(s.key).map(|(v, o)| (s, v, o)))
    }

    /// Sentences about `UES_…` variables that mean nothing.
    pub fn unknown_env(&self) -> &[String] {
        &self.unknown_env
    }

    /// The typed configuration.
    ///
    /// # Errors
    /// [`ConfigError::Typed`] when the table and the type disagree.
    pub fn config(&self) -> Result<Config, ConfigError> {
        let mut root = Map::new();
        for (key, (value, _)) in &self.values {
            insert(&mut root, key, value.clone());
        }
        Ok(serde_json::from_value(Value::Object(root))?)
    }
}

/// Puts a value where its dotted name says.
fn insert(into: &mut Map<String, Value>, key: &str, value: Value) {
    let Some((section, rest)) = key.split_once('.') else {
        into.insert(key.to_owned(), value);
        return;
    };
    let section = into
        .entry(section)
        .or_insert_with(|| Value::Object(Map::new()));
    if let Value::Object(section) = section {
        insert(section, rest, value);
    }
}

/// A refused value as a message may show it.
fn shown(setting: &Setting, value: String) -> String {
    if setting.kind == Kind::Secret {
        "something".to_owned()
    } else {
        value
    }
}

/// Lists the leaves of nested objects with dotted names.
fn flatten(prefix: String, value: Value, out: &mut Vec<(String, Value)>) {
    match value {
        Value::Object(map) if prefix.is_empty() || Setting::find(&prefix).is_none() => {
            for (key, value) in map {
                let key = if prefix.is_empty() {
                    key
                } else {
                    format!("{prefix}.{key}")
                };
                flatten(key, value, out);
            }
        }
        leaf => out.push((prefix, leaf)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn env(pairs: &[(&str, &str)]) -> impl Iterator<Item = (String, String)> {
        pairs
            .iter()
            .map(|(k, v)| ((*k).to_owned(), (*v).to_owned()))
            .collect::<Vec<_>>()
            .into_iter()
    }

    fn with_file(name: &str, text: &str) -> Result<Layers, ConfigError> {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join(name);
        std::fs::write(&path, text).unwrap();
        let mut layers = Layers::defaults().unwrap();
        layers.add_file(&path).map(|()| layers)
    }

    #[test]
    fn defaults_fit_the_type() {
        let config = Layers::defaults().unwrap().config().unwrap();
        assert_eq!(config.listen.port(), 2583);
        assert_eq!(config.handle_domains, [".test"]);
        assert!(config.rate_limits.enabled);
    }

    #[test]
    fn later_layers_win_and_are_named() {
        let mut layers = with_file(
            "ues.toml",
            "listen = \"127.0.0.1:1\"\n[rate_limits]\nenabled = true\n",
        )
        .unwrap();
        layers
            .add_env(env(&[("UES_RATE_LIMITS_ENABLED", "false")]))
            .unwrap();
        layers
            .add_flag("listen", "--listen", "127.0.0.1:2")
            .unwrap();
        let config = layers.config().unwrap();
        assert_eq!(config.listen.port(), 2);
        assert!(!config.rate_limits.enabled);
        assert_eq!(
            layers.origin("listen"),
            Some(&Origin::Flag("--listen".into()))
        );
        assert_eq!(
            layers.origin("rate_limits.enabled"),
            Some(&Origin::Env("UES_RATE_LIMITS_ENABLED".into()))
        );
    }

    #[test]
    fn json_is_read_too() {
        let layers = with_file(
            "ues.json",
            r#"{"handle_domains": [".a.example"], "storage": {"cache_bytes": "1MB"}}"#,
        )
        .unwrap();
        let config = layers.config().unwrap();
        assert_eq!(config.handle_domains, [".a.example"]);
        assert_eq!(config.storage.cache_bytes, 1 << 20);
    }

    #[test]
    fn an_unknown_key_is_refused_with_a_neighbour() {
        match with_file("ues.toml", "[rate_limits]\nenabeld = false\n") {
            Err(ConfigError::UnknownKey { key, nearest, .. }) => {
                assert_eq!(key, "rate_limits.enabeld");
                assert_eq!(nearest, Some("rate_limits.enabled"));
            }
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn a_wrong_value_names_key_file_and_expectation() {
        let error = with_file("ues.toml", "listen = 12\n")
            .unwrap_err()
            .to_string();
        assert!(error.starts_with("listen is set to 12 by file "), "{error}");
        assert!(
            error.ends_with("expected an IP address and a port, such as 127.0.0.1:2583"),
            "{error}"
        );
    }

    #[test]
    fn ues_log_goes_before_rust_log_and_after_the_setting() {
        let mut layers = Layers::defaults().unwrap();
        layers
            .add_env(env(&[("UES_LOG", "debug"), ("RUST_LOG", "trace")]))
            .unwrap();
        assert_eq!(layers.config().unwrap().log.level, "debug");
        layers
            .add_env(env(&[("UES_LOG_LEVEL", "error"), ("UES_LOG", "debug")]))
            .unwrap();
        assert_eq!(layers.config().unwrap().log.level, "error");
    }

    #[test]
    fn a_misspelt_variable_is_remembered() {
        let mut layers = Layers::defaults().unwrap();
        layers
            .add_env(env(&[("UES_RATE_LIMIT_ENABLED", "0"), ("UES_CONFIG", "x")]))
            .unwrap();
        assert_eq!(
            layers.unknown_env(),
            ["UES_RATE_LIMIT_ENABLED means nothing here; did you mean UES_RATE_LIMITS_ENABLED?"]
        );
    }
}
