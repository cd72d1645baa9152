//! The reconciler: makes what the planner decides happen, for the shards that it holds a lease of.
//!
//! It hears of changes from the API and of progress from workers over the bus, and acts at once. Because the bus may
//! lose anything, it also walks over all records in slices, all the time; what was lost is sent again from there.

mod audit;
mod ends;
mod fleet;
mod leases;
mod shard;
mod throttle;
mod totals;

use std::sync::Arc;
use std::time::Duration;

use tokio::sync::{Notify, broadcast, watch};
use tokio_util::sync::CancellationToken;
use ues_bus::{Bus, BusError};

use crate::clock::Clock;
use crate::event::PinEvent;
use crate::fleet::Fleet;
use crate::metrics::{FailureKind, Metrics, Tenants};
use crate::planner::Policy;
use crate::shard::{Shard, Shards};
use crate::store::{StateError, StateStore};
use crate::tasks::Tasks;

pub use totals::Totals;
pub(crate) use totals::read_note;

/// Why the reconciler could not do something; it tries again.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ReconcileError {
    /// The state store.
    #[error(transparent)]
    State(#[from] StateError),
    /// The bus.
    #[error(transparent)]
    Bus(#[from] BusError),
    /// A subject that cannot be made.
    #[error(transparent)]
    Subject(#[from] ues_bus::SubjectError),
}

/// What the reconciler works with.
#[derive(Clone)]
pub struct Parts {
    /// The state store.
    pub store: Arc<dyn StateStore>,
    /// The bus.
    pub bus: Arc<dyn Bus>,
    /// How it decides.
    pub policy: Policy,
    /// The time.
    pub clock: Clock,
    /// A name of this process that no other one has, for its leases.
    pub holder: String,
    /// Whether other processes work on the same state.
    pub shared: bool,
    /// Into how many shards all pins are divided.
    pub shards: Shards,
    /// The pause between two walks over all records.
    pub sweep_pause: Duration,
    /// Who wants to hear of changes.
    pub events: broadcast::Sender<Arc<PinEvent>>,
    /// Where measurements go.
    pub metrics: Metrics,
}

/// A running reconciler.
#[derive(Clone)]
pub struct Reconciler {
    shared: Arc<Shared>,
    tasks: Tasks,
}

/// What the tasks of a reconciler share.
struct Shared {
    parts: Parts,
    fleet: watch::Receiver<Arc<Fleet>>,
    totals: parking_lot::Mutex<totals::Board>,
    /// Wakes the walk over all records, when a worker came, went or lost its content.
    sweep_now: Notify,
    stop: CancellationToken,
}

impl Shared {
    /// Counts what kept the reconciler from something. The state store counts its failures itself.
    fn count(&self, error: &ReconcileError) {
        if matches!(error, ReconcileError::Bus(_)) {
            self.parts.metrics.failure(FailureKind::Nats);
        }
    }
}

impl Reconciler {
    /// Starts it.
    pub fn start(parts: Parts) -> Self {
        let (fleet_writer, fleet) = watch::channel(Arc::default());
        let tasks = Tasks::default();
        let shared = Arc::new(Shared {
            parts,
            fleet,
            totals: parking_lot::Mutex::default(),
            sweep_now: Notify::new(),
            stop: tasks.stop_token().clone(),
        });
        tasks.spawn(fleet::run(Arc::clone(&shared), fleet_writer));
        tasks.spawn(audit::run(Arc::clone(&shared)));
        tasks.spawn(leases::run(Arc::clone(&shared), tasks.clone()));
        Self { shared, tasks }
    }

    /// What the last walks over its own shards counted.
    pub(crate) fn counted(&self) -> Vec<(Shard, Totals)> {
        self.shared.totals.lock().counted()
    }

    /// What the last walks over its own shards counted for each owner.
    pub fn tenants(&self) -> Tenants {
        self.shared.totals.lock().tenants()
    }

    /// The workers, as they were a moment ago.
    pub fn fleet(&self) -> Arc<Fleet> {
        Arc::clone(&self.shared.fleet.borrow())
    }

    /// Ends its work and waits until it has.
    pub async fn stop(&self) {
        self.tasks.stop().await;
    }

    /// Ends its work where it stands, as the death of the process would; for tests.
    pub fn kill(&self) {
        self.tasks.kill();
    }
}

/// Waits, unless the reconciler is stopped first; `false` when it is.
async fn pause(stop: &CancellationToken, time: Duration) -> bool {
    tokio::select! {
        biased;
        () = stop.cancelled() => false,
        () = tokio::time::sleep(time) => true,
    }
}
