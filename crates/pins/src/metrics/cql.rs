//! What is measured of the CQL database, statement by statement.

use std::fmt;
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use prometheus_client::encoding::EncodeLabelSet;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::metrics::histogram::Histogram;
use prometheus_client::registry::Registry;

use super::{Histograms, STORE_SECONDS};

/// How one attempt at a statement ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum CqlOutcome {
    /// As it should.
    Ok,
    /// Nobody answered in time, or too few replicas did.
    Timeout,
    /// Too few replicas are there, or they are overloaded.
    Unavailable,
    /// The connection could not be had or broke.
    Connection,
    /// It will not do in any case.
    Refused,
}

/// Where measurements of a CQL database go. Cheap to clone.
#[derive(Clone, Debug)]
pub struct CqlMetrics(Arc<Measured>);

#[derive(Debug)]
struct Measured {
    queries: Histograms<Query>,
    timeouts: Counter,
    unavailable: Counter,
    connection_errors: Counter,
    retries: Counter,
    given_up: Counter,
    driver: OnceLock<Driver>,
}

/// Tells how many connections there are.
struct Driver(Box<dyn Fn() -> u64 + Send + Sync>);

impl fmt::Debug for Driver {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Driver")
    }
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct Query {
    operation: &'static str,
    status: &'static str,
}

impl Default for CqlMetrics {
    fn default() -> Self {
        Self(Arc::new(Measured {
            queries: Family::new_with_constructor(|| Histogram::new(STORE_SECONDS)),
            timeouts: Counter::default(),
            unavailable: Counter::default(),
            connection_errors: Counter::default(),
            retries: Counter::default(),
            given_up: Counter::default(),
            driver: OnceLock::new(),
        }))
    }
}

impl CqlMetrics {
    /// Measures one attempt at a statement.
    pub fn attempt(&self, operation: &'static str, outcome: CqlOutcome, took: Duration) {
        let status = match outcome {
            CqlOutcome::Ok => "ok",
            CqlOutcome::Timeout => "timeout",
            CqlOutcome::Unavailable => "unavailable",
            CqlOutcome::Connection => "connection",
            CqlOutcome::Refused => "refused",
        };
        let query = Query { operation, status };
        self.0
            .queries
            .get_or_create(&query)
            .observe(took.as_secs_f64());
        match outcome {
            CqlOutcome::Timeout => self.0.timeouts.inc(),
            CqlOutcome::Unavailable => self.0.unavailable.inc(),
            CqlOutcome::Connection => self.0.connection_errors.inc(),
            CqlOutcome::Ok | CqlOutcome::Refused => 0,
        };
    }

    /// Counts a repetition.
    pub fn retry(&self) {
        self.0.retries.inc();
    }

    /// Counts a statement whose last attempt failed.
    pub fn given_up(&self) {
        self.0.given_up.inc();
    }

    /// Says who knows the number of connections; the first one who is named stays.
    pub fn set_connections(&self, count: impl Fn() -> u64 + Send + Sync + 'static) {
        let _ = self.0.driver.set(Driver(Box::new(count)));
    }

    /// How many attempts timed out, met too few replicas, failed for their connection, were repeated, and how many
    /// statements were given up.
    pub fn counts(&self) -> [u64; 5] {
        let measured = &self.0;
        [
            measured.timeouts.get(),
            measured.unavailable.get(),
            measured.connection_errors.get(),
            measured.retries.get(),
            measured.given_up.get(),
        ]
    }

    pub(super) fn register(&self, registry: &mut Registry) {
        let measured = &self.0;
        let connections: Gauge = Gauge::default();
        if let Some(driver) = measured.driver.get() {
            connections.set(i64::try_from((driver.0)()).unwrap_or(i64::MAX));
        }
        registry.register(
            "pin_cql_query_seconds",
            "Attempts at statements of the CQL database",
            measured.queries.clone(),
        );
        registry.register(
            "pin_cql_active_connections",
            "Connections to the CQL database",
            connections,
        );
        for (name, help, counter) in [
            (
                "pin_cql_timeouts",
                "Attempts that were not answered in time",
                &measured.timeouts,
            ),
            (
                "pin_cql_unavailable_errors",
                "Attempts that met too few replicas or an overloaded one",
                &measured.unavailable,
            ),
            (
                "pin_cql_connection_errors",
                "Attempts whose connection could not be had or broke",
                &measured.connection_errors,
            ),
            (
                "pin_cql_retries",
                "Attempts that repeat an earlier one",
                &measured.retries,
            ),
            (
                "pin_cql_failures",
                "Statements whose last attempt failed",
                &measured.given_up,
            ),
        ] {
            registry.register(name, help, counter.clone());
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::metrics::{Metrics, Tenants};

    #[test]
    fn what_the_driver_knows_is_shown() {
        let (metrics, cql) = (Metrics::default(), CqlMetrics::default());
        let text = || metrics.text(&Tenants::default(), &[]);
        assert!(!text().contains("pin_cql"), "there is no such database");
        cql.set_connections(|| 7);
        cql.attempt("request", CqlOutcome::Ok, Duration::from_millis(1));
        cql.attempt("request", CqlOutcome::Timeout, Duration::from_millis(1));
        cql.attempt("lease", CqlOutcome::Connection, Duration::from_millis(1));
        cql.attempt("lease", CqlOutcome::Refused, Duration::from_millis(1));
        cql.attempt("lease", CqlOutcome::Unavailable, Duration::from_millis(1));
        cql.retry();
        metrics.show_cql(cql);
        let text = text();
        for line in [
            "pin_cql_active_connections 7",
            "pin_cql_timeouts_total 1",
            "pin_cql_unavailable_errors_total 1",
            "pin_cql_connection_errors_total 1",
            "pin_cql_retries_total 1",
            "pin_cql_failures_total 0",
            "pin_cql_query_seconds_count{operation=\"request\",status=\"ok\"} 1",
            "pin_cql_query_seconds_count{operation=\"lease\",status=\"refused\"} 1",
        ] {
            assert!(text.contains(&format!("{line}\n")), "{line} in {text}");
        }
    }
}
