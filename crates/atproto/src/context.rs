//! What every part of the server works with.

use std::ops::Deref;
use std::sync::Arc;
use std::time::{SystemTime, UNIX_EPOCH};

use ues_repo::lexicon::Lexicons;
use ues_repo::repo::Repositories;
use ues_repo::syntax::TidClock;
use ues_storage::Store;

use crate::accounts::{AccountKeys, Accounts, Passwords, Sessions};
use crate::census::Census;
use crate::config::Config;
use crate::firehose::Hub;
use crate::identity::Identities;
use crate::limits::Limiter;
use crate::log_readers::LogReaders;
use crate::remote_blobs::RemoteBlobs;

/// The parts of a running node. Cheap to clone.
#[derive(Clone)]
pub struct Context(Arc<Parts>);

/// See [`Context`].
#[non_exhaustive]
pub struct Parts {
    /// The configuration.
    pub config: Config,
    /// DID of the service.
    pub service_did: String,
    /// The store below everything.
    pub store: Store,
    /// The accounts' repositories.
    pub repos: Repositories,
    /// The lexicons at hand.
    pub lexicons: Lexicons,
    /// The accounts.
    pub accounts: Arc<Accounts>,
    /// Their sessions.
    pub sessions: Sessions,
    /// Password hashing.
    pub passwords: Passwords,
    /// Their signing keys.
    pub keys: Arc<AccountKeys>,
    /// DIDs and handles, here and elsewhere.
    pub identities: Identities,
    /// Rate limits.
    pub limiter: Limiter,
    /// The event stream.
    pub hub: Hub,
    /// Blobs that are on another device as yet.
    pub remote_blobs: RemoteBlobs,
    /// Who still needs the beginning of the event log.
    pub log_readers: LogReaders,
    /// Counts for the page.
    pub census: Census,
    /// Names for new records.
    pub clock: TidClock,
}

impl Context {
    pub(crate) fn new(parts: Parts) -> Self {
        Self(Arc::new(parts))
    }
}

impl Deref for Context {
    type Target = Parts;

    fn deref(&self) -> &Parts {
        &self.0
    }
}

impl Parts {
    /// The time in milliseconds since 1970.
    pub fn now_ms(&self) -> u64 {
        let since = SystemTime::now()
            .duration_since(UNIX_EPOCH)
            .unwrap_or_default();
        since.as_millis() as u64
    }
}
