//! Mirrors: copies of repositories that live elsewhere, kept current for as long as the node runs.

mod app;
mod blobs;
mod fetch;
mod follow;
mod heads;
mod keep;
mod peers;
mod server;

use std::collections::{HashMap, HashSet};
use std::sync::Arc;

use parking_lot::Mutex;
use serde::Serialize;
use tokio::sync::{Notify, Semaphore};
use tokio::task::JoinHandle;
use ues_atproto::Context;
use ues_repo::repo::mirror::Mirrors;
use ues_repo::syntax::Did;

use super::network::PeerNetwork;
use server::Servers;

pub use app::MirrorApp;

/// Copies that are fetched at a time.
const FETCHING: usize = 4;

/// The mirrors of a node. Cheap to clone.
#[derive(Clone)]
pub struct Mirroring(Arc<Parts>);

struct Parts {
    ctx: Context,
    network: PeerNetwork,
    servers: Servers,
    room: Semaphore,
    /// One at a time takes a step or frees what is not needed any more.
    steps: tokio::sync::Mutex<()>,
    now: Mutex<HashMap<Did, Arc<Now>>>,
    /// Servers whose event stream is open.
    followed: Mutex<HashSet<String>>,
    /// The list of mirrors has changed.
    changed: Notify,
    work: Mutex<Option<JoinHandle<()>>>,
}

/// What goes on with one mirror.
#[derive(Default)]
struct Now {
    /// One update at a time.
    alone: tokio::sync::Mutex<()>,
    /// There may be something new.
    hint: Notify,
    told: Mutex<Told>,
    heads: Mutex<heads::Heads>,
}

/// What is shown of it.
#[derive(Clone, Debug, Default, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Told {
    /// From whom something is coming.
    pub fetching: Option<String>,
    /// Blocks that came in this update.
    pub blocks: u64,
    /// Their bytes.
    pub bytes: u64,
    /// Why the last try came to nothing.
    pub trouble: Option<String>,
    /// When it is tried again by itself, milliseconds since 1970.
    pub next_ms: Option<u64>,
}

impl Mirroring {
    /// Opens the mirrors of a node.
    pub fn open(ctx: &Context, network: &PeerNetwork) -> Self {
        let private = ctx.config.proxy.allow_private_addresses;
        Self(Arc::new(Parts {
            ctx: ctx.clone(),
            network: network.clone(),
            servers: Servers::new(private),
            room: Semaphore::new(FETCHING),
            steps: tokio::sync::Mutex::new(()),
            now: Mutex::default(),
            followed: Mutex::default(),
            changed: Notify::new(),
            work: Mutex::default(),
        }))
    }

    /// Its routes, for who shows the operator's secret.
    pub fn app(&self, secret: &str) -> MirrorApp {
        MirrorApp::new(self.clone(), secret)
    }

    /// Keeps all mirrors current until it is stopped.
    pub fn serve(&self) {
        let work = tokio::spawn(self.clone().keep_all());
        if let Some(before) = self.0.work.lock().replace(work) {
            before.abort();
        }
    }

    /// Ends it.
    pub fn stop(&self) {
        if let Some(work) = self.0.work.lock().take() {
            work.abort();
        }
    }

    fn mirrors(&self) -> &Mirrors {
        &self.0.ctx.mirrors
    }

    fn now(&self, did: &Did) -> Arc<Now> {
        Arc::clone(self.0.now.lock().entry(did.clone()).or_default())
    }

    /// There may be something new.
    pub(super) fn hint(&self, did: &Did) {
        let now = self.0.now.lock().get(did).cloned();
        if let Some(now) = now {
            now.hint.notify_one();
        }
    }
}

/// Runs what blocks on the disk.
fn blocking<T>(work: impl FnOnce() -> T) -> T {
    tokio::task::block_in_place(work)
}
