//! The pin service within the node: state store, bus, planner, worker and interfaces put together.

mod app;
mod background;
mod backing;
mod callers;
mod content;
mod failures;
mod keeper;
mod keys;
mod listeners;
mod migration;
mod openapi;
mod page;
mod spans;
mod workers;

use std::sync::Arc;

use ues_access::Access;
use ues_bus::Bus;
use ues_pins::intake::Intake;
use ues_pins::ipfs_proxy::Upstream;
use ues_pins::service::Options;
use ues_pins::tasks::Tasks;
use ues_pins::{PeerId, Pins};
use ues_storage::Store;
use ues_worker::embedded::Fetcher;

use self::background::Background;
use self::keeper::{Content, Keeper};
use crate::config::{Config, Role};

pub use app::PinningApp;
pub use listeners::Listeners;

/// Why the pin service cannot start.
#[derive(Debug, thiserror::Error)]
#[error("the pin service cannot start: {0}")]
pub struct PinningError(String);

fn cannot(error: impl std::fmt::Display) -> PinningError {
    PinningError(error.to_string())
}

/// The pin service of a node, as far as this process has a role in it.
#[derive(Default)]
pub struct Pinning {
    /// What takes requests and plans.
    parts: Option<Parts>,
    /// What keeps content.
    keeper: Option<Keeper>,
    tasks: Tasks,
    /// Where planner and worker run.
    _background: Option<Background>,
}

/// What the interfaces work with.
#[derive(Clone)]
pub struct Parts {
    pins: Pins,
    /// The worker of this process.
    worker: Option<PeerId>,
    /// Takes content in, where this process keeps it or can bring it to a Kubo.
    intake: Option<Arc<dyn Intake>>,
    /// The Kubo, if content is kept in one.
    upstream: Option<Arc<dyn Upstream>>,
    access: Access,
    secret: Arc<str>,
    cluster_listen: String,
    proxy_listen: String,
    api: bool,
    metrics: bool,
    failures: failures::Failures,
}

impl Pinning {
    /// Starts it. `fetcher` brings what is to be kept in the node's own store and is not there.
    ///
    /// # Errors
    /// [`PinningError`].
    pub async fn open(
        store: Store,
        config: &Config,
        worker: PeerId,
        secret: &str,
        fetcher: Arc<dyn Fetcher>,
    ) -> Result<Self, PinningError> {
        backing::check(config)?;
        let roles = &config.pins.roles;
        if roles.is_empty() {
            return Ok(Self::default());
        }
        let bus = backing::bus(&store, config).await?;
        let background = Background::start().map_err(cannot)?;
        let tasks = Tasks::default();
        let works = roles.contains(&Role::Worker);
        let content = Content::open(store.clone(), config, works, fetcher)?;
        let (intake, upstream) = (content.intake(), content.upstream());
        if let Some(embedded) = content.embedded.clone() {
            tasks.spawn(keeper::sweep(embedded, tasks.stop_token().clone()));
        }
        let serves = roles.contains(&Role::Api) || roles.contains(&Role::Planner);
        let parts = if serves {
            let state = backing::state(&store, config).await?;
            let pins = {
                let _here = background.enter();
                start(config, &state, Arc::clone(&bus), &worker)
            };
            let failures = failures::Failures::default();
            let stop = tasks.stop_token().clone();
            tasks.spawn(failures.clone().follow(pins.watch(), stop));
            Some(Parts {
                pins,
                worker: works.then(|| worker.clone()),
                intake,
                upstream,
                access: state.access,
                secret: secret.into(),
                cluster_listen: config.pins.cluster_listen.clone(),
                proxy_listen: config.pins.proxy_listen.clone(),
                api: roles.contains(&Role::Api),
                metrics: config.pins.metrics,
                failures,
            })
        } else {
            None
        };
        let keeper = if works {
            let _here = background.enter();
            Some(Keeper::start(content, config, worker, bus)?)
        } else {
            None
        };
        Ok(Self {
            parts,
            keeper,
            tasks,
            _background: Some(background),
        })
    }

    /// Its routes on the node's main listener.
    pub fn app(&self) -> PinningApp {
        PinningApp::new(self.parts.clone())
    }

    /// Opens its other listeners. One that cannot be opened is warned of.
    pub async fn serve(&self) -> Listeners {
        match &self.parts {
            Some(parts) if parts.api => Listeners::open(parts).await,
            _ => Listeners::default(),
        }
    }

    /// Lets go of those who watch, so that a stop does not wait for them.
    pub fn end_watching(&self) {
        if let Some(parts) = &self.parts {
            parts.pins.end_watching();
        }
    }

    /// Ends its work.
    pub async fn stop(&self) {
        if let Some(keeper) = &self.keeper {
            keeper.agent.stop().await;
        }
        if let Some(parts) = &self.parts {
            parts.pins.stop().await;
        }
        self.tasks.stop().await;
    }
}

fn start(config: &Config, state: &backing::State, bus: Arc<dyn Bus>, worker: &PeerId) -> Pins {
    // The folder, and with it the worker's key, belongs to one process: after a restart it is the same planner.
    let mut options = Options::new(worker.to_string());
    let settings = &config.pins;
    let copies = |n: u32| i32::try_from(n.max(1)).unwrap_or(i32::MAX);
    options.policy.replication_min = copies(settings.replication_min);
    options.policy.replication_max = copies(settings.replication_max.max(settings.replication_min));
    options.policy.verify_ms = u64::from(settings.verify_hours.max(1)) * 3_600_000;
    options.policy.prefix_rate = settings.prefix_rate;
    options.plans = settings.roles.contains(&Role::Planner);
    options.shared = state.shared;
    options.shards = state.shards;
    if let Some(cql) = &state.cql {
        options.metrics.show_cql(cql.clone());
    }
    Pins::start(Arc::clone(&state.store), bus, options)
}
