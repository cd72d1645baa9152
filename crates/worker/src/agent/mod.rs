//! The agent: takes assignments from the bus, does them in its backend, and reports. It keeps nothing that must not
//! be lost: an assignment is acknowledged only when its outcome has been published.

mod heartbeat;
mod recent;
mod tasks;

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use parking_lot::Mutex;
use tokio::sync::{Semaphore, watch};
use tokio_util::sync::CancellationToken;
use ues_bus::Bus;
use ues_pins::locks::KeyLocks;
use ues_pins::tasks::Tasks;
use ues_pins::{Clock, PeerId};

use crate::backend::Backend;

/// How a worker works.
#[derive(Clone, Debug)]
pub struct AgentOptions {
    /// Its id.
    pub id: PeerId,
    /// A name for people.
    pub name: String,
    /// What its operator says of it, such as `region=eu`.
    pub tags: BTreeMap<String, String>,
    /// Groups of tasks done at a time.
    pub concurrency: u32,
    /// Tasks in a group: what the backend does in one call.
    pub group: usize,
    /// The pause between two heartbeats.
    pub heartbeat: Duration,
    /// Whether nobody else pins in the backend, so that what nobody wants may be taken away.
    pub exclusive: bool,
    /// The pause between two lists of all that is pinned, for an exclusive backend.
    pub audit: Duration,
    /// The time.
    pub clock: Clock,
}

impl AgentOptions {
    /// For a worker of this id, with everything else as usual.
    pub fn new(id: PeerId) -> Self {
        Self {
            name: id.to_string(),
            id,
            tags: BTreeMap::new(),
            concurrency: 10,
            group: 50,
            heartbeat: Duration::from_secs(5),
            exclusive: false,
            audit: Duration::from_secs(3600),
            clock: Clock::default(),
        }
    }
}

/// A running worker.
#[derive(Clone)]
pub struct Agent {
    shared: Arc<Shared>,
    tasks: Tasks,
}

struct Shared {
    backend: Arc<dyn Backend>,
    bus: Arc<dyn Bus>,
    options: AgentOptions,
    /// Hash of the name of what the backend holds; `None` while it does not answer.
    content: watch::Sender<Option<u32>>,
    counter: AtomicU64,
    locks: Arc<KeyLocks>,
    recent: Mutex<recent::Recent>,
    groups: Semaphore,
    stop: CancellationToken,
}

impl Agent {
    /// Starts a worker.
    pub fn start(backend: Arc<dyn Backend>, bus: Arc<dyn Bus>, options: AgentOptions) -> Self {
        let groups = usize::try_from(options.concurrency.max(1)).unwrap_or(1);
        let tasks = Tasks::default();
        let shared = Arc::new(Shared {
            backend,
            bus,
            options,
            content: watch::Sender::new(None),
            counter: AtomicU64::new(0),
            locks: Arc::default(),
            recent: Mutex::default(),
            groups: Semaphore::new(groups),
            stop: tasks.stop_token().clone(),
        });
        tasks.spawn(heartbeat::run(Arc::clone(&shared)));
        tasks.spawn(tasks::run(Arc::clone(&shared), tasks.clone()));
        if shared.options.exclusive {
            tasks.spawn(heartbeat::audit(Arc::clone(&shared)));
        }
        Self { shared, tasks }
    }

    /// Its id.
    pub fn id(&self) -> &PeerId {
        &self.shared.options.id
    }

    /// Its backend.
    pub fn backend(&self) -> &Arc<dyn Backend> {
        &self.shared.backend
    }

    /// Ends its work. What is under way is done again by whoever comes next.
    pub async fn stop(&self) {
        self.tasks.stop().await;
    }

    /// Ends its work where it stands, as the death of the process would; for tests.
    pub fn kill(&self) {
        self.tasks.kill();
    }
}

impl Shared {
    /// The next count of reports: it rises, also over a restart, because it follows the clock.
    fn count(&self) -> u64 {
        let now = self.options.clock.now_ms().saturating_mul(1000);
        let next = |last: u64| Some(now.max(last + 1));
        let last = self
            .counter
            .fetch_update(Ordering::Relaxed, Ordering::Relaxed, next);
        now.max(last.unwrap_or_default() + 1)
    }

    async fn pause(&self, time: Duration) -> bool {
        tokio::select! {
            biased;
            () = self.stop.cancelled() => false,
            () = tokio::time::sleep(time) => true,
        }
    }
}
