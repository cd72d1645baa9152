//! What is measured, for Prometheus: how long pins take, what happens, and how far what is there is from what should
//! be there.
//!
//! Labels are few, so that all series together stay below 10,000 whatever the service keeps: CIDs are grouped by the
//! first hex digit of their hash, and owners beyond the largest fifty are one.

mod cql;
mod labels;
mod progress;
mod store;
mod tenants;
mod text;

use std::sync::{Arc, OnceLock};
use std::time::Duration;

use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::histogram::Histogram;
use ues_bus::QueueStats;

use crate::store::StateStore;
use labels::{EndToEnd, Event, Failure, OfOp, StoreOp};

pub use cql::{CqlMetrics, CqlOutcome};
pub use labels::{EventType, FailureKind, Group, Op, Source};
pub use progress::{Confirmed, Progress};
pub use tenants::Tenants;
pub use text::CONTENT_TYPE;

/// Bounds for what takes until a pin is there, in seconds. The target for all of it is a minute.
const PIN_SECONDS: [f64; 16] = [
    0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0, 120.0, 300.0, 900.0, 3600.0,
];
/// Bounds for one operation of the state store, in seconds.
const STORE_SECONDS: [f64; 10] = [
    0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.1, 0.5, 2.5, 10.0,
];

/// A histogram for each set of labels.
type Histograms<L> = Family<L, Histogram, fn() -> Histogram>;

/// Where measurements go. Cheap to clone.
#[derive(Clone, Debug, Default)]
pub struct Metrics(Arc<Measured>);

#[derive(Debug)]
struct Measured {
    end_to_end: Histograms<EndToEnd>,
    assign_to_pinned: Histograms<OfOp>,
    events: Family<Event, Counter>,
    failures: Family<Failure, Counter>,
    store: Histograms<StoreOp>,
    cql: OnceLock<CqlMetrics>,
}

impl Default for Measured {
    fn default() -> Self {
        let pins = || Histogram::new(PIN_SECONDS);
        Self {
            end_to_end: Family::new_with_constructor(pins),
            assign_to_pinned: Family::new_with_constructor(pins),
            events: Family::default(),
            failures: Family::default(),
            store: Family::new_with_constructor(|| Histogram::new(STORE_SECONDS)),
            cql: OnceLock::new(),
        }
    }
}

impl Metrics {
    /// Counts something that happened to CIDs of a group.
    pub fn event(&self, r#type: EventType, group: Group) {
        self.0
            .events
            .get_or_create(&Event::new(r#type, group))
            .inc();
    }

    /// Counts a failure.
    pub fn failure(&self, kind: FailureKind) {
        self.0.failures.get_or_create(&Failure::new(kind)).inc();
    }

    /// Measures what a worker has confirmed by this time.
    pub fn confirmed(&self, confirmed: &Confirmed, now_ms: u64) {
        let since = |ms: u64| Duration::from_millis(now_ms.saturating_sub(ms)).as_secs_f64();
        let of_op = self
            .0
            .assign_to_pinned
            .get_or_create(&OfOp::new(confirmed.op));
        of_op.observe(since(confirmed.assigned_ms));
        drop(of_op);
        let labels = EndToEnd::new(confirmed.source, confirmed.op);
        let end_to_end = self.0.end_to_end.get_or_create(&labels);
        end_to_end.observe(since(confirmed.accepted_ms));
    }

    /// The same store, with all its operations measured.
    pub fn measuring(&self, store: Arc<dyn StateStore>) -> Arc<dyn StateStore> {
        Arc::new(store::MeasuredStore::new(store, self.clone()))
    }

    /// Shows what is measured of a CQL database, too; the first one stays.
    pub fn show_cql(&self, metrics: CqlMetrics) {
        let _ = self.0.cql.set(metrics);
    }

    /// Everything, in the text format 0.0.4 of Prometheus.
    pub fn text(&self, tenants: &Tenants, queues: &[QueueStats]) -> String {
        text::write(&self.0, tenants, queues)
    }

    fn store_operation(&self, operation: &'static str, status: &'static str, took: Duration) {
        let labels = StoreOp { operation, status };
        let measured = self.0.store.get_or_create(&labels);
        measured.observe(took.as_secs_f64());
    }
}
