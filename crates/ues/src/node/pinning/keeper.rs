//! The worker of this process, and what it keeps content in.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use tokio_util::sync::CancellationToken;
use ues_bus::Bus;
use ues_pins::PeerId;
use ues_pins::intake::Intake;
use ues_pins::ipfs_proxy::Upstream;
use ues_storage::Store;
use ues_worker::backend::Backend;
use ues_worker::embedded::{EmbeddedOptions, Fetcher};
use ues_worker::{Agent, AgentOptions, EmbeddedBackend, KuboBackend, KuboOptions};

use super::{PinningError, callers, cannot};
use crate::config::{Config, PinBackend};

/// Tasks that the embedded worker does in one go.
const EMBEDDED_GROUP: usize = 500;
/// Tasks that a Kubo does in one call.
const KUBO_GROUP: usize = 50;
/// How often content is looked for that nobody pinned.
const SWEEP: Duration = Duration::from_secs(300);

/// Where this process keeps content, as each of those who work with it sees it.
#[derive(Default)]
pub struct Content {
    kubo: Option<Arc<KuboBackend>>,
    /// The node's own content store, if content is kept there.
    pub embedded: Option<EmbeddedBackend>,
}

impl Content {
    /// Opens it. A process without a worker keeps nothing itself, but can bring content to its Kubo.
    ///
    /// # Errors
    /// [`PinningError`].
    pub fn open(
        store: Store,
        config: &Config,
        works: bool,
        fetcher: Arc<dyn Fetcher>,
    ) -> Result<Self, PinningError> {
        match config.pins.backend {
            PinBackend::Embedded if works => {
                let options = EmbeddedOptions {
                    folder: Some(config.data.clone()),
                    ..EmbeddedOptions::default()
                };
                let embedded = EmbeddedBackend::open(store, options).map_err(cannot)?;
                Ok(Self {
                    kubo: None,
                    embedded: Some(embedded.with_fetcher(fetcher)),
                })
            }
            PinBackend::Embedded => Ok(Self::default()),
            PinBackend::Kubo => {
                let options = KuboOptions::new(&config.pins.kubo_api).map_err(cannot)?;
                let kubo = KuboBackend::new(options).map_err(cannot)?;
                Ok(Self {
                    kubo: Some(Arc::new(kubo)),
                    embedded: None,
                })
            }
        }
    }

    /// Where content is brought.
    pub fn intake(&self) -> Option<Arc<dyn Intake>> {
        if let Some(kubo) = &self.kubo {
            return Some(kubo.clone());
        }
        let embedded = self.embedded.clone()?;
        Some(Arc::new(embedded))
    }

    /// Where calls to a Kubo are passed on.
    pub fn upstream(&self) -> Option<Arc<dyn Upstream>> {
        let kubo = self.kubo.clone()?;
        Some(kubo)
    }
}

/// A worker.
pub struct Keeper {
    pub agent: Agent,
}

impl Keeper {
    /// Starts it.
    ///
    /// # Errors
    /// [`PinningError`].
    pub fn start(
        content: Content,
        config: &Config,
        id: PeerId,
        bus: Arc<dyn Bus>,
    ) -> Result<Self, PinningError> {
        let settings = &config.pins;
        let exclusive = content.embedded.is_some();
        let (backend, group): (Arc<dyn Backend>, _) = match (content.kubo, content.embedded) {
            (Some(kubo), _) => (kubo, KUBO_GROUP),
            (None, Some(embedded)) => (Arc::new(embedded), EMBEDDED_GROUP),
            (None, None) => {
                return Err(PinningError(
                    "a worker needs a place for content".to_owned(),
                ));
            }
        };
        let options = AgentOptions {
            name: name(&settings.worker_name),
            tags: tags(&settings.worker_tags)?,
            group,
            exclusive,
            ..AgentOptions::new(id)
        };
        let agent = Agent::start(backend, bus, options);
        Ok(Self { agent })
    }
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
