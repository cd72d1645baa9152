//! The connection to the database, and how statements are run on it.

use std::num::NonZeroUsize;
use std::sync::Arc;

use futures::{StreamExt, TryStreamExt};
use scylla::client::PoolSize;
use scylla::client::execution_profile::ExecutionProfile;
use scylla::client::session::Session;
use scylla::client::session_builder::SessionBuilder;
use scylla::deserialize::row::DeserializeRow;
use scylla::policies::load_balancing::DefaultPolicy;
use scylla::policies::retry::FallthroughRetryPolicy;
use scylla::response::query_result::{QueryResult, QueryRowsResult};
use scylla::response::{PagingState, PagingStateResponse};
use scylla::serialize::row::SerializeRow;
use scylla::statement::batch::{Batch, BatchType};
use scylla::statement::prepared::PreparedStatement;

use super::retry::{Retries, What};
use super::settings::CqlSettings;
use super::statements::Statements;
use super::{CqlError, tls};
use crate::metrics::CqlMetrics;
use crate::store::StateError;

/// Statements of one call that are under way at a time.
const IN_FLIGHT: usize = 256;

/// Connects to the database.
pub(super) async fn connect(settings: &CqlSettings) -> Result<Session, CqlError> {
    let mut policy = DefaultPolicy::builder().token_aware(settings.token_aware_routing);
    if !settings.local_dc.is_empty() {
        policy = policy
            .prefer_datacenter(settings.local_dc.clone())
            .permit_dc_failover(!settings.dc_aware_routing);
    }
    let profile = ExecutionProfile::builder()
        .consistency(settings.consistency)
        .serial_consistency(Some(settings.serial_consistency))
        .request_timeout(Some(settings.timeout))
        .load_balancing_policy(policy.build())
        // Repetitions are this program's own.
        .retry_policy(Arc::new(FallthroughRetryPolicy::new()))
        .build();
    let connections = NonZeroUsize::new(settings.num_conns).unwrap_or(NonZeroUsize::MIN);
    let mut builder = SessionBuilder::new()
        .known_nodes(
            settings
                .hosts
                .iter()
                .map(|host| with_port(host, settings.port)),
        )
        .connection_timeout(settings.connect_timeout)
        .pool_size(PoolSize::PerHost(connections))
        .default_execution_profile_handle(profile.into_handle())
        .tls_context(tls::config(&settings.encryption())?);
    if let Some((user, password)) = settings.login() {
        builder = builder.user(user, password);
    }
    Ok(builder.build().await?)
}

/// A host with its port.
fn with_port(host: &str, port: u16) -> String {
    if host.parse::<std::net::Ipv6Addr>().is_ok() {
        format!("[{host}]:{port}")
    } else if host.ends_with(']') || !host.contains(':') {
        format!("{host}:{port}")
    } else {
        host.to_owned()
    }
}

/// The database with the store's statements; what fails and may be repeated is repeated.
pub(super) struct Db {
    pub session: Arc<Session>,
    pub statements: Statements,
    pub retries: Retries,
    traced: bool,
    batch_size: usize,
}

impl Db {
    pub(super) fn new(
        session: Session,
        statements: Statements,
        settings: &CqlSettings,
        metrics: CqlMetrics,
    ) -> Self {
        let driver = session.get_metrics();
        metrics.set_connections(move || driver.get_total_connections());
        Self {
            session: Arc::new(session),
            statements,
            retries: Retries::new(settings.retry_policy.clone(), metrics),
            traced: settings.tracing_enabled,
            batch_size: settings.batch_size.min(usize::from(u16::MAX)),
        }
    }

    /// Runs a statement that does no harm when it runs twice.
    pub(super) async fn execute(
        &self,
        what: What<'_>,
        statement: &PreparedStatement,
        values: impl SerializeRow,
    ) -> Result<QueryResult, StateError> {
        let attempt = || self.session.execute_unpaged(statement, &values);
        let result = self.retries.run(what, attempt).await?;
        self.log_trace(what, &result);
        Ok(result)
    }

    /// The first row that a statement finds.
    pub(super) async fn row<R>(
        &self,
        what: What<'_>,
        statement: &PreparedStatement,
        values: impl SerializeRow,
    ) -> Result<Option<R>, StateError>
    where
        R: for<'r> DeserializeRow<'r, 'r>,
    {
        let rows = rows_of(self.execute(what, statement, values).await?)?;
        rows.maybe_first_row::<R>().map_err(damaged)
    }

    /// One page of the rows that a statement finds.
    pub(super) async fn page(
        &self,
        what: What<'_>,
        statement: &PreparedStatement,
        values: impl SerializeRow,
        from: PagingState,
    ) -> Result<(QueryRowsResult, PagingStateResponse), StateError> {
        let attempt = || {
            self.session
                .execute_single_page(statement, &values, from.clone())
        };
        let (result, next) = self.retries.run(what, attempt).await?;
        self.log_trace(what, &result);
        Ok((rows_of(result)?, next))
    }

    /// Gives every row that a statement finds to `take`, a page at a time.
    pub(super) async fn each<R>(
        &self,
        what: What<'_>,
        statement: &PreparedStatement,
        values: impl SerializeRow,
        mut take: impl FnMut(R) -> Result<(), StateError>,
    ) -> Result<(), StateError>
    where
        R: for<'r> DeserializeRow<'r, 'r>,
    {
        let mut from = PagingState::start();
        loop {
            let (rows, next) = self.page(what, statement, &values, from).await?;
            for row in rows.rows::<R>().map_err(damaged)? {
                take(row.map_err(damaged)?)?;
            }
            match next.into_paging_control_flow() {
                std::ops::ControlFlow::Break(()) => return Ok(()),
                std::ops::ControlFlow::Continue(state) => from = state,
            }
        }
    }

    /// Writes rows of one partition, several in a statement: that many as the settings say, and about as many bytes as the
    /// database takes without a warning.
    pub(super) async fn batches<V: SerializeRow>(
        &self,
        what: What<'_>,
        statement: &PreparedStatement,
        rows: Vec<V>,
        row_bytes: usize,
    ) -> Result<(), StateError> {
        const BYTES: usize = 30 << 10;
        let size = self.batch_size.min((BYTES / row_bytes.max(1)).max(1));
        for rows in rows.chunks(size) {
            if let [row] = rows {
                self.execute(what, statement, row).await?;
                continue;
            }
            let mut batch = Batch::new(BatchType::Unlogged);
            for _ in rows {
                batch.append_statement(statement.clone());
            }
            batch.set_consistency(
                statement
                    .get_consistency()
                    .unwrap_or(scylla::frame::types::Consistency::Quorum),
            );
            batch.set_is_idempotent(true);
            self.retries
                .run(what, || self.session.batch(&batch, rows))
                .await?;
        }
        Ok(())
    }

    fn log_trace(&self, what: What<'_>, result: &QueryResult) {
        if let Some(trace) = result.tracing_id().filter(|_| self.traced) {
            tracing::debug!(operation = what.operation, %trace, "traced in system_traces");
        }
    }
}

/// Runs tasks, so many at a time as the database likes; the first failure ends it.
pub(super) async fn together<T, F>(tasks: Vec<F>) -> Result<Vec<T>, StateError>
where
    F: Future<Output = Result<T, StateError>>,
{
    at_once(tasks, IN_FLIGHT).await
}

/// Runs tasks, so many at a time as is said; answers are in order.
pub(super) async fn at_once<T, F>(tasks: Vec<F>, limit: usize) -> Result<Vec<T>, StateError>
where
    F: Future<Output = Result<T, StateError>>,
{
    futures::stream::iter(tasks)
        .buffered(limit)
        .try_collect()
        .await
}

/// The rows of a result.
pub(super) fn rows_of(result: QueryResult) -> Result<QueryRowsResult, StateError> {
    result.into_rows_result().map_err(damaged)
}

/// Rows that are not what they should be.
pub(super) fn damaged(error: impl std::fmt::Display) -> StateError {
    StateError::Damaged(error.to_string())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn hosts_have_a_port() {
        for (host, expected) in [
            ("a.example", "a.example:9"),
            ("a.example:1", "a.example:1"),
            ("10.0.0.1", "10.0.0.1:9"),
            ("::1", "[::1]:9"),
            ("[::1]", "[::1]:9"),
            ("[::1]:1", "[::1]:1"),
        ] {
            assert_eq!(with_port(host, 9), expected);
        }
    }
}
