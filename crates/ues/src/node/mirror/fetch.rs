//! One update of a mirror: from the account's server, or from whichever peer has it.

use std::time::{SystemTime, UNIX_EPOCH};

use bytes::Bytes;
use ues_atproto::IdentityError;
use ues_data::Cid;
use ues_repo::crypto::VerifyingKey;
use ues_repo::identity::resolver::ResolveError;
use ues_repo::repo::commit::CommitError;
use ues_repo::repo::mirror::{Judged, Mirror, MirrorError, Refusal, Refused, Taken, Update, judge};
use ues_repo::syntax::Did;

use super::server::{Server, ServerError};
use super::{Mirroring, Told, blocking};

/// How often an update is begun anew because the repository has moved on meanwhile.
const TRIES: usize = 5;
/// Blocks of one question over HTTP: they stand in the address.
const ASKED: usize = 100;
/// Questions after which what is missing is had with the whole repository.
const QUESTIONS: usize = 20;
/// How often is written down that there was nothing new, in milliseconds.
const NOTE_EVERY: u64 = 60_000;

/// What came of an update.
#[derive(Clone, Copy, Debug)]
pub(super) enum Outcome {
    /// Nothing new.
    Same,
    /// The copy was moved.
    Updated(Taken),
}

/// Why nothing came of it.
#[derive(Debug, thiserror::Error)]
pub(super) enum Trouble {
    /// Nobody has it, or answers.
    #[error("{0}")]
    Unavailable(String),
    /// What a source has is not to be believed, or too much.
    #[error("{why} (from {source_name})")]
    Refused { why: String, source_name: String },
    /// The source has something newer by now.
    #[error("the repository changes faster than it can be fetched")]
    Moved,
}

impl Trouble {
    pub fn refused(why: impl std::fmt::Display, source: &str) -> Self {
        Self::Refused {
            why: why.to_string(),
            source_name: source.to_owned(),
        }
    }
}

/// An error of the copy itself: what came is bad, or the store failed.
pub(super) fn taking(error: MirrorError, source: &str) -> Trouble {
    match error {
        MirrorError::Verify(_) | MirrorError::TooLarge { .. } => Trouble::refused(error, source),
        _ => Trouble::Unavailable(error.to_string()),
    }
}

pub(super) fn now_ms() -> u64 {
    let now = SystemTime::now().duration_since(UNIX_EPOCH);
    now.unwrap_or_default().as_millis() as u64
}

impl Mirroring {
    /// Brings a mirror up to date.
    pub(super) async fn refresh(&self, did: &Did) -> Result<Outcome, Trouble> {
        let now = self.now(did);
        let _alone = now.alone.lock().await;
        let _room = self.0.room.acquire().await;
        let outcome = self.refresh_alone(did).await;
        *now.told.lock() = Told {
            trouble: outcome.as_ref().err().map(ToString::to_string),
            ..Told::default()
        };
        outcome
    }

    async fn refresh_alone(&self, did: &Did) -> Result<Outcome, Trouble> {
        let unavailable = |e: &dyn std::fmt::Display| Trouble::Unavailable(e.to_string());
        let row = self.mirrors().get(did).map_err(|e| unavailable(&e))?;
        let mut row = row.ok_or_else(|| unavailable(&MirrorError::NotMirrored(did.clone())))?;
        let key = self.identify(&mut row, false).await?;
        let mut outcome = match row.server.clone() {
            Some(address) => self.ask_server(&mut row, &key, &address).await,
            None => Err(Trouble::Unavailable(format!(
                "the DID document of {did} names no server"
            ))),
        };
        if let Err(Trouble::Unavailable(why)) = &outcome
            && row.is_active()
        {
            outcome = match self.ask_peers(&mut row, &key).await {
                Err(Trouble::Unavailable(also)) => {
                    Err(Trouble::Unavailable(format!("{why}; {also}")))
                }
                other => other,
            };
        }
        match &outcome {
            Ok(Outcome::Updated(_)) => {
                self.tell_head(did).await;
                self.tidy().await;
            }
            Err(Trouble::Refused { why, source_name }) => {
                row.refused = Some(Refusal {
                    why: why.clone(),
                    source: source_name.clone(),
                    at_ms: now_ms(),
                });
                self.keep_row(&mut row).await?;
            }
            _ => {}
        }
        outcome
    }

    /// What the operator wants of the mirror may have changed since its row was read.
    fn as_wanted(&self, row: &mut Mirror) -> Result<(), Trouble> {
        let now = self.mirrors().get(&row.did);
        if let Some(now) = now.map_err(|e| Trouble::Unavailable(e.to_string()))? {
            (row.blobs, row.max_bytes, row.peers) = (now.blobs, now.max_bytes, now.peers);
        }
        Ok(())
    }

    async fn keep_row(&self, row: &mut Mirror) -> Result<(), Trouble> {
        self.as_wanted(row)?;
        let kept = self.mirrors().put(row).await;
        kept.map_err(|e| Trouble::Unavailable(e.to_string()))
    }

    /// Frees what is not needed any more.
    pub(super) async fn tidy(&self) {
        let _steps = self.0.steps.lock().await;
        if let Err(error) = blocking(|| self.mirrors().tidy()) {
            tracing::warn!(%error, "what mirrors do not need any more is not freed");
        }
    }

    /// The account's key, and what else its DID document says. While the directory cannot be reached, what it said last
    /// holds, unless it has to be `fresh`.
    async fn identify(&self, row: &mut Mirror, fresh: bool) -> Result<VerifyingKey, Trouble> {
        let identities = &self.0.ctx.identities;
        let document = match fresh {
            true => identities.refresh_document(&row.did).await,
            false => identities.did_document(&row.did).await,
        };
        let cannot = |e: &dyn std::fmt::Display| Trouble::Unavailable(e.to_string());
        let document = match (document, &row.key) {
            (Ok(document), _) => document,
            (
                Err(
                    IdentityError::Unreachable(_)
                    | IdentityError::Resolve(ResolveError::Unreachable { .. }),
                ),
                Some(key),
            ) => return VerifyingKey::from_did_key(key).map_err(|e| cannot(&e)),
            (Err(e), _) => return Err(cannot(&e)),
        };
        let key = document.signing_key().map_err(|e| cannot(&e))?;
        row.key = Some(key.did_key());
        row.server = document.pds_endpoint().map(str::to_owned);
        row.handle = document.handle().map(|handle| handle.to_string());
        Ok(key)
    }

    /// Judges the block of a commit. If the signature does not hold, the key may be a new one.
    pub(super) async fn judge(
        &self,
        row: &mut Mirror,
        key: &VerifyingKey,
        block: &Bytes,
        source: &str,
    ) -> Result<Judged, Trouble> {
        let head = self.mirrors().repos().head(&row.did);
        let head = head.map_err(|e| Trouble::Unavailable(e.to_string()))?;
        let now = now_ms().saturating_mul(1000);
        let mut judged = judge(&row.did, key, head.as_ref(), block, now);
        if let Err(Refused::Commit(CommitError::BadSignature { .. })) = &judged
            && let Ok(fresh) = self.identify(row, true).await
            && fresh.did_key() != key.did_key()
        {
            judged = judge(&row.did, &fresh, head.as_ref(), block, now);
        }
        judged.map_err(|why| Trouble::refused(why, source))
    }

    async fn ask_server(
        &self,
        row: &mut Mirror,
        key: &VerifyingKey,
        address: &str,
    ) -> Result<Outcome, Trouble> {
        let server = self.0.servers.at(address);
        let server = server.map_err(|e| Trouble::Unavailable(e.to_string()))?;
        for _ in 0..TRIES {
            match self.try_server(row, key, &server).await {
                Err(Trouble::Moved) => {}
                other => return other,
            }
        }
        Err(Trouble::Moved)
    }

    async fn try_server(
        &self,
        row: &mut Mirror,
        key: &VerifyingKey,
        server: &Server,
    ) -> Result<Outcome, Trouble> {
        let did = row.did.clone();
        let source = server.address();
        let head = self.mirrors().repos().head(&did);
        let head = head.map_err(|e| Trouble::Unavailable(e.to_string()))?;
        let (cid, rev) = match server.latest(&did).await {
            Ok(latest) => latest,
            Err(e) => return Err(self.not_served(row, e).await),
        };
        if let Some(head) = &head {
            if head.commit == cid {
                return self.nothing_new(row, source).await;
            }
            if rev < head.rev {
                let why = Refused::Rollback {
                    here: head.rev,
                    found: rev,
                };
                return Err(Trouble::refused(why, source));
            }
        }
        let commit = server.blocks(&did, &[cid]).await.map_err(moved)?;
        let (_, block) = commit.first().ok_or(Trouble::Moved)?;
        let offered = match self.judge(row, key, block, source).await? {
            Judged::Newer(offered) => *offered,
            Judged::Same => return self.nothing_new(row, source).await,
            Judged::Older(_) => return Err(Trouble::Moved),
        };
        self.begin(&did, source);
        let update = blocking(|| self.mirrors().update(row, offered));
        let mut update = update.map_err(|e| taking(e, source))?;
        let since = head.map(|head| head.rev);
        let mut whole = false;
        if !update.goes_on() {
            whole = since.is_none();
            self.stream(&mut update, server, &did, since.as_ref())
                .await?;
        }
        let mut questions = 0;
        loop {
            let missing = blocking(|| update.missing(ASKED)).map_err(|e| taking(e, source))?;
            if missing.is_empty() {
                break;
            }
            questions += 1;
            if questions > QUESTIONS && !whole {
                whole = true;
                self.stream(&mut update, server, &did, None).await?;
                continue;
            }
            let blocks = server.blocks(&did, &missing).await.map_err(moved)?;
            self.take(&mut update, &did, blocks, source)?;
        }
        self.finish(row, update, source).await
    }

    async fn stream(
        &self,
        update: &mut Update,
        server: &Server,
        did: &Did,
        since: Option<&ues_repo::syntax::Tid>,
    ) -> Result<(), Trouble> {
        let now = self.now(did);
        let take = |cid, bytes| {
            update.take(cid, bytes)?;
            if update.is_full() {
                blocking(|| update.spill())?;
            }
            let taken = update.taken();
            let mut told = now.told.lock();
            (told.blocks, told.bytes) = (taken.blocks, taken.bytes);
            Ok(())
        };
        match server.repo(did, since, take).await {
            Ok(()) => Ok(()),
            Err(error) => {
                // What came is kept for the next try.
                blocking(|| update.spill()).map_err(|e| taking(e, server.address()))?;
                Err(match error {
                    ServerError::Taking(e) => taking(e, server.address()),
                    other => Trouble::Unavailable(other.to_string()),
                })
            }
        }
    }

    /// Takes blocks that were asked for. A source that gives none has something newer.
    pub(super) fn take(
        &self,
        update: &mut Update,
        did: &Did,
        blocks: Vec<(Cid, Bytes)>,
        source: &str,
    ) -> Result<(), Trouble> {
        if blocks.is_empty() {
            return Err(Trouble::Moved);
        }
        for (cid, bytes) in blocks {
            update.take(cid, bytes).map_err(|e| taking(e, source))?;
        }
        if update.is_full() {
            blocking(|| update.spill()).map_err(|e| taking(e, source))?;
        }
        let taken = update.taken();
        let now = self.now(did);
        let mut told = now.told.lock();
        (told.blocks, told.bytes) = (taken.blocks, taken.bytes);
        Ok(())
    }

    pub(super) fn begin(&self, did: &Did, source: &str) {
        *self.now(did).told.lock() = Told {
            fetching: Some(source.to_owned()),
            ..Told::default()
        };
    }

    /// Makes what came the copy.
    pub(super) async fn finish(
        &self,
        row: &mut Mirror,
        update: Update,
        source: &str,
    ) -> Result<Outcome, Trouble> {
        let now = now_ms();
        row.source = Some(source.to_owned());
        (row.checked_ms, row.updated_ms) = (Some(now), Some(now));
        (row.status, row.refused) = (None, None);
        self.as_wanted(row)?;
        let _steps = self.0.steps.lock().await;
        let taken = blocking(|| update.finish(row.clone())).map_err(|e| taking(e, source))?;
        tracing::info!(did = %row.did, source, blocks = taken.blocks, records = taken.records, "a mirror was updated");
        Ok(Outcome::Updated(taken))
    }

    pub(super) async fn nothing_new(
        &self,
        row: &mut Mirror,
        source: &str,
    ) -> Result<Outcome, Trouble> {
        let now = now_ms();
        let old = |at: u64| at.saturating_add(NOTE_EVERY) < now;
        let changed = row.status.is_some() || row.refused.is_some();
        if changed || row.checked_ms.is_none_or(old) {
            (row.status, row.refused) = (None, None);
            row.checked_ms = Some(now);
            if row.source.is_none() {
                row.source = Some(source.to_owned());
            }
            self.keep_row(row).await?;
        }
        Ok(Outcome::Same)
    }

    /// What the server says of the account holds here too.
    async fn not_served(&self, row: &mut Mirror, error: ServerError) -> Trouble {
        if let ServerError::Refused { name, .. } = &error {
            let status = match name.as_str() {
                "RepoTakendown" => Some("takendown"),
                "RepoSuspended" => Some("suspended"),
                "RepoDeactivated" => Some("deactivated"),
                _ => None,
            };
            if let Some(status) = status {
                row.status = Some(status.to_owned());
                if let Err(trouble) = self.keep_row(row).await {
                    return trouble;
                }
            }
        }
        Trouble::Unavailable(error.to_string())
    }
}

/// A server that has no block of a commit which it had just named has a newer one.
fn moved(error: ServerError) -> Trouble {
    match error {
        ServerError::Refused { .. } => Trouble::Moved,
        other => Trouble::Unavailable(other.to_string()),
    }
}
