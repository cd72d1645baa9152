//! Owners and their keys, beside the pins: so that processes that share a database let in the same callers.

use async_trait::async_trait;
use ues_access::{AccessError, AccessRows};

use super::retry::What;
use super::session::together;
use super::{CqlStore, StateError};

/// Partitions of names that have nothing else to tell them apart.
const PARTS: u8 = 16;

impl From<StateError> for AccessError {
    fn from(error: StateError) -> Self {
        match error {
            StateError::Damaged(why) => Self::Damaged(why),
            other => Self::Unavailable(other.to_string()),
        }
    }
}

/// The partition of a name, and its place in there. `i/OWNER/KEY` lies with the others of its owner; `k/KEY` and
/// `o/OWNER` are spread.
fn place(name: &str) -> (String, &str) {
    let (beginning, rest) = name.rsplit_once('/').unwrap_or(("", name));
    if beginning.contains('/') {
        return (beginning.to_owned(), rest);
    }
    let part = blake3::hash(rest.as_bytes()).as_bytes()[0] % PARTS;
    (format!("{beginning}/{part}"), rest)
}

/// All partitions of names that begin so.
fn parts(beginning: &str) -> Vec<String> {
    let beginning = beginning.trim_end_matches('/');
    if beginning.contains('/') {
        return vec![beginning.to_owned()];
    }
    (0..PARTS)
        .map(|part| format!("{beginning}/{part}"))
        .collect()
}

impl CqlStore {
    async fn access_row(&self, name: &str) -> Result<(Option<Vec<u8>>, Option<i64>), StateError> {
        let (part, rest) = place(name);
        let statement = &self.db.statements.access;
        let row = self.db.row(What::new("access"), statement, (part, rest));
        Ok(row.await?.unwrap_or_default())
    }

    /// Writes over what is there, even when that is from a clock that is ahead.
    async fn put_access(&self, name: &str, row: Vec<u8>) -> Result<(), StateError> {
        let (_, version) = self.access_row(name).await?;
        let (part, rest) = place(name);
        let values = (part, rest, row, self.stamps.after(version));
        let statement = &self.db.statements.put_access;
        self.db
            .execute(What::new("put_access"), statement, values)
            .await?;
        Ok(())
    }

    async fn access_part(&self, part: String) -> Result<Vec<(String, Vec<u8>)>, StateError> {
        let statement = &self.db.statements.access_of;
        let mut rows = Vec::new();
        let take = |row: (String, Option<Vec<u8>>)| {
            rows.push((row.0, row.1.unwrap_or_default()));
            Ok(())
        };
        self.db
            .each(What::new("access_of"), statement, (part,), take)
            .await?;
        Ok(rows)
    }
}

#[async_trait]
impl AccessRows for CqlStore {
    async fn get(&self, name: &str) -> Result<Option<Vec<u8>>, AccessError> {
        Ok(self.access_row(name).await?.0)
    }

    async fn put(&self, rows: Vec<(String, Vec<u8>)>) -> Result<(), AccessError> {
        for (name, row) in rows {
            self.put_access(&name, row).await?;
        }
        Ok(())
    }

    async fn list(&self, beginning: &str) -> Result<Vec<(String, Vec<u8>)>, AccessError> {
        let parts = parts(beginning).into_iter();
        let parts = together(parts.map(|part| self.access_part(part)).collect()).await?;
        let named = |(rest, row)| (format!("{beginning}{rest}"), row);
        let mut rows: Vec<_> = parts.into_iter().flatten().map(named).collect();
        rows.sort_unstable();
        Ok(rows)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_lies_where_its_beginning_is_listed() {
        for (beginning, name) in [
            ("k/", "k/abc"),
            ("o/", "o/did:plc:x"),
            ("i/did:web:a.b/", "i/did:web:a.b/abc"),
        ] {
            let (part, rest) = place(name);
            assert!(parts(beginning).contains(&part), "{part}");
            assert_eq!(format!("{beginning}{rest}"), name);
        }
        assert_eq!(parts("i/ann/").len(), 1);
        assert!(!parts("i/ann/").contains(&place("i/anna/k").0));
    }
}
