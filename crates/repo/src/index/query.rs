//! Asking the record index.

use ues_storage::sqlite::rusqlite;

use rusqlite::types::Value as Sql;
use rusqlite::{Connection, params_from_iter};

use ues_data::Cid;

use crate::syntax::Did;

/// Most records that one page gives.
pub const MAX_LIMIT: usize = 100;
/// Most declared conditions in one query.
const MAX_CONDITIONS: usize = 8;
/// Most words in one text search.
const MAX_WORDS: usize = 16;

/// What a query asks of a declared index's values: one value that fits is enough.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Filter {
    /// The text is exactly this.
    Is(String),
    /// The text begins so.
    StartsWith(String),
    /// The number, or time in milliseconds, is in a range; both ends belong to it.
    Between(Option<i64>, Option<i64>),
}

/// A condition on a declared index.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Condition {
    /// Name of the index, as the lexicon declares it.
    pub index: String,
    /// What is asked.
    pub filter: Filter,
}

/// Order of the answer. Records that are equal in it come in the order in which they were indexed.
#[derive(Clone, Debug, PartialEq, Eq, Default)]
pub enum SortBy {
    /// `createdAt`, or when the record was first seen.
    #[default]
    Created,
    /// When the record was last written.
    Changed,
    /// A declared number or time; a record without one is left out, one with several comes once
    /// for each.
    Number(String),
    /// A declared text, likewise.
    Text(String),
}

/// A query over the records of one collection.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Query {
    /// The collection's NSID.
    pub collection: String,
    /// Only this account's records.
    pub author: Option<Did>,
    /// Only records whose text has all these words; a word that ends in `*` stands for all that
    /// begin so.
    pub text: Option<String>,
    /// `createdAt` in milliseconds, both ends included.
    pub created: (Option<i64>, Option<i64>),
    /// Time of the last write in milliseconds, both ends included.
    pub changed: (Option<i64>, Option<i64>),
    /// Conditions on declared indexes, all of which must hold.
    pub conditions: Vec<Condition>,
    /// Order.
    pub sort: SortBy,
    /// Falling instead of rising.
    pub descending: bool,
    /// Where the page before ended.
    pub cursor: Option<String>,
    /// Records in the answer, 1 to 100.
    pub limit: usize,
}

/// A record that was found.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Found {
    /// Account.
    pub did: Did,
    /// Record key.
    pub rkey: String,
    /// Its content's CID when it was indexed.
    pub cid: Cid,
    /// Milliseconds since 1970.
    pub created: i64,
    /// Milliseconds since 1970.
    pub changed: i64,
}

/// One page of an answer.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Page {
    /// Records in order.
    pub records: Vec<Found>,
    /// The next page's cursor, if there may be one.
    pub cursor: Option<String>,
}

/// Why a query has no answer.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum QueryError {
    /// The query itself is wrong.
    #[error("{0}")]
    Invalid(String),
    /// The index cannot be read.
    #[error("the record index cannot be read: {0}")]
    Index(String),
}

impl From<rusqlite::Error> for QueryError {
    fn from(e: rusqlite::Error) -> Self {
        Self::Index(e.to_string())
    }
}

/// A statement being put together: text, and the values for its question marks in their order.
#[derive(Default)]
struct Statement {
    conditions: String,
    values: Vec<Sql>,
}

impl Statement {
    fn and(&mut self, condition: &str, values: impl IntoIterator<Item = Sql>) {
        self.conditions.push_str(" AND ");
        self.conditions.push_str(condition);
        self.values.extend(values);
    }

    fn between(&mut self, column: &str, (from, to): (Option<i64>, Option<i64>)) {
        if let Some(from) = from {
            self.and(&format!("{column} >= ?"), [from.into()]);
        }
        if let Some(to) = to {
            self.and(&format!("{column} <= ?"), [to.into()]);
        }
    }
}

/// Answers a query from the tables.
pub(super) fn run(db: &Connection, query: &Query) -> Result<Page, QueryError> {
    let invalid = |what: String| QueryError::Invalid(what);
    if query.limit == 0 || query.limit > MAX_LIMIT {
        return Err(invalid(format!(
            "limit must be 1 to {MAX_LIMIT}, found {}",
            query.limit
        )));
    }
    if query.conditions.len() > MAX_CONDITIONS {
        return Err(invalid(format!("at most {MAX_CONDITIONS} conditions")));
    }
    let mut join = String::new();
    let mut s = Statement::default();
    let column = match &query.sort {
        SortBy::Created => "r.created",
        SortBy::Changed => "r.changed",
        SortBy::Number(name) | SortBy::Text(name) => {
            join.push_str(" JOIN declared s ON s.record = r.id AND s.name = ?");
            s.values.push(Sql::Text(name.clone()));
            if matches!(query.sort, SortBy::Number(_)) {
                "s.number"
            } else {
                "s.text"
            }
        }
    };
    s.and(
        "c.nsid = ? AND a.active = 1",
        [Sql::Text(query.collection.clone())],
    );
    if column.starts_with("s.") {
        s.and(&format!("{column} IS NOT NULL"), []);
    }
    if let Some(author) = &query.author {
        s.and("a.did = ?", [Sql::Text(author.as_str().to_owned())]);
    }
    s.between("r.created", query.created);
    s.between("r.changed", query.changed);
    if let Some(text) = &query.text {
        let words =
            fts(text).ok_or_else(|| invalid("the text to search for has no words".into()))?;
        s.and(
            "r.id IN (SELECT rowid FROM words WHERE words MATCH ?)",
            [Sql::Text(words)],
        );
    }
    for condition in &query.conditions {
        let mut inner = Statement::default();
        match &condition.filter {
            Filter::Is(text) => inner.and("text = ?", [Sql::Text(text.clone())]),
            Filter::StartsWith(text) => inner.and(
                "text >= ? AND text < ?",
                [
                    Sql::Text(text.clone()),
                    Sql::Text(format!("{text}\u{10FFFF}")),
                ],
            ),
            Filter::Between(from, to) => {
                inner.and("number IS NOT NULL", []);
                inner.between("number", (*from, *to));
            }
        }
        let sql = format!(
            "r.id IN (SELECT record FROM declared WHERE name = ?{})",
            inner.conditions
        );
        let name = Sql::Text(condition.index.clone());
        s.and(&sql, std::iter::once(name).chain(inner.values));
    }
    let (than, direction) = if query.descending {
        ("<", "DESC")
    } else {
        (">", "ASC")
    };
    if let Some(cursor) = &query.cursor {
        let (id, value) = read_cursor(cursor, &query.sort)
            .ok_or_else(|| invalid("the cursor is not one that this query gave".into()))?;
        s.and(
            &format!("({column}, r.id) {than} (?, ?)"),
            [value, id.into()],
        );
    }
    let sql = format!(
        "SELECT a.did, r.rkey, r.cid, r.created, r.changed, r.id, {column} \
         FROM record r JOIN collection c ON c.id = r.collection JOIN account a ON a.id = r.account{join} \
         WHERE 1{} ORDER BY {column} {direction}, r.id {direction} LIMIT ?",
        s.conditions
    );
    s.values.push(Sql::Integer(query.limit as i64));
    let mut statement = db.prepare_cached(&sql)?;
    let mut rows = statement.query(params_from_iter(s.values))?;
    let mut page = Page::default();
    while let Some(row) = rows.next()? {
        let did: String = row.get(0)?;
        let cid: Vec<u8> = row.get(2)?;
        let damaged = |what: &str| QueryError::Index(format!("damaged row: {what}"));
        page.records.push(Found {
            did: Did::parse(&did).map_err(|e| damaged(&e.to_string()))?,
            rkey: row.get(1)?,
            cid: Cid::try_from(cid.as_slice()).map_err(|e| damaged(&e.to_string()))?,
            created: row.get(3)?,
            changed: row.get(4)?,
        });
        if page.records.len() == query.limit {
            let id: i64 = row.get(5)?;
            page.cursor = Some(match row.get(6)? {
                Sql::Text(text) => format!("{id}:{text}"),
                Sql::Integer(number) => format!("{id}:{number}"),
                _ => return Err(damaged("sort value")),
            });
        }
    }
    Ok(page)
}

fn read_cursor(cursor: &str, sort: &SortBy) -> Option<(i64, Sql)> {
    let (id, value) = cursor.split_once(':')?;
    let value = match sort {
        SortBy::Text(_) => Sql::Text(value.to_owned()),
        _ => Sql::Integer(value.parse().ok()?),
    };
    Some((id.parse().ok()?, value))
}

/// Words as an FTS5 expression in which nothing a user types is an operator.
fn fts(text: &str) -> Option<String> {
    let words: Vec<String> = text
        .split_whitespace()
        .take(MAX_WORDS)
        .filter_map(|word| {
            let (word, star) = word.strip_suffix('*').map_or((word, ""), |w| (w, "*"));
            let has_letters = word.chars().any(char::is_alphanumeric);
            has_letters
                .then(|| format!("\"{}\"{star}", word.replace('"', "\"\"").replace('\0', "")))
        })
        .collect();
    (!words.is_empty()).then(|| words.join(" "))
}
