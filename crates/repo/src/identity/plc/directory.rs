//! A did:plc directory in the node's own store.
//!
//! Does what the public directory does, with its answers and its error texts; the HTTP layer only carries
//! them. Three keyspaces: the operations by DID and number, the order of all numbers, and the order of all
//! times, which rise strictly by at least a millisecond so that a reader who pages by time misses nothing.

use std::sync::Arc;

use parking_lot::Mutex;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use ues_storage::{CommitError, Keyspace, StorageError, Store};

use super::{DocumentData, LogEntry, Operation, PlcError, check_constraints, check_next};
use crate::identity::DidDocument;
use crate::syntax::{Datetime, Did};

const HOUR_MS: i64 = 60 * 60 * 1000;
/// Operations of one DID within a span of time: (span in ms, its name, how many).
const RATES: [(i64, &str, usize); 3] = [
    (7 * 24 * HOUR_MS, "week", 100),
    (24 * HOUR_MS, "day", 30),
    (HOUR_MS, "hour", 10),
];
const MAX_EXPORT: usize = 1000;
const LANES: usize = 64;

/// How a directory behaves.
#[derive(Debug, Clone)]
#[non_exhaustive]
pub struct DirectoryOptions {
    /// Whether one DID's operations are limited to 10 an hour, 30 a day and 100 a week.
    pub rate_limits: bool,
}

impl Default for DirectoryOptions {
    fn default() -> Self {
        Self { rate_limits: true }
    }
}

/// Why the directory refuses. [`DirectoryError::status`] is the HTTP status, the text goes into `message`.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum DirectoryError {
    /// No operation of this DID is known.
    #[error("DID not registered: {0}")]
    NotRegistered(String),
    /// The DID has a tombstone.
    #[error("DID not available: {0}")]
    NotAvailable(String),
    /// The operation breaks a rule.
    #[error(transparent)]
    Refused(#[from] PlcError),
    /// One DID has too many operations.
    #[error("To many operations within last {span} (max {max})")]
    RateLimit {
        /// Hour, day or week.
        span: &'static str,
        /// How many there may be.
        max: usize,
    },
    /// A parameter of an export is not understood.
    #[error("Invalid {0} parameter")]
    InvalidParameter(&'static str),
    /// The store cannot be read.
    #[error("Internal Server Error")]
    Storage(#[from] StorageError),
    /// The store did not take the operation.
    #[error("Internal Server Error")]
    Commit(#[from] CommitError),
    /// A row of the store is not what was written there.
    #[error("Internal Server Error")]
    Damaged(String),
}

impl DirectoryError {
    /// The HTTP status of the public directory.
    pub fn status(&self) -> u16 {
        match self {
            Self::NotRegistered(_) | Self::NotAvailable(_) => 404,
            Self::Refused(_) | Self::RateLimit { .. } | Self::InvalidParameter(_) => 400,
            Self::Storage(_) | Self::Commit(_) | Self::Damaged(_) => 500,
        }
    }

    /// The JSON body of the public directory.
    pub fn body(&self) -> Value {
        json!({ "message": self.to_string() })
    }
}

/// A did:plc directory. Cheap to clone.
#[derive(Clone)]
pub struct Directory(Arc<Inner>);

struct Inner {
    store: Store,
    /// DID, zero, number: the operation.
    log: Keyspace,
    /// Number: the DID.
    numbers: Keyspace,
    /// Time in ms: the number.
    times: Keyspace,
    options: DirectoryOptions,
    order: Mutex<Order>,
    /// One writer at a time for each DID; a lane is shared by some.
    lanes: [tokio::sync::Mutex<()>; LANES],
}

/// Number and time of the newest operation of all.
struct Order {
    number: u64,
    ms: i64,
}

/// An operation in the store.
#[derive(Serialize, Deserialize)]
struct Row {
    operation: Operation,
    cid: String,
    nullified: bool,
    ms: i64,
}

/// From where an export goes on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum After {
    Number(u64),
    Ms(i64),
}

impl Directory {
    /// Opens the directory in a store.
    pub fn open(store: &Store, options: DirectoryOptions) -> Result<Self, DirectoryError> {
        let log = store.keyspace("plc_log")?;
        let numbers = store.keyspace("plc_numbers")?;
        let times = store.keyspace("plc_times")?;
        let mut order = Order {
            number: 0,
            ms: i64::MIN,
        };
        if let Some(row) = times.prefix([]).next_back() {
            let (time, number) = row?;
            order.ms = read_u64(&time)?.cast_signed();
            order.number = read_u64(&number)?;
        }
        Ok(Self(Arc::new(Inner {
            store: store.clone(),
            log,
            numbers,
            times,
            options,
            order: Mutex::new(order),
            lanes: std::array::from_fn(|_| tokio::sync::Mutex::default()),
        })))
    }

    /// Takes an operation as JSON (`POST /{did}`). It is durable when this returns.
    pub async fn submit_json(&self, did: &str, json: &Value) -> Result<(), DirectoryError> {
        let operation = Operation::from_json(json)?;
        check_constraints(&operation)?;
        let did = parse_did(did)?;
        self.accept(&did, operation, Datetime::now().unix_millis())
            .await
    }

    /// Takes an operation. It is durable when this returns.
    pub async fn submit(&self, did: &Did, operation: Operation) -> Result<(), DirectoryError> {
        self.submit_at(did, operation, Datetime::now().unix_millis())
            .await
    }

    /// Takes an operation at a given time in milliseconds since 1970.
    pub async fn submit_at(
        &self,
        did: &Did,
        operation: Operation,
        now_ms: i64,
    ) -> Result<(), DirectoryError> {
        check_constraints(&operation)?;
        self.accept(did, operation, now_ms).await
    }

    async fn accept(
        &self,
        did: &Did,
        operation: Operation,
        now_ms: i64,
    ) -> Result<(), DirectoryError> {
        let inner = &*self.0;
        let _lane = inner.lane(did).lock().await;
        let rows = inner.rows(did)?;
        let standing: Vec<&(u64, LogEntry)> =
            rows.iter().filter(|(_, entry)| !entry.nullified).collect();
        let history: Vec<&LogEntry> = standing.iter().map(|(_, entry)| entry).collect();

        let now_ms = now_ms.max(inner.order.lock().ms.saturating_add(1));
        let accepted = check_next(did, &history, &operation, now_ms)?;
        let undone = standing.get(accepted.kept..).unwrap_or_default();
        // a recovery is never held back, or a thief could lock the owner out by many operations
        if undone.is_empty() && inner.options.rate_limits {
            check_rate(&history, now_ms)?;
        }

        let mut batch = inner.store.batch();
        for (number, entry) in undone {
            let row = Row {
                operation: entry.operation.clone(),
                cid: entry.cid.clone(),
                nullified: true,
                ms: entry.created_ms(),
            };
            batch.put(&inner.log, log_key(did, *number), row.encode()?);
        }
        let ticket = {
            // numbers and times must rise in the order in which the batches reach the store
            let mut order = inner.order.lock();
            let number = order.number + 1;
            let ms = now_ms.max(order.ms.saturating_add(1));
            if ms > now_ms && !undone.is_empty() {
                check_next(did, &history, &operation, ms)?;
            }
            let row = Row {
                operation,
                cid: accepted.cid.to_string(),
                nullified: false,
                ms,
            };
            batch.put(&inner.log, log_key(did, number), row.encode()?);
            batch.put(&inner.numbers, number.to_be_bytes(), did.as_str());
            batch.put(
                &inner.times,
                ms.cast_unsigned().to_be_bytes(),
                number.to_be_bytes(),
            );
            let ticket = inner.store.submit(batch)?;
            *order = Order { number, ms };
            ticket
        };
        ticket.await?;
        Ok(())
    }

    /// The DID document (`GET /{did}`).
    pub fn document(&self, did: &str) -> Result<DidDocument, DirectoryError> {
        Ok(self.data(did)?.document())
    }

    /// The data (`GET /{did}/data`).
    pub fn data(&self, did: &str) -> Result<DocumentData, DirectoryError> {
        let last = self.last(did)?;
        last.data(&parse_did(did)?)
            .ok_or_else(|| DirectoryError::NotAvailable(did.to_owned()))
    }

    /// The operations that are not nullified, oldest first (`GET /{did}/log`).
    pub fn log(&self, did: &str) -> Result<Vec<Operation>, DirectoryError> {
        let log = self.audit_log(did)?;
        Ok(log
            .into_iter()
            .filter(|entry| !entry.nullified)
            .map(|entry| entry.operation)
            .collect())
    }

    /// All operations with the directory's notes, oldest first (`GET /{did}/log/audit`).
    pub fn audit_log(&self, did: &str) -> Result<Vec<LogEntry>, DirectoryError> {
        let rows = self.0.rows(&parse_did(did)?)?;
        if rows.is_empty() {
            return Err(DirectoryError::NotRegistered(did.to_owned()));
        }
        Ok(rows.into_iter().map(|(_, entry)| entry).collect())
    }

    /// The newest operation that is not nullified (`GET /{did}/log/last`).
    pub fn last(&self, did: &str) -> Result<Operation, DirectoryError> {
        let parsed = parse_did(did)?;
        for row in self.0.log.prefix(log_prefix(&parsed)).rev() {
            let row = Row::decode(&row?.1)?;
            if !row.nullified {
                return Ok(row.operation);
            }
        }
        Err(DirectoryError::NotRegistered(did.to_owned()))
    }

    /// A page of all operations (`GET /export?count=&after=`), one JSON object each, for JSON lines.
    ///
    /// `after` is a number, which gives sequenced entries, or a time. A page has 1000 entries at most.
    pub fn export(
        &self,
        count: Option<&str>,
        after: Option<&str>,
    ) -> Result<Vec<Value>, DirectoryError> {
        let count = match count {
            None => MAX_EXPORT,
            Some(text) => text
                .parse()
                .ok()
                .filter(|&count: &usize| count > 0)
                .ok_or(DirectoryError::InvalidParameter("count"))?
                .min(MAX_EXPORT),
        };
        match parse_after(after)? {
            After::Number(after) => self.0.export_by_number(count, after),
            After::Ms(after) => self.0.export_by_time(count, after),
        }
    }

    /// Whether the store answers (`GET /_health`).
    pub fn health(&self) -> Result<(), DirectoryError> {
        self.0.times.contains([0; 8])?;
        match self.0.store.poisoned() {
            Some(why) => Err(DirectoryError::Damaged(why.to_string())),
            None => Ok(()),
        }
    }
}

impl Inner {
    fn lane(&self, did: &Did) -> &tokio::sync::Mutex<()> {
        let hash = did.as_str().bytes().fold(0usize, |hash, b| {
            hash.wrapping_mul(31).wrapping_add(b.into())
        });
        &self.lanes[hash % LANES]
    }

    /// All operations of a DID with their numbers, oldest first.
    fn rows(&self, did: &Did) -> Result<Vec<(u64, LogEntry)>, DirectoryError> {
        let prefix = log_prefix(did);
        let mut rows = Vec::new();
        for row in self.log.prefix(&prefix) {
            let (key, value) = row?;
            let number = read_u64(key.get(prefix.len()..).unwrap_or_default())?;
            rows.push((number, Row::decode(&value)?.entry(did)));
        }
        Ok(rows)
    }

    fn export_by_number(&self, count: usize, after: u64) -> Result<Vec<Value>, DirectoryError> {
        let Some(from) = after.checked_add(1) else {
            return Ok(Vec::new());
        };
        let mut page = Vec::new();
        for row in self.numbers.range(from.to_be_bytes()..).take(count) {
            let (key, did) = row?;
            let number = read_u64(&key)?;
            let entry = self.entry(&did, number)?;
            page.push(json!({
                "did": entry.did,
                "cid": entry.cid,
                "seq": number,
                "createdAt": entry.created_at,
                "operation": entry.operation,
                "type": "sequenced_op",
            }));
        }
        Ok(page)
    }

    fn export_by_time(&self, count: usize, after: i64) -> Result<Vec<Value>, DirectoryError> {
        let from = after.saturating_add(1).max(0).cast_unsigned();
        let mut page = Vec::new();
        for row in self.times.range(from.to_be_bytes()..).take(count) {
            let number = read_u64(&row?.1)?;
            let did = self
                .numbers
                .get(number.to_be_bytes())?
                .ok_or_else(|| DirectoryError::Damaged(format!("operation {number} has no DID")))?;
            let entry = self.entry(&did, number)?;
            page.push(json!({
                "did": entry.did,
                "cid": entry.cid,
                "createdAt": entry.created_at,
                "operation": entry.operation,
                "nullified": entry.nullified,
            }));
        }
        Ok(page)
    }

    fn entry(&self, did: &[u8], number: u64) -> Result<LogEntry, DirectoryError> {
        let damaged = || DirectoryError::Damaged(format!("operation {number} is missing"));
        let did = std::str::from_utf8(did)
            .ok()
            .and_then(|text| Did::parse(text).ok())
            .ok_or_else(damaged)?;
        let row = self.log.get(log_key(&did, number))?.ok_or_else(damaged)?;
        Ok(Row::decode(&row)?.entry(&did))
    }
}

impl Row {
    fn encode(&self) -> Result<Vec<u8>, DirectoryError> {
        serde_json::to_vec(self).map_err(|e| DirectoryError::Damaged(e.to_string()))
    }

    fn decode(bytes: &[u8]) -> Result<Self, DirectoryError> {
        serde_json::from_slice(bytes).map_err(|e| DirectoryError::Damaged(e.to_string()))
    }

    fn entry(self, did: &Did) -> LogEntry {
        LogEntry {
            did: did.clone(),
            operation: self.operation,
            cid: self.cid,
            nullified: self.nullified,
            created_at: Datetime::from_unix_millis(self.ms),
        }
    }
}

fn check_rate(history: &[&LogEntry], now_ms: i64) -> Result<(), DirectoryError> {
    for (span_ms, span, max) in RATES {
        let within = |entry: &&&LogEntry| entry.created_ms() > now_ms - span_ms;
        if history.iter().filter(within).count() >= max {
            return Err(DirectoryError::RateLimit { span, max });
        }
    }
    Ok(())
}

/// A text that is no DID cannot be registered.
fn parse_did(text: &str) -> Result<Did, DirectoryError> {
    Did::parse(text).map_err(|_| DirectoryError::NotRegistered(text.chars().take(100).collect()))
}

fn parse_after(text: Option<&str>) -> Result<After, DirectoryError> {
    let Some(text) = text.filter(|text| !text.is_empty()) else {
        return Ok(After::Ms(i64::MIN));
    };
    let invalid = DirectoryError::InvalidParameter("after");
    if text.bytes().all(|b| b.is_ascii_digit()) {
        return text.parse().map(After::Number).map_err(|_| invalid);
    }
    match Datetime::parse(text) {
        Ok(time) => Ok(After::Ms(time.unix_millis())),
        Err(_) => Err(invalid),
    }
}

fn log_prefix(did: &Did) -> Vec<u8> {
    let mut key = did.as_str().as_bytes().to_vec();
    key.push(0);
    key
}

fn log_key(did: &Did, number: u64) -> Vec<u8> {
    let mut key = log_prefix(did);
    key.extend_from_slice(&number.to_be_bytes());
    key
}

fn read_u64(bytes: &[u8]) -> Result<u64, DirectoryError> {
    bytes
        .try_into()
        .map(u64::from_be_bytes)
        .map_err(|_| DirectoryError::Damaged(format!("8 bytes expected, found {}", bytes.len())))
}
