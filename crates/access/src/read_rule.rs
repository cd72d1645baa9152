//! Who may read a repository: a rule for each, decided here and nowhere else.
//!
//! Repositories of the AT Protocol are public, and so is what has no rule. A rule narrows that: to the devices that hold
//! the repository together, or to them and some peers. It is about who *reads over the network*; writing is a matter of
//! grants ([docs/sync.md]).

use std::collections::BTreeSet;

use serde::{Deserialize, Serialize};
use ues_storage::{Keyspace, StorageError, Store};

use crate::AccessError;

/// Most readers that one rule names.
pub const MAX_READERS: usize = 1024;
/// The longest name of a reader, in bytes.
pub const MAX_READER_BYTES: usize = 128;

/// Who may read a repository.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", tag = "rule", content = "readers")]
pub enum ReadRule {
    /// Everybody.
    #[default]
    Public,
    /// The devices that may write to it.
    Devices,
    /// Those, and peers with these names.
    Peers(BTreeSet<String>),
}

/// Who wants to read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Reader<'a> {
    /// Somebody who has not shown who they are.
    Stranger,
    /// An authenticated peer, and whether it is a device that may write to the repository.
    Peer {
        /// Its name.
        name: &'a str,
        /// Whether it may write.
        is_device: bool,
    },
}

impl ReadRule {
    /// Whether the rule lets somebody read.
    #[must_use]
    pub fn lets(&self, reader: Reader<'_>) -> bool {
        match (self, reader) {
            (Self::Public, _)
            | (
                _,
                Reader::Peer {
                    is_device: true, ..
                },
            ) => true,
            (Self::Peers(names), Reader::Peer { name, .. }) => names.contains(name),
            (Self::Devices | Self::Peers(_), _) => false,
        }
    }

    fn check(&self) -> Result<(), AccessError> {
        let Self::Peers(names) = self else {
            return Ok(());
        };
        if names.len() > MAX_READERS || names.iter().any(|n| n.len() > MAX_READER_BYTES) {
            return Err(AccessError::Readers);
        }
        Ok(())
    }
}

/// The rules of a store, by the DID of the repository. Cheap to clone.
#[derive(Clone)]
pub struct ReadRules {
    store: Store,
    rows: Keyspace,
}

impl ReadRules {
    /// Opens them.
    ///
    /// # Errors
    /// When the store cannot be read.
    pub fn open(store: &Store) -> Result<Self, StorageError> {
        Ok(Self {
            rows: store.keyspace("access_read")?,
            store: store.clone(),
        })
    }

    /// The rule of a repository: public, unless one was set.
    ///
    /// # Errors
    /// When the store cannot be read, or what it holds is no rule.
    pub fn get(&self, repo: &str) -> Result<ReadRule, AccessError> {
        match self.rows.get(repo)? {
            None => Ok(ReadRule::Public),
            Some(row) => serde_json::from_slice(&row).map_err(|_| damaged()),
        }
    }

    /// Sets the rule of a repository. Durable, and in force, when it returns.
    ///
    /// # Errors
    /// When it names too many readers, or the store does not take it.
    pub async fn set(&self, repo: &str, rule: &ReadRule) -> Result<(), AccessError> {
        rule.check()?;
        let mut batch = self.store.batch();
        match rule {
            ReadRule::Public => batch.delete(&self.rows, repo),
            rule => {
                let row = serde_json::to_vec(rule).map_err(|_| damaged())?;
                batch.put(&self.rows, repo, row);
            }
        }
        self.store.commit(batch).await?;
        Ok(())
    }

    /// All rules that were set, by repository.
    ///
    /// # Errors
    /// As [`get`](Self::get).
    pub fn list(&self) -> Result<Vec<(String, ReadRule)>, AccessError> {
        let mut out = Vec::new();
        for row in self.rows.prefix([]) {
            let (repo, rule) = row?;
            let repo = String::from_utf8(repo.to_vec()).map_err(|_| damaged())?;
            let rule = serde_json::from_slice(&rule).map_err(|_| damaged())?;
            out.push((repo, rule));
        }
        Ok(out)
    }

    /// Whether somebody may read a repository. What cannot be told may not be read.
    #[must_use]
    pub fn may_read(&self, repo: &str, reader: Reader<'_>) -> bool {
        match self.get(repo) {
            Ok(rule) => rule.lets(reader),
            Err(error) => {
                tracing::error!(repo, %error, "who may read a repository cannot be told");
                false
            }
        }
    }
}

fn damaged() -> AccessError {
    AccessError::Damaged("a rule for reading expected".to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn who_may_read() {
        let peer = |name, is_device| Reader::Peer { name, is_device };
        let rule = ReadRule::Peers(["friend".to_owned()].into());
        let cases = [
            (Reader::Stranger, [true, false, false]),
            (peer("other", false), [true, false, false]),
            (peer("friend", false), [true, false, true]),
            (peer("other", true), [true, true, true]),
        ];
        for (reader, expected) in cases {
            let rules = [&ReadRule::Public, &ReadRule::Devices, &rule];
            assert_eq!(rules.map(|rule| rule.lets(reader)), expected, "{reader:?}");
        }
    }
}
