//! Heads by gossip: what the newest commit of a repository is, told to all who listen to its topic. A message is the commit's
//! block, which the account's key has signed, so it may go any way.

use std::collections::BTreeSet;
use std::time::Duration;

use tokio::task::JoinHandle;
use tokio::time::sleep;
use ues_p2p::Network;
use ues_p2p::network::MAX_TOPIC_BYTES;
use ues_repo::repo::event::LogEvent;
use ues_repo::syntax::Did;
use ues_storage::{Event, StorageError, Store};

use super::readers::Readers;

/// Commits of one repository that follow each other within this time are told as one.
const GATHER: Duration = Duration::from_millis(50);
/// Events that are read at a time, and their bytes.
const SLICE: (usize, usize) = (1024, 4 << 20);
/// Repositories whose heads are told at a time; of more, those that come later are told with their next commit.
const MAX_TOLD: usize = 256;

/// The topic of a repository; none for a DID that is too long for one.
pub(in crate::node) fn topic(repo: &Did) -> Option<String> {
    let topic = format!("/ues/heads/1/{repo}");
    (topic.len() <= MAX_TOPIC_BYTES).then_some(topic)
}

/// Tells the newest commit of a repository, if everybody may read it here. That nobody listens is no error.
pub(in crate::node) async fn tell(network: &Network, readers: &Readers, repo: &Did) {
    let (of, did) = (readers.clone(), repo.clone());
    let commit = tokio::task::spawn_blocking(move || of.public_commit(&did)).await;
    let (Ok(Ok(Some(commit))), Some(topic)) = (commit, topic(repo)) else {
        return;
    };
    if let Err(error) = network.publish(&topic, commit).await {
        tracing::debug!(%repo, %error, "a head was told to nobody");
    }
}

/// The work for this node's own accounts, which ends when this is dropped.
pub(super) struct Telling(JoinHandle<()>);

impl Telling {
    /// Begins with what is written from now on.
    pub fn start(network: Network, readers: Readers) -> Self {
        Self(tokio::spawn(run(network, readers)))
    }
}

impl Drop for Telling {
    fn drop(&mut self) {
        self.0.abort();
    }
}

async fn run(network: Network, readers: Readers) {
    let store = readers.ctx().store.clone();
    let mut durable = store.log().subscribe();
    let mut told = *durable.borrow_and_update();
    while durable.changed().await.is_ok() {
        sleep(GATHER).await;
        let newest = *durable.borrow_and_update();
        // Without anybody there, what was written costs nothing.
        if !network.watch().borrow().peers.is_empty() {
            let (store, from) = (store.clone(), told);
            let changed = tokio::task::spawn_blocking(move || changed(&store, from, newest));
            match changed.await {
                Ok(Ok(repos)) => {
                    for repo in &repos {
                        tell(&network, &readers, repo).await;
                    }
                }
                Ok(Err(error)) => tracing::warn!(%error, "what was written cannot be told"),
                Err(_) => return,
            }
        }
        told = newest;
    }
}

/// The repositories that have other commits since an event.
fn changed(store: &Store, after: u64, until: u64) -> Result<BTreeSet<Did>, StorageError> {
    let (mut after, mut repos) = (after, BTreeSet::new());
    while after < until && repos.len() < MAX_TOLD {
        let events = store.log().read(after, SLICE.0, SLICE.1)?;
        let Some(last) = events.last() else { break };
        after = last.seq;
        repos.extend(events.iter().filter_map(repository));
    }
    Ok(repos)
}

fn repository(event: &Event) -> Option<Did> {
    match LogEvent::decode(&event.payload) {
        Ok(LogEvent::Commit(commit)) => Some(commit.repo),
        Ok(LogEvent::Sync { did, .. }) => Some(did),
        _ => None,
    }
}
