//! The labels of a node: every one by its number, and the one that holds by subject and value.

use std::collections::BTreeMap;
use std::ops::Bound;

use tokio::sync::{Mutex, watch};
use ues_storage::{Batch, CommitError, Keyspace, StorageError, Store};

use super::label::{Label, Labeler};
use crate::accounts::{Damaged, json_row, to_json};

/// Why labels cannot be read or written.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum LabelError {
    /// The store failed.
    #[error(transparent)]
    Storage(#[from] StorageError),
    /// The store did not take the write.
    #[error(transparent)]
    Commit(#[from] CommitError),
    /// A row is not what was written.
    #[error(transparent)]
    Damaged(#[from] Damaged),
}

/// The labels of a node.
pub struct Labels {
    /// Who makes them.
    pub labeler: Labeler,
    store: Store,
    /// Number (u64, big endian) -> [`Label`] as JSON.
    rows: Keyspace,
    /// Subject, zero byte, labeler, zero byte, value, zero byte, CID -> number of the latest label.
    latest: Keyspace,
    /// Number of the last label; whoever writes has it.
    last: Mutex<u64>,
    /// The same, for those who listen, once it is durable.
    told: watch::Sender<u64>,
}

impl Labels {
    /// Opens the labels of a store.
    ///
    /// # Errors
    /// When the store fails.
    pub fn open(store: &Store, labeler: Labeler) -> Result<Self, StorageError> {
        let rows = store.keyspace("labels")?;
        let last = rows.prefix([]).next_back().transpose()?;
        let last = last.map_or(0, |(key, _)| number(&key));
        Ok(Self {
            labeler,
            store: store.clone(),
            rows,
            latest: store.keyspace("labels_latest")?,
            last: Mutex::new(last),
            told: watch::Sender::new(last),
        })
    }

    /// Writes a label with the rest of a batch; gives its number.
    ///
    /// # Errors
    /// [`LabelError`].
    pub async fn put(&self, mut batch: Batch, label: &Label) -> Result<u64, LabelError> {
        let mut last = self.last.lock().await;
        let seq = *last + 1;
        batch.put(&self.rows, seq.to_be_bytes(), to_json(label));
        batch.put(&self.latest, subject_key(label), seq.to_be_bytes());
        // Whatever becomes of the commit, the number is used up.
        *last = seq;
        self.store.commit(batch).await?;
        self.told.send_replace(seq);
        Ok(seq)
    }

    /// Number of the last label, and word of those to come.
    pub fn watch(&self) -> watch::Receiver<u64> {
        self.told.subscribe()
    }

    /// The labels after a number, oldest first, at most `limit`.
    ///
    /// # Errors
    /// [`LabelError`].
    pub fn after(&self, seq: u64, limit: usize) -> Result<Vec<(u64, Label)>, LabelError> {
        let from = (Bound::Excluded(seq.to_be_bytes()), Bound::Unbounded);
        let mut labels = Vec::new();
        for row in self.rows.range::<[u8; 8]>(from).take(limit) {
            let (key, value) = row?;
            labels.push((number(&key), json_row(&key, &value)?));
        }
        Ok(labels)
    }

    /// The label of the same subject, version and value as `like` that holds at a time.
    ///
    /// # Errors
    /// [`LabelError`].
    pub fn current(&self, like: &Label, now_ms: u64) -> Result<Option<Label>, LabelError> {
        let Some(seq) = self.latest.get(subject_key(like))? else {
            return Ok(None);
        };
        let label = self.get(number(&seq))?;
        Ok(label.filter(|label| label.holds(now_ms)))
    }

    fn get(&self, seq: u64) -> Result<Option<Label>, LabelError> {
        let key = seq.to_be_bytes();
        match self.rows.get(key)? {
            Some(row) => Ok(Some(json_row(&key, &row)?)),
            None => Ok(None),
        }
    }

    /// The labels after a number that hold at a time and whose subject fits one of the patterns: an address, or the
    /// beginning of some with `*` behind it. Oldest first, at most `limit`. Without sources those of all labelers that
    /// this node ever was.
    ///
    /// # Errors
    /// [`LabelError`].
    pub fn query(
        &self,
        patterns: &[&str],
        sources: &[&str],
        after: u64,
        limit: usize,
        now_ms: u64,
    ) -> Result<Vec<(u64, Label)>, LabelError> {
        // What is kept while the rows of the subjects go by is never more than the answer.
        let mut found: BTreeMap<u64, Label> = BTreeMap::new();
        for prefix in prefixes(patterns) {
            for row in self.latest.prefix(&prefix) {
                let seq = number(&row?.1);
                let full = found.len() >= limit;
                let too_late = full && found.last_key_value().is_some_and(|(l, _)| *l <= seq);
                if seq <= after || too_late || found.contains_key(&seq) {
                    continue;
                }
                let Some(label) = self.get(seq)?.filter(|label| label.holds(now_ms)) else {
                    continue;
                };
                if sources.is_empty() || sources.contains(&label.src.as_str()) {
                    found.insert(seq, label);
                    if found.len() > limit {
                        found.pop_last();
                    }
                }
            }
        }
        Ok(found.into_iter().collect())
    }
}

/// How the rows begin that fit one of the patterns; no row is met twice, however often a pattern is said again.
fn prefixes(patterns: &[&str]) -> Vec<Vec<u8>> {
    let mut all: Vec<Vec<u8>> = patterns
        .iter()
        .map(|pattern| match pattern.strip_suffix('*') {
            Some(beginning) => beginning.as_bytes().to_vec(),
            None => [pattern.as_bytes(), &[0]].concat(),
        })
        .collect();
    // What begins with another stands behind it.
    all.sort_unstable();
    all.dedup_by(|next, kept| next.starts_with(kept));
    all
}

fn number(bytes: &[u8]) -> u64 {
    bytes.try_into().map(u64::from_be_bytes).unwrap_or_default()
}

fn subject_key(label: &Label) -> Vec<u8> {
    let cid = label.cid.as_deref().unwrap_or_default();
    let parts = [&label.uri, &label.src, &label.val].map(|part| part.as_bytes());
    let mut key = parts.join(&0);
    key.push(0);
    key.extend_from_slice(cid.as_bytes());
    key
}

#[cfg(test)]
mod tests {
    use super::prefixes;

    #[test]
    fn patterns_that_others_contain_are_not_looked_up_again() {
        let found = |patterns: &[&str]| -> Vec<String> {
            let text = |prefix: Vec<u8>| String::from_utf8(prefix).unwrap();
            prefixes(patterns).into_iter().map(text).collect()
        };
        assert_eq!(found(&["*"; 100]), [""]);
        assert_eq!(
            found(&["did:b*", "did:a", "did:b1*", "did:b"]),
            ["did:a\0", "did:b"]
        );
        assert_eq!(found(&["did:a", "did:ab"]), ["did:a\0", "did:ab\0"]);
        assert_eq!(found(&[]), Vec::<String>::new());
    }
}
