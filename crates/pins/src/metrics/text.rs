//! The text that Prometheus reads.

use std::collections::BTreeMap;

use prometheus_client::encoding::text::encode_registry;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::registry::Registry;
use ues_bus::QueueStats;

use super::labels::{OfTenant, OfWorker};
use super::{Group, Measured, Tenants};

/// The media type of the text.
pub const CONTENT_TYPE: &str = "text/plain; version=0.0.4; charset=utf-8";

/// What the names of queues of assignments begin with.
const ASSIGN: &str = "pin-assign-";
/// Workers that are shown: those with the longest queues.
const WORKERS: usize = 2000;

/// Writes everything.
pub(super) fn write(measured: &Measured, tenants: &Tenants, queues: &[QueueStats]) -> String {
    let mut registry = Registry::default();
    registry.register(
        "pin_end_to_end_seconds",
        "From the acceptance of a request to the confirmed pin",
        measured.end_to_end.clone(),
    );
    registry.register(
        "pin_assign_to_pinned_seconds",
        "From the assignment to a worker to its word that it is done",
        measured.assign_to_pinned.clone(),
    );
    registry.register(
        "pin_events",
        "What happened to pins",
        measured.events.clone(),
    );
    registry.register(
        "worker_failures",
        "Failures of what keeps content, of the bus and of the state store",
        measured.failures.clone(),
    );
    registry.register(
        "pin_store_operation_seconds",
        "Operations of the state store",
        measured.store.clone(),
    );
    if let Some(cql) = measured.cql.get() {
        cql.register(&mut registry);
    }
    let (desired, actual) = copies(tenants);
    registry.register(
        "cluster_pin_desired_total",
        "Copies that should be there",
        desired,
    );
    registry.register(
        "cluster_pin_actual_total",
        "Copies that should be there and are",
        actual,
    );
    registry.register(
        "worker_assign_queue_depth",
        "Assignments that wait for a worker or that it is at",
        depths(queues),
    );
    let mut text = String::new();
    if let Err(error) = encode_registry(&mut text, &registry) {
        // Strings take all that is written to them.
        tracing::error!(%error, "metrics cannot be written");
    }
    plain(&text)
}

fn copies(tenants: &Tenants) -> (Family<OfTenant, Gauge>, Family<OfTenant, Gauge>) {
    let (desired, actual) = (Family::default(), Family::default());
    for (tenant, groups) in tenants.shown() {
        for (group, copies) in Group::all().zip(groups) {
            let labels = OfTenant {
                tenant: tenant.to_owned(),
                mh_prefix: group.name(),
            };
            set(&desired, &labels, copies.desired);
            set(&actual, &labels, copies.actual);
        }
    }
    (desired, actual)
}

fn depths(queues: &[QueueStats]) -> Family<OfWorker, Gauge> {
    let mut depths: BTreeMap<_, _> = queues
        .iter()
        .filter_map(|queue| {
            let worker = queue.name.strip_prefix(ASSIGN)?;
            let depth = queue.waiting.saturating_add(queue.in_flight);
            Some(((std::cmp::Reverse(depth), worker), depth))
        })
        .collect();
    let family = Family::default();
    for _ in 0..WORKERS {
        let Some(((_, worker), depth)) = depths.pop_first() else {
            break;
        };
        let worker = worker.to_owned();
        set(&family, &OfWorker { worker }, depth);
    }
    family
}

fn set<L>(family: &Family<L, Gauge>, labels: &L, value: u64)
where
    L: Clone + std::hash::Hash + Eq,
{
    let value = i64::try_from(value).unwrap_or(i64::MAX);
    family.get_or_create(labels).set(value);
}

/// From the OpenMetrics text, which describes a counter under a shorter name than its samples have; the plain text
/// format describes it under the name of its samples.
fn plain(text: &str) -> String {
    let counters: Vec<&str> = text.lines().filter_map(counter_name).collect();
    let mut plain = String::with_capacity(text.len() + 64);
    for line in text.lines() {
        let described = line
            .strip_prefix("# ")
            .and_then(|l| l.strip_prefix("HELP ").or_else(|| l.strip_prefix("TYPE ")))
            .and_then(|l| l.split_once(' '));
        match described {
            Some((name, rest)) if counters.contains(&name) => {
                let word = line.get(..7).unwrap_or_default();
                plain.extend([word, name, "_total ", rest]);
            }
            _ => plain.push_str(line),
        }
        plain.push('\n');
    }
    plain
}

fn counter_name(line: &str) -> Option<&str> {
    line.strip_prefix("# TYPE ")?.strip_suffix(" counter")
}
