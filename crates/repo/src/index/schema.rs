//! The tables of the record index.

/// Rises with every change of the tables or of what is put in them; an older index is rebuilt.
pub(super) const VERSION: u32 = 1;

/// Made in an empty database.
pub(super) const TABLES: &str = "
CREATE TABLE account(
  id INTEGER PRIMARY KEY,
  did TEXT NOT NULL UNIQUE,
  active INTEGER NOT NULL DEFAULT 1
) STRICT;
CREATE TABLE collection(
  id INTEGER PRIMARY KEY,
  nsid TEXT NOT NULL UNIQUE
) STRICT;
CREATE TABLE record(
  id INTEGER PRIMARY KEY,
  account INTEGER NOT NULL,
  collection INTEGER NOT NULL,
  rkey TEXT NOT NULL,
  cid BLOB NOT NULL,
  created INTEGER NOT NULL,
  changed INTEGER NOT NULL,
  UNIQUE(account, collection, rkey)
) STRICT;
CREATE INDEX record_created ON record(collection, created, id);
CREATE INDEX record_changed ON record(collection, changed, id);
CREATE INDEX record_author_created ON record(account, collection, created, id);
CREATE INDEX record_author_changed ON record(account, collection, changed, id);
CREATE TABLE declared(
  record INTEGER NOT NULL,
  name TEXT NOT NULL,
  number INTEGER,
  text TEXT
) STRICT;
CREATE INDEX declared_record ON declared(record);
CREATE INDEX declared_number ON declared(name, number, record) WHERE number IS NOT NULL;
CREATE INDEX declared_text ON declared(name, text, record) WHERE text IS NOT NULL;
CREATE VIRTUAL TABLE words USING fts5(
  text, content='', contentless_delete=1, tokenize='unicode61 remove_diacritics 2'
);
";
