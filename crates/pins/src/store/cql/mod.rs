//! The state store in a database that speaks CQL: ScyllaDB or Apache Cassandra. For any number of processes.
//!
//! Every fact has one home: a request in `pins_by_cid`, a placement in `placements_by_cid`, both in the partition of
//! their multihash. All else leads to them or is the service's own. [`schema`] has the tables, [`stamp`] the argument why
//! concurrent changes are right without transactions and with clocks that differ.

mod access;
mod changes;
mod ends;
mod ends_window;
mod fleet;
mod listing;
mod listing_walk;
mod placements;
mod requests;
mod retry;
mod scan;
mod schema;
mod session;
mod settings;
mod stamp;
mod statements;
mod tls;

use std::sync::Arc;

use async_trait::async_trait;
use futures::stream::BoxStream;
use scylla::errors;
use scylla::response::query_result::QueryResult;
use scylla::value::{CqlTimestamp, CqlValue, Row};
use ues_data::Cid;

use super::{
    End, Lease, Operation, OwnerPage, OwnerQuery, PlacementChange, RequestChange, StateError,
    StateStore, TokenRange,
};
use crate::fleet::Worker;
use crate::locks::KeyLocks;
use crate::metrics::CqlMetrics;
use crate::model::PeerId;
use crate::placement::PinRecord;
use crate::request::PinRequest;
use crate::{Clock, Owner};
use session::Db;
use stamp::Stamps;
use statements::Statements;

pub use settings::{CqlReplication, CqlRetries, CqlSettings, CqlTls, Password};
pub use tls::TlsError;

/// Rows of a page.
const SCAN_PAGE: i32 = 1000;
/// A difference between the clocks of program and database that is worth a warning, in milliseconds.
const CLOCKS_DIFFER_MS: u64 = 60_000;

/// Why the database cannot be used.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum CqlError {
    /// A setting that cannot be.
    #[error("settings of the CQL database: {0}")]
    Settings(String),
    /// Certificates that cannot be used.
    #[error("encryption of the CQL database: {0}")]
    Tls(#[from] TlsError),
    /// It cannot be reached, or does not let this program in.
    #[error("the CQL database cannot be reached: {0}")]
    Connect(#[from] Box<errors::NewSessionError>),
    /// A newer program has changed the tables.
    #[error(
        "the tables in keyspace {keyspace} are of version {found}; this program knows versions up to {known}: use a newer one"
    )]
    Newer {
        /// Where.
        keyspace: String,
        /// The version that is there.
        found: i32,
        /// The newest one that is known.
        known: i32,
    },
    /// Tables that another program made.
    #[error(
        "version {version} of the tables in keyspace {keyspace} is not the one that this program knows"
    )]
    Changed {
        /// Where.
        keyspace: String,
        /// Which.
        version: i32,
    },
    /// Another program changes the tables and does not come to an end.
    #[error("another program is changing the tables in keyspace {keyspace}; try again later")]
    Locked {
        /// Where.
        keyspace: String,
    },
    /// A statement failed while the tables were looked at, made or prepared for.
    #[error("the tables of the CQL database cannot be prepared: {0}")]
    Schema(String),
    /// The state in the database cannot be used.
    #[error(transparent)]
    State(#[from] StateError),
}

macro_rules! schema_errors {
    ($($error:ty)*) => {$(
        impl From<$error> for CqlError {
            fn from(error: $error) -> Self {
                Self::Schema(error.to_string())
            }
        }
    )*};
}

schema_errors!(errors::ExecutionError errors::PrepareError errors::SchemaAgreementError errors::IntoRowsResultError
    errors::RowsError errors::MaybeFirstRowError errors::TypeCheckError errors::DeserializationError);

impl From<errors::NewSessionError> for CqlError {
    fn from(error: errors::NewSessionError) -> Self {
        Self::Connect(Box::new(error))
    }
}

/// The state store in a CQL database. Cheap to clone.
#[derive(Clone)]
pub struct CqlStore {
    db: Arc<Db>,
    stamps: Arc<Stamps>,
    locks: Arc<KeyLocks>,
    remembered: Arc<listing::Remembered>,
    window: Arc<tokio::sync::Mutex<ends::Window>>,
    metrics: Option<CqlMetrics>,
}

impl CqlStore {
    /// Connects, and makes keyspace and tables where they are missing.
    ///
    /// # Errors
    /// [`CqlError`], which says what is wrong in a sentence.
    pub async fn connect(settings: CqlSettings, clock: Clock) -> Result<Self, CqlError> {
        settings.check().map_err(CqlError::Settings)?;
        let session = session::connect(&settings).await?;
        schema::migrate(&session, &settings, &clock).await?;
        let statements = Statements::prepare(&session, &settings).await?;
        let metrics = CqlMetrics::default();
        let db = Db::new(session, statements, &settings, metrics.clone());
        let store = Self {
            db: Arc::new(db),
            stamps: Arc::new(Stamps::new(clock)),
            locks: Arc::default(),
            remembered: Arc::default(),
            window: Arc::default(),
            metrics: settings.metrics_enabled.then_some(metrics),
        };
        store.begin_queue().await?;
        store.compare_clocks().await?;
        Ok(store)
    }

    /// What is measured of its statements, unless the settings switch that off.
    pub fn metrics(&self) -> Option<&CqlMetrics> {
        self.metrics.as_ref()
    }

    /// Warns when this machine's clock is another than the database's.
    async fn compare_clocks(&self) -> Result<(), StateError> {
        let what = retry::What::new("clock");
        let statement = &self.db.statements.clock;
        let row: Option<(CqlTimestamp,)> = self.db.row(what, statement, ()).await?;
        let theirs = row.map_or(0, |row| row.0.0.max(0).cast_unsigned());
        let ours = self.stamps.clock().now_ms();
        if ours.abs_diff(theirs) > CLOCKS_DIFFER_MS {
            tracing::warn!(
                ours,
                theirs,
                "the clocks of this machine and of the database differ by more than a minute"
            );
        }
        Ok(())
    }
}

impl std::fmt::Debug for CqlStore {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("CqlStore").finish_non_exhaustive()
    }
}

/// Whether a lightweight transaction was applied; the first column of its answer says so.
fn was_applied(result: QueryResult) -> Result<bool, StateError> {
    let rows = session::rows_of(result)?;
    let row = rows.first_row::<Row>().map_err(session::damaged)?;
    match row.columns.first() {
        Some(Some(CqlValue::Boolean(applied))) => Ok(*applied),
        other => Err(StateError::Damaged(format!(
            "a transaction should say whether it was applied, found {other:?}"
        ))),
    }
}

/// A number as the database keeps it; greater ones are the greatest.
fn long(number: u64) -> i64 {
    i64::try_from(number).unwrap_or(i64::MAX)
}

/// A limit as the database takes it.
fn short(number: usize) -> i32 {
    i32::try_from(number).unwrap_or(i32::MAX)
}

/// A time of so many milliseconds.
fn timestamp(ms: u64) -> CqlTimestamp {
    CqlTimestamp(long(ms))
}

#[async_trait]
impl StateStore for CqlStore {
    fn token(&self, cid: &Cid) -> u64 {
        scan::token(cid)
    }

    async fn change_requests(
        &self,
        changes: Vec<RequestChange>,
        operations: Vec<Operation>,
    ) -> Result<Vec<Option<PinRequest>>, StateError> {
        self.change(changes, operations).await
    }

    async fn change_placements(&self, changes: Vec<PlacementChange>) -> Result<(), StateError> {
        self.place(changes).await
    }

    async fn records(&self, cids: &[Cid]) -> Result<Vec<PinRecord>, StateError> {
        self.read_records(cids).await
    }

    async fn request(&self, owner: &Owner, cid: &Cid) -> Result<Option<PinRequest>, StateError> {
        Ok(self.version(owner, cid).await?.request)
    }

    async fn owner_requests(
        &self,
        owner: &Owner,
        query: OwnerQuery,
    ) -> Result<OwnerPage, StateError> {
        self.read_owned(owner, query).await
    }

    fn scan(
        &self,
        range: TokenRange,
        after: Option<Cid>,
    ) -> BoxStream<'static, Result<PinRecord, StateError>> {
        self.read_all(range, after)
    }

    async fn ends(&self, now_s: u64, limit: usize) -> Result<Vec<End>, StateError> {
        self.due_ends(now_s, limit).await
    }

    async fn settle_ends(&self, ends: Vec<End>) -> Result<(), StateError> {
        self.settled(ends).await
    }

    async fn operation(&self, owner: &Owner, id: &str) -> Result<Option<Operation>, StateError> {
        self.read_operation(owner, id).await
    }

    async fn workers(&self) -> Result<Vec<Worker>, StateError> {
        self.read_workers().await
    }

    async fn put_worker(&self, worker: Worker) -> Result<(), StateError> {
        self.write_worker(&worker).await
    }

    async fn remove_worker(&self, id: &PeerId) -> Result<(), StateError> {
        self.delete_worker(id).await
    }

    async fn set_draining(&self, id: &PeerId, draining: bool) -> Result<(), StateError> {
        self.drain(id, draining).await
    }

    async fn lease(&self, name: &str, wish: Lease, now_ms: u64) -> Result<Lease, StateError> {
        self.take_lease(name, wish, now_ms).await
    }

    async fn note(&self, name: &str) -> Result<Option<Vec<u8>>, StateError> {
        Ok(self.read_note(name).await?.0)
    }

    async fn put_note(&self, name: &str, value: Vec<u8>) -> Result<(), StateError> {
        self.write_note(name, &value).await
    }
}
