//! Keeping mirrors current: an update when an event or a peer tells of something new, else from time to time.

use std::collections::HashMap;
use std::time::Duration;

use tokio::task::JoinHandle;
use tokio::time::sleep;
use ues_p2p::backoff::Backoff;
use ues_repo::repo::mirror::Mirror;
use ues_repo::syntax::Did;

use super::Mirroring;
use super::fetch::{Outcome, now_ms};

/// How often it is looked whether the list of mirrors has changed without a word.
const LOOK_EVERY: Duration = Duration::from_secs(60);
/// The pause before a mirror is asked for again while nobody tells of changes, and the longest; it doubles as long as
/// there is nothing new.
const POLL: [Duration; 2] = [Duration::from_secs(15), Duration::from_secs(600)];
/// The same while an event stream tells.
const FOLLOWED_POLL: Duration = Duration::from_secs(900);
/// After a word of something new more may follow.
const SETTLE: Duration = Duration::from_millis(50);
/// After a failure: the first pause and the longest.
const AGAIN: Backoff = Backoff {
    first: Duration::from_secs(2),
    longest: Duration::from_secs(300),
};

/// Tasks that end with whoever started them.
struct Tasks<K>(HashMap<K, JoinHandle<()>>);

impl<K> Drop for Tasks<K> {
    fn drop(&mut self) {
        self.0.values().for_each(JoinHandle::abort);
    }
}

impl<K: std::hash::Hash + Eq + Clone> Tasks<K> {
    fn none() -> Self {
        Self(HashMap::new())
    }

    /// Ends those that are not wanted, starts those that are missing.
    fn adjust(&mut self, wanted: &[K], start: impl Fn(K) -> JoinHandle<()>) {
        self.0.retain(|key, task| {
            let stays = wanted.contains(key);
            if !stays {
                task.abort();
            }
            stays
        });
        for key in wanted {
            if !self.0.contains_key(key) {
                self.0.insert(key.clone(), start(key.clone()));
            }
        }
    }
}

impl Mirroring {
    pub(super) async fn keep_all(self) {
        self.tidy().await;
        let (mut kept, mut followed) = (Tasks::none(), Tasks::none());
        let mut heard = Tasks::none();
        loop {
            let rows = match self.mirrors().list() {
                Ok(rows) => rows,
                Err(error) => {
                    tracing::error!(%error, "the list of mirrors cannot be read");
                    return;
                }
            };
            let dids: Vec<Did> = rows.iter().map(|row| row.did.clone()).collect();
            kept.adjust(&dids, |did| tokio::spawn(self.clone().keep(did)));
            heard.adjust(&dids, |did| tokio::spawn(self.clone().listen(did)));
            let mut servers: Vec<String> = rows.into_iter().filter_map(|row| row.server).collect();
            servers.sort_unstable();
            servers.dedup();
            followed.adjust(&servers, |server| tokio::spawn(self.clone().follow(server)));
            tokio::select! {
                () = self.0.changed.notified() => {}
                () = sleep(LOOK_EVERY) => {}
            }
        }
    }

    async fn keep(self, did: Did) {
        let now = self.now(&did);
        let (mut failures, mut pause) = (0, POLL[0]);
        loop {
            let known = self.server_of(&did);
            let outcome = self.refresh(&did).await;
            let row = self.mirrors().get(&did).ok().flatten();
            let Some(row) = row else { return };
            if row.server != known {
                self.0.changed.notify_one();
            }
            let wait = match outcome {
                Ok(outcome) => {
                    failures = 0;
                    pause = match outcome {
                        Outcome::Same => (2 * pause).min(POLL[1]),
                        Outcome::Updated(_) => POLL[0],
                    };
                    if row.blobs {
                        self.fetch_blobs(&row).await;
                    }
                    match self.is_followed(&row) {
                        true => FOLLOWED_POLL,
                        false => pause,
                    }
                }
                Err(trouble) => {
                    tracing::debug!(%did, %trouble, "a mirror was not updated");
                    failures += 1;
                    AGAIN.delay(failures, getrandom::u64().unwrap_or_default())
                }
            };
            now.told.lock().next_ms = Some(now_ms() + wait.as_millis() as u64);
            tokio::select! {
                () = now.hint.notified() => sleep(SETTLE).await,
                () = sleep(wait) => {}
            }
        }
    }

    fn server_of(&self, did: &Did) -> Option<String> {
        let row = self.mirrors().get(did).ok().flatten();
        row.and_then(|row| row.server)
    }

    /// Whether the event stream of the account's server is open.
    pub(super) fn is_followed(&self, row: &Mirror) -> bool {
        let followed = self.0.followed.lock();
        row.server.as_ref().is_some_and(|s| followed.contains(s))
    }
}
