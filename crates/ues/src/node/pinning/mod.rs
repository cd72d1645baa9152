//! The pin service within the node: state store, bus, planner, worker and interfaces put together.

mod app;
mod callers;
mod content;
mod failures;
mod keys;
mod listeners;
mod page;
mod workers;

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use tokio_util::sync::CancellationToken;

use ues_access::Access;
use ues_bus::{Bus, EmbeddedBus, EmbeddedOptions, NatsBus, NatsOptions};
use ues_pins::service::Options;
use ues_pins::store::EmbeddedStore;
use ues_pins::tasks::Tasks;
use ues_pins::{PeerId, Pins};
use ues_storage::Store;
use ues_worker::backend::Backend;
use ues_worker::embedded::EmbeddedOptions as ContentOptions;
use ues_worker::{Agent, AgentOptions, EmbeddedBackend, KuboBackend, KuboOptions};

use crate::config::{Config, PinBackend, Role};

pub use app::PinningApp;
pub use listeners::Listeners;

/// Tasks that the embedded worker does in one go.
const EMBEDDED_GROUP: usize = 500;

/// Tasks that a Kubo does in one call.
const KUBO_GROUP: usize = 50;

/// How often content is looked for that nobody pinned.
const SWEEP: Duration = Duration::from_secs(300);

/// Why the pin service cannot start.
#[derive(Debug, thiserror::Error)]
#[error("the pin service cannot start: {0}")]
pub struct PinningError(String);

fn cannot(error: impl std::fmt::Display) -> PinningError {
    PinningError(error.to_string())
}

/// The pin service of a node.
pub struct Pinning {
    parts: Option<Parts>,
}

/// What its interfaces work with.
#[derive(Clone)]
pub struct Parts {
    pins: Pins,
    agent: Option<Agent>,
    content: Option<EmbeddedBackend>,
    access: Access,
    secret: Arc<str>,
    cluster_listen: String,
    api: bool,
    metrics: bool,
    failures: failures::Failures,
    tasks: Tasks,
}

impl Pinning {
    /// Starts it, as far as this process has a role in it.
    ///
    /// # Errors
    /// [`PinningError`].
    pub async fn open(
        store: Store,
        config: &Config,
        worker: PeerId,
        secret: &str,
    ) -> Result<Self, PinningError> {
        let settings = &config.pins;
        if settings.roles.is_empty() {
            return Ok(Self { parts: None });
        }
        let has = |role| settings.roles.contains(&role);
        let bus: Arc<dyn Bus> = if settings.bus == "embedded" {
            EmbeddedBus::open(store.clone(), EmbeddedOptions::default()).map_err(cannot)?
        } else {
            let options = NatsOptions {
                urls: settings.bus.split(',').map(str::to_owned).collect(),
                ..NatsOptions::default()
            };
            NatsBus::connect(options).await.map_err(cannot)?
        };
        let state = Arc::new(EmbeddedStore::open(store.clone()).map_err(cannot)?);
        // The folder belongs to one process, so that whoever opens it is the same planner as before.
        let mut options = Options::new("embedded".to_owned());
        let copies = |n: u32| i32::try_from(n.max(1)).unwrap_or(i32::MAX);
        options.policy.replication_min = copies(settings.replication_min);
        options.policy.replication_max =
            copies(settings.replication_max.max(settings.replication_min));
        options.plans = has(Role::Planner);
        let pins = Pins::start(state, Arc::clone(&bus), options);
        let content = match settings.backend {
            PinBackend::Embedded => {
                let options = ContentOptions {
                    folder: Some(config.data.clone()),
                    ..ContentOptions::default()
                };
                Some(EmbeddedBackend::open(store.clone(), options).map_err(cannot)?)
            }
            PinBackend::Kubo => None,
        };
        let agent = if has(Role::Worker) {
            let (backend, group): (Arc<dyn Backend>, _) = match &content {
                Some(embedded) => (Arc::new(embedded.clone()), EMBEDDED_GROUP),
                None => {
                    let kubo = KuboOptions::new(&settings.kubo_api).map_err(cannot)?;
                    (
                        Arc::new(KuboBackend::new(kubo).map_err(cannot)?),
                        KUBO_GROUP,
                    )
                }
            };
            let options = AgentOptions {
                name: worker_name(&settings.worker_name),
                tags: tags(&settings.worker_tags)?,
                group,
                exclusive: content.is_some(),
                ..AgentOptions::new(worker)
            };
            Some(Agent::start(backend, bus, options))
        } else {
            None
        };
        let tasks = Tasks::default();
        let failures = failures::Failures::default();
        let stop = tasks.stop_token().clone();
        tasks.spawn(failures.clone().follow(pins.watch(), stop));
        if let Some(content) = &content {
            tasks.spawn(sweep(content.clone(), tasks.stop_token().clone()));
        }
        let access = Access::open(&store).await.map_err(cannot)?;
        Ok(Self {
            parts: Some(Parts {
                pins,
                agent,
                content,
                access,
                secret: secret.into(),
                cluster_listen: settings.cluster_listen.clone(),
                api: has(Role::Api),
                metrics: settings.metrics,
                failures,
                tasks,
            }),
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

    /// Ends its work.
    pub async fn stop(&self) {
        let Some(parts) = &self.parts else { return };
        if let Some(agent) = &parts.agent {
            agent.stop().await;
        }
        parts.pins.stop().await;
        parts.tasks.stop().await;
    }
}

/// Releases content that was brought here and that nobody pinned in time.
async fn sweep(content: EmbeddedBackend, stop: CancellationToken) {
    loop {
        if let Err(error) = content.sweep(callers::now_ms()).await {
            tracing::warn!(%error, "content that nobody pinned cannot be released yet");
        }
        tokio::select! {
            () = stop.cancelled() => return,
            () = tokio::time::sleep(SWEEP) => {}
        }
    }
}

fn tags(list: &[String]) -> Result<BTreeMap<String, String>, PinningError> {
    let pair = |text: &String| {
        let (key, value) = text.split_once('=').ok_or_else(|| {
            PinningError(format!(
                "pins.worker_tags: KEY=VALUE expected, found {text:?}"
            ))
        })?;
        Ok((key.trim().to_owned(), value.trim().to_owned()))
    };
    list.iter().map(pair).collect()
}

fn worker_name(configured: &str) -> String {
    if !configured.is_empty() {
        return configured.to_owned();
    }
    let name = std::fs::read_to_string("/proc/sys/kernel/hostname").unwrap_or_default();
    let name = name.trim();
    if name.is_empty() { "worker" } else { name }.to_owned()
}
