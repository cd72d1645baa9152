//! The worker of this process, and what it keeps content in.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use tokio_util::sync::CancellationToken;
use ues_bus::Bus;
use ues_pins::PeerId;
use ues_storage::Store;
use ues_worker::backend::Backend;
use ues_worker::embedded::EmbeddedOptions;
use ues_worker::{Agent, AgentOptions, EmbeddedBackend, KuboBackend, KuboOptions};

use super::{PinningError, callers, cannot};
use crate::config::{Config, PinBackend, Pins};

/// Tasks that the embedded worker does in one go.
const EMBEDDED_GROUP: usize = 500;
/// Tasks that a Kubo does in one call.
const KUBO_GROUP: usize = 50;
/// How often content is looked for that nobody pinned.
const SWEEP: Duration = Duration::from_secs(300);

/// A worker.
pub struct Keeper {
    pub agent: Agent,
    /// The node's own content store, if it keeps content there.
    pub content: Option<EmbeddedBackend>,
}

impl Keeper {
    /// Starts it.
    ///
    /// # Errors
    /// [`PinningError`].
    pub fn start(
        store: Store,
        config: &Config,
        id: PeerId,
        bus: Arc<dyn Bus>,
    ) -> Result<Self, PinningError> {
        let settings = &config.pins;
        let content = match settings.backend {
            PinBackend::Embedded => {
                let options = EmbeddedOptions {
                    folder: Some(config.data.clone()),
                    ..EmbeddedOptions::default()
                };
                Some(EmbeddedBackend::open(store, options).map_err(cannot)?)
            }
            PinBackend::Kubo => None,
        };
        let (backend, group): (Arc<dyn Backend>, _) = match &content {
            Some(embedded) => (Arc::new(embedded.clone()), EMBEDDED_GROUP),
            None => (Arc::new(kubo(settings)?), KUBO_GROUP),
        };
        let options = AgentOptions {
            name: name(&settings.worker_name),
            tags: tags(&settings.worker_tags)?,
            group,
            exclusive: content.is_some(),
            ..AgentOptions::new(id)
        };
        let agent = Agent::start(backend, bus, options);
        Ok(Self { agent, content })
    }
}

fn kubo(settings: &Pins) -> Result<KuboBackend, PinningError> {
    let options = KuboOptions::new(&settings.kubo_api).map_err(cannot)?;
    KuboBackend::new(options).map_err(cannot)
}

/// Releases content that was brought here and that nobody pinned in time.
pub async fn sweep(content: EmbeddedBackend, stop: CancellationToken) {
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

fn name(configured: &str) -> String {
    if !configured.is_empty() {
        return configured.to_owned();
    }
    let name = std::fs::read_to_string("/proc/sys/kernel/hostname").unwrap_or_default();
    let name = name.trim();
    if name.is_empty() { "worker" } else { name }.to_owned()
}
