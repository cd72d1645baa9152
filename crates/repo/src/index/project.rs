//! The record index as a projection of the event log.

use std::collections::HashMap;
use std::path::Path;
use std::sync::Arc;

use ues_data::car::{CarLimits, CarReader};
use ues_data::{Cid, Ipld};
use ues_storage::sqlite::{SqliteError, SqliteIndex, rusqlite};
use ues_storage::{Event, Projection, ProjectionError};

use rusqlite::{OptionalExtension, Transaction};

use crate::lexicon::{IndexDef, Lexicons};
use crate::repo::Repositories;
use crate::repo::event::{CommitEvent, LogEvent};
use crate::repo::layout::Status;
use crate::syntax::{Datetime, Did};

use super::extract::{self, Value};
use super::query::{self, Page, Query, QueryError};
use super::schema::{TABLES, VERSION};

/// Accounts, and collections, that one transaction remembers.
const MAX_KNOWN: usize = 1024;

/// Reads the index. Cheap to clone.
#[derive(Clone)]
pub struct RecordQueries {
    index: Arc<SqliteIndex>,
}

impl RecordQueries {
    /// Answers a query. It blocks on the disk.
    pub fn query(&self, query: &Query) -> Result<Page, QueryError> {
        let mut answer = Err(QueryError::Index("it was not read".into()));
        self.index
            .with_reader(|db| {
                answer = query::run(db, query);
                Ok(())
            })
            .map_err(|e| QueryError::Index(e.to_string()))?;
        answer
    }
}

/// Keeps the index up to date. Run it with [`Store::project`](ues_storage::Store::project).
pub struct RecordProjection {
    index: Arc<SqliteIndex>,
    repos: Repositories,
    lexicons: Lexicons,
}

impl RecordProjection {
    /// Opens or makes the index in a file; one of another version is emptied and filled again.
    pub fn open(
        path: &Path,
        repos: Repositories,
        lexicons: Lexicons,
    ) -> Result<(Self, RecordQueries), SqliteError> {
        let index = Arc::new(SqliteIndex::open(path, VERSION, TABLES)?);
        let queries = RecordQueries {
            index: Arc::clone(&index),
        };
        Ok((
            Self {
                index,
                repos,
                lexicons,
            },
            queries,
        ))
    }
}

impl Projection for RecordProjection {
    fn name(&self) -> &str {
        "records"
    }

    fn cursor(&mut self) -> Result<u64, ProjectionError> {
        self.index.cursor().map_err(ProjectionError::state)
    }

    fn apply(&mut self, events: &[Event]) -> Result<(), ProjectionError> {
        let Some(last) = events.last() else {
            return Ok(());
        };
        let cursor = self.cursor()?;
        let trimmed = events
            .first()
            .is_some_and(|e| e.seq > cursor.saturating_add(1));
        let mut decoded = Vec::with_capacity(events.len());
        for event in events {
            let found = LogEvent::decode(&event.payload);
            decoded.push(found.map_err(|e| ProjectionError::Event {
                seq: event.seq,
                what: e.to_string(),
            })?);
        }
        let mut failure = None;
        let written = self.index.write_tx(last.seq, |tx| {
            let mut writer = Writer {
                tx,
                lexicons: &self.lexicons,
                accounts: HashMap::new(),
                collections: HashMap::new(),
            };
            let result = (|| {
                if trimmed {
                    // What the log no longer tells stands in the repositories themselves.
                    writer.seed(&self.repos)?;
                }
                decoded
                    .iter()
                    .try_for_each(|event| writer.event(&self.repos, event))
            })();
            result.map_err(|e| match e {
                Failure::Sql(e) => e,
                Failure::Other(what) => {
                    failure = Some(what);
                    rusqlite::Error::ExecuteReturnedResults
                }
            })
        });
        match (written, failure) {
            (_, Some(what)) => Err(ProjectionError::state(what)),
            (Err(e), None) => Err(ProjectionError::state(e)),
            (Ok(()), None) => Ok(()),
        }
    }

    fn reset(&mut self) -> Result<(), ProjectionError> {
        self.index.reset().map_err(ProjectionError::state)
    }
}

enum Failure {
    Sql(rusqlite::Error),
    Other(String),
}

impl From<rusqlite::Error> for Failure {
    fn from(e: rusqlite::Error) -> Self {
        Self::Sql(e)
    }
}

fn other(e: impl std::fmt::Display) -> Failure {
    Failure::Other(e.to_string())
}

struct Writer<'a> {
    tx: &'a Transaction<'a>,
    lexicons: &'a Lexicons,
    /// What was looked up in this transaction.
    accounts: HashMap<Did, i64>,
    collections: HashMap<String, Collection>,
}

/// A collection's number, and what its lexicon declares as indexed.
#[derive(Clone)]
struct Collection {
    id: i64,
    indexes: Arc<[IndexDef]>,
}

impl Writer<'_> {
    fn event(&mut self, repos: &Repositories, event: &LogEvent) -> Result<(), Failure> {
        match event {
            LogEvent::Commit(commit) => self.commit(commit),
            LogEvent::Sync { did, .. } => self.replace(repos, did),
            LogEvent::Identity { .. } => Ok(()),
            LogEvent::Account { did, status, .. } => {
                let account = self.account(did)?;
                if *status == Status::Deleted {
                    self.clear(account)?;
                }
                self.tx
                    .prepare_cached("UPDATE account SET active = ? WHERE id = ?")?
                    .execute((status.is_active(), account))?;
                Ok(())
            }
        }
    }

    fn commit(&mut self, commit: &CommitEvent) -> Result<(), Failure> {
        if commit.ops.is_empty() {
            return Ok(());
        }
        let account = self.account(&commit.repo)?;
        let changed = Datetime::parse(&commit.time).map_err(other)?.unix_millis();
        let car = CarReader::new(&commit.blocks[..], CarLimits::default()).map_err(other)?;
        let mut wanted: Vec<(&Cid, &str)> = Vec::new();
        for op in &commit.ops {
            match &op.cid {
                Some(cid) => wanted.push((cid, &op.path)),
                None => self.remove(account, &op.path)?,
            }
        }
        for block in car {
            let (cid, bytes) = block.map_err(other)?;
            for (_, path) in wanted.iter().filter(|(c, _)| **c == cid) {
                self.put(account, path, &cid, &bytes, changed)?;
            }
        }
        Ok(())
    }

    /// Reads the account's records anew from its repository. What changes during the walk is put right by its own event,
    /// which comes later.
    fn replace(&mut self, repos: &Repositories, did: &Did) -> Result<(), Failure> {
        let account = self.account(did)?;
        self.clear(account)?;
        let Ok(records) = repos.records(did) else {
            return Ok(());
        };
        for record in records {
            let (path, record) = record.map_err(other)?;
            let changed = (record.rev.micros() / 1000) as i64;
            self.put(account, &path, &record.cid, &record.bytes, changed)?;
        }
        Ok(())
    }

    fn seed(&mut self, repos: &Repositories) -> Result<(), Failure> {
        let known: Vec<i64> = self
            .tx
            .prepare_cached("SELECT id FROM account")?
            .query_map([], |row| row.get(0))?
            .collect::<Result<_, _>>()?;
        known.into_iter().try_for_each(|id| self.clear(id))?;
        let mut after = None;
        loop {
            let page = repos.list(after, 500).map_err(other)?;
            let Some((_, last)) = page.last() else {
                return Ok(());
            };
            after = Some(last.owner);
            for (did, head) in &page {
                self.replace(repos, did)?;
                let account = self.account(did)?;
                self.tx
                    .prepare_cached("UPDATE account SET active = ? WHERE id = ?")?
                    .execute((head.status.is_active(), account))?;
            }
        }
    }

    fn account(&mut self, did: &Did) -> Result<i64, Failure> {
        if let Some(id) = self.accounts.get(did) {
            return Ok(*id);
        }
        let id = self.number("account", "did", did.as_str())?;
        if self.accounts.len() >= MAX_KNOWN {
            self.accounts.clear();
        }
        self.accounts.insert(did.clone(), id);
        Ok(id)
    }

    fn collection(&mut self, nsid: &str) -> Result<Collection, Failure> {
        if let Some(known) = self.collections.get(nsid) {
            return Ok(known.clone());
        }
        let known = Collection {
            id: self.number("collection", "nsid", nsid)?,
            indexes: self.lexicons.indexes(nsid).into(),
        };
        if self.collections.len() >= MAX_KNOWN {
            self.collections.clear();
        }
        self.collections.insert(nsid.to_owned(), known.clone());
        Ok(known)
    }

    /// The number of a DID or NSID, given at first sight.
    fn number(&self, table: &str, column: &str, text: &str) -> Result<i64, Failure> {
        let found = self
            .tx
            .prepare_cached(&format!("SELECT id FROM {table} WHERE {column} = ?"))?
            .query_row([text], |row| row.get(0))
            .optional()?;
        if let Some(id) = found {
            return Ok(id);
        }
        self.tx
            .prepare_cached(&format!("INSERT INTO {table}({column}) VALUES (?)"))?
            .execute([text])?;
        Ok(self.tx.last_insert_rowid())
    }

    fn put(
        &mut self,
        account: i64,
        path: &str,
        cid: &Cid,
        bytes: &[u8],
        changed: i64,
    ) -> Result<(), Failure> {
        let Some((nsid, rkey)) = path.split_once('/') else {
            return Err(other(format!("{path:?} is not a record path")));
        };
        let record = ues_data::dag_cbor::decode(bytes).map_err(other)?;
        let collection = self.collection(nsid)?;
        let created = extract::created_ms(&record);
        let cid = cid.to_bytes();
        let fresh = self
            .tx
            .prepare_cached(
                "INSERT INTO record(account, collection, rkey, cid, created, changed)
                 VALUES (?1, ?2, ?3, ?4, coalesce(?5, ?6), ?6)
                 ON CONFLICT(account, collection, rkey) DO NOTHING",
            )?
            .execute((account, collection.id, rkey, &cid, created, changed))?;
        let id = if fresh > 0 {
            self.tx.last_insert_rowid()
        } else {
            let id = self
                .tx
                .prepare_cached(
                    "UPDATE record SET cid = ?4, created = coalesce(?5, created), changed = ?6
                     WHERE account = ?1 AND collection = ?2 AND rkey = ?3 RETURNING id",
                )?
                .query_row(
                    (account, collection.id, rkey, &cid, created, changed),
                    |row| row.get(0),
                )?;
            self.forget_words(id)?;
            id
        };
        self.words(id, &collection.indexes, &record)
    }

    fn words(&self, id: i64, indexes: &[IndexDef], record: &Ipld) -> Result<(), Failure> {
        let text = extract::text(record);
        if !text.is_empty() {
            self.tx
                .prepare_cached("INSERT INTO words(rowid, text) VALUES (?, ?)")?
                .execute((id, text))?;
        }
        for index in indexes {
            let mut insert = self.tx.prepare_cached(
                "INSERT INTO declared(record, name, number, text) VALUES (?, ?, ?, ?)",
            )?;
            for value in extract::declared(record, index) {
                match value {
                    Value::Number(n) => insert.execute((id, &index.name, n, None::<String>))?,
                    Value::Text(t) => insert.execute((id, &index.name, None::<i64>, t))?,
                };
            }
        }
        Ok(())
    }

    fn forget_words(&self, id: i64) -> Result<(), Failure> {
        self.tx
            .prepare_cached("DELETE FROM words WHERE rowid = ?")?
            .execute([id])?;
        self.tx
            .prepare_cached("DELETE FROM declared WHERE record = ?")?
            .execute([id])?;
        Ok(())
    }

    fn remove(&self, account: i64, path: &str) -> Result<(), Failure> {
        let Some((nsid, rkey)) = path.split_once('/') else {
            return Err(other(format!("{path:?} is not a record path")));
        };
        let id: Option<i64> = self
            .tx
            .prepare_cached(
                "DELETE FROM record WHERE account = ? AND rkey = ?
                 AND collection = (SELECT id FROM collection WHERE nsid = ?) RETURNING id",
            )?
            .query_row((account, rkey, nsid), |row| row.get(0))
            .optional()?;
        id.map_or(Ok(()), |id| self.forget_words(id))
    }

    fn clear(&self, account: i64) -> Result<(), Failure> {
        let mine = "(SELECT id FROM record WHERE account = ?)";
        for sql in [
            format!("DELETE FROM words WHERE rowid IN {mine}"),
            format!("DELETE FROM declared WHERE record IN {mine}"),
            "DELETE FROM record WHERE account = ?".to_owned(),
        ] {
            self.tx.prepare_cached(&sql)?.execute([account])?;
        }
        Ok(())
    }
}
