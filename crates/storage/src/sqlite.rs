//! The base of projections that live in SQLite: one file, one writer, a pool of readers.
//!
//! A cursor stands in the same file as the state and moves in the same transaction. The file can always be dropped
//! and rebuilt from the event log; that is also how a new schema comes in: a file of another schema version is
//! emptied and starts again at cursor 0. The write-ahead log makes commits cheap: after a crash of the machine some
//! of the last transactions may be missing, cursor included, and the projection simply replays them.

use std::fmt;
use std::path::{Path, PathBuf};

use parking_lot::Mutex;
use rusqlite::{Connection, OpenFlags, OptionalExtension, TransactionBehavior};

pub use rusqlite;

/// Readers that are kept open between uses.
const IDLE_READERS: usize = 8;
/// Compiled statements that each connection keeps.
const STATEMENTS: usize = 128;
/// Page cache of a connection in KiB.
const PAGE_CACHE_KIB: i64 = 2048;
/// Pages of the write-ahead log after which it is taken over into the file. What changes often is written once for all.
const CHECKPOINT_PAGES: i64 = 4000;

/// Why an index could not be opened, read or written.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum SqliteError {
    /// SQLite refused.
    #[error("index {}: {source}", path.display())]
    Sqlite {
        /// The file.
        path: PathBuf,
        /// What SQLite said.
        source: rusqlite::Error,
    },
    /// An old file could not be removed.
    #[error("index {}: {source}", path.display())]
    Io {
        /// The file.
        path: PathBuf,
        /// What the operating system said.
        source: std::io::Error,
    },
}

/// An SQLite file with a schema version and a cursor. Writers take turns, readers run side by side.
pub struct SqliteIndex {
    path: PathBuf,
    version: u32,
    schema: String,
    writer: Mutex<Connection>,
    readers: Mutex<Vec<Connection>>,
}

impl SqliteIndex {
    /// Opens the file, creating it with `schema` (SQL statements) at first use. A file of another `version`, or one
    /// that SQLite cannot read, is replaced by an empty one.
    ///
    /// # Errors
    ///
    /// When the file cannot be made, or the schema is not valid SQL.
    pub fn open(path: &Path, version: u32, schema: &str) -> Result<Self, SqliteError> {
        let writer = match open_current(path, version) {
            Ok(Some(connection)) => connection,
            Ok(None) => create(path, version, schema)?,
            Err(error) => {
                tracing::warn!(path = %path.display(), %error, "the index is not readable and is rebuilt");
                create(path, version, schema)?
            }
        };
        Ok(Self {
            path: path.to_path_buf(),
            version,
            schema: schema.to_owned(),
            writer: Mutex::new(writer),
            readers: Mutex::default(),
        })
    }

    /// The last event that the committed state contains; 0 for an empty one.
    ///
    /// # Errors
    ///
    /// When SQLite cannot read it.
    pub fn cursor(&self) -> Result<u64, SqliteError> {
        read_cursor(&self.writer.lock()).map_err(|e| self.error(e))
    }

    /// Changes the state and moves the cursor in one transaction. Use [`Connection::prepare_cached`] inside. An
    /// error of `work` takes everything back.
    ///
    /// # Errors
    ///
    /// When `work` fails or SQLite cannot commit.
    pub fn write_tx<T>(
        &self,
        cursor: u64,
        work: impl FnOnce(&rusqlite::Transaction<'_>) -> rusqlite::Result<T>,
    ) -> Result<T, SqliteError> {
        let mut writer = self.writer.lock();
        let run = || {
            let tx = writer.transaction_with_behavior(TransactionBehavior::Immediate)?;
            let out = work(&tx)?;
            tx.prepare_cached("UPDATE ues_index SET cursor = ?1")?
                .execute([cursor.cast_signed()])?;
            tx.commit()?;
            Ok(out)
        };
        run().map_err(|e| self.error(e))
    }

    /// Reads with a connection of the pool. All reads inside a transaction see one state; single statements each see
    /// the latest.
    ///
    /// # Errors
    ///
    /// When `work` fails or no connection can be opened.
    pub fn with_reader<T>(
        &self,
        work: impl FnOnce(&Connection) -> rusqlite::Result<T>,
    ) -> Result<T, SqliteError> {
        let idle = self.readers.lock().pop();
        let reader = match idle {
            Some(reader) => reader,
            None => open_reader(&self.path).map_err(|e| self.error(e))?,
        };
        let out = work(&reader);
        let mut readers = self.readers.lock();
        // A transaction left open by a failed read must not reach the next reader.
        if readers.len() < IDLE_READERS && reader.is_autocommit() {
            readers.push(reader);
        }
        drop(readers);
        out.map_err(|e| self.error(e))
    }

    /// Empties the state by making the file anew; the cursor is 0 again.
    ///
    /// # Errors
    ///
    /// When the file cannot be made.
    pub fn reset(&self) -> Result<(), SqliteError> {
        let mut writer = self.writer.lock();
        // Readers that are at work keep their old connection to the old file and drop it later.
        self.readers.lock().clear();
        *writer = Connection::open_in_memory().map_err(|e| self.error(e))?;
        *writer = create(&self.path, self.version, &self.schema)?;
        self.readers.lock().clear();
        Ok(())
    }

    /// The file.
    pub fn path(&self) -> &Path {
        &self.path
    }

    fn error(&self, source: rusqlite::Error) -> SqliteError {
        SqliteError::Sqlite {
            path: self.path.clone(),
            source,
        }
    }
}

impl fmt::Debug for SqliteIndex {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SqliteIndex")
            .field("path", &self.path)
            .field("version", &self.version)
            .finish_non_exhaustive()
    }
}

fn tune(connection: &Connection) -> rusqlite::Result<()> {
    connection.set_prepared_statement_cache_capacity(STATEMENTS);
    connection.busy_timeout(std::time::Duration::from_secs(10))?;
    connection.pragma_update(None, "cache_size", -PAGE_CACHE_KIB)?;
    connection.pragma_update(None, "foreign_keys", true)
}

/// The writer of an existing file of this version; `None` when there is no such file.
fn open_current(path: &Path, version: u32) -> rusqlite::Result<Option<Connection>> {
    if !path.exists() {
        return Ok(None);
    }
    let connection = Connection::open(path)?;
    let found: Option<u32> = connection
        .query_row("SELECT version FROM ues_index", [], |row| row.get(0))
        .optional()?;
    if found != Some(version) {
        return Ok(None);
    }
    set_up_writer(&connection)?;
    Ok(Some(connection))
}

fn set_up_writer(connection: &Connection) -> rusqlite::Result<()> {
    connection.pragma_update_and_check(None, "journal_mode", "WAL", |_| Ok(()))?;
    connection.pragma_update(None, "synchronous", "NORMAL")?;
    connection.pragma_update(None, "wal_autocheckpoint", CHECKPOINT_PAGES)?;
    tune(connection)
}

fn create(path: &Path, version: u32, schema: &str) -> Result<Connection, SqliteError> {
    for suffix in ["", "-wal", "-shm"] {
        let mut file = path.as_os_str().to_owned();
        file.push(suffix);
        match std::fs::remove_file(&file) {
            Err(e) if e.kind() != std::io::ErrorKind::NotFound => {
                return Err(SqliteError::Io {
                    path: file.into(),
                    source: e,
                });
            }
            _ => {}
        }
    }
    let make = || {
        let mut connection = Connection::open(path)?;
        set_up_writer(&connection)?;
        let tx = connection.transaction()?;
        tx.execute_batch(
            "CREATE TABLE ues_index (version INTEGER NOT NULL, cursor INTEGER NOT NULL) STRICT",
        )?;
        tx.execute("INSERT INTO ues_index VALUES (?1, 0)", [version])?;
        tx.execute_batch(schema)?;
        tx.commit()?;
        Ok(connection)
    };
    make().map_err(|source| SqliteError::Sqlite {
        path: path.to_path_buf(),
        source,
    })
}

fn open_reader(path: &Path) -> rusqlite::Result<Connection> {
    let flags = OpenFlags::SQLITE_OPEN_READ_ONLY | OpenFlags::SQLITE_OPEN_NO_MUTEX;
    let connection = Connection::open_with_flags(path, flags)?;
    tune(&connection)?;
    Ok(connection)
}

fn read_cursor(connection: &Connection) -> rusqlite::Result<u64> {
    let cursor: i64 = connection
        .prepare_cached("SELECT cursor FROM ues_index")?
        .query_row([], |row| row.get(0))?;
    Ok(cursor.cast_unsigned())
}

#[cfg(test)]
mod tests {
    use super::*;

    const SCHEMA: &str = "CREATE TABLE t (id INTEGER PRIMARY KEY, doc TEXT) STRICT;
        CREATE INDEX t_name ON t (doc ->> 'name') WHERE doc ->> 'name' IS NOT NULL;
        CREATE VIRTUAL TABLE words USING fts5(text);";

    fn insert(tx: &rusqlite::Transaction<'_>, id: i64, doc: &str) -> rusqlite::Result<()> {
        tx.prepare_cached("INSERT INTO t VALUES (?1, ?2)")?
            .execute((id, doc))?;
        tx.prepare_cached("INSERT INTO words VALUES (?1)")?
            .execute([doc])?;
        Ok(())
    }

    #[test]
    fn state_and_cursor_move_together_and_survive() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("i.sqlite");
        let index = SqliteIndex::open(&path, 1, SCHEMA).unwrap();
        index
            .write_tx(7, |tx| insert(tx, 1, r#"{"name":"ada lovelace"}"#))
            .unwrap();
        let failed = index.write_tx(8, |tx| {
            insert(tx, 2, "{}")?;
            insert(tx, 1, "{}")
        });
        assert!(failed.is_err());
        drop(index);
        let index = SqliteIndex::open(&path, 1, SCHEMA).unwrap();
        assert_eq!(index.cursor().unwrap(), 7);
        let count = |sql: &str| {
            index
                .with_reader(|c| c.query_row(sql, [], |r| r.get::<_, i64>(0)))
                .unwrap()
        };
        assert_eq!(
            count("SELECT count(*) FROM t WHERE doc ->> 'name' = 'ada lovelace'"),
            1
        );
        assert_eq!(
            count("SELECT count(*) FROM words WHERE words MATCH 'lovelace'"),
            1
        );
        assert!(rusqlite::version_number() >= 3_042_000);
        index.reset().unwrap();
        assert_eq!(index.cursor().unwrap(), 0);
        assert_eq!(
            index
                .with_reader(|c| c.query_row("SELECT count(*) FROM t", [], |r| r.get::<_, i64>(0)))
                .unwrap(),
            0
        );
    }

    #[test]
    fn another_version_or_garbage_starts_anew() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("i.sqlite");
        SqliteIndex::open(&path, 1, SCHEMA)
            .unwrap()
            .write_tx(7, |tx| insert(tx, 1, "{}"))
            .unwrap();
        assert_eq!(
            SqliteIndex::open(&path, 2, SCHEMA)
                .unwrap()
                .cursor()
                .unwrap(),
            0
        );
        std::fs::write(&path, vec![b'x'; 10_000]).unwrap();
        assert_eq!(
            SqliteIndex::open(&path, 2, SCHEMA)
                .unwrap()
                .cursor()
                .unwrap(),
            0
        );
        assert!(SqliteIndex::open(&path, 3, "CREATE nonsense").is_err());
    }
}
