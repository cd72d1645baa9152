//! What every part of the server works with.

use std::error::Error;
use std::net::IpAddr;
use std::ops::Deref;
use std::sync::Arc;
use std::time::{SystemTime, UNIX_EPOCH};

use http::{Extensions, HeaderMap};
use ues_access::ReadRules;
use ues_data::{Cid, Multihash, content_id};
use ues_repo::lexicon::Lexicons;
use ues_repo::repo::mirror::Mirrors;
use ues_repo::repo::write::RecordPath;
use ues_repo::repo::{Archives, Repositories};
use ues_repo::syntax::{Did, TidClock};
use ues_storage::Store;

use crate::accounts::{
    AccountKeys, Accounts, AppPasswords, Invites, MailTokens, Passkeys, Passwords, RecoveryCodes,
    Seal, Sessions, Totps,
};
use crate::census::Census;
use crate::config::Config;
use crate::firehose::Hub;
use crate::identity::Identities;
use crate::labels::Labels;
use crate::limits::{self, Limiter};
use crate::log_readers::LogReaders;
use crate::mail::Outbox;
use crate::moderation::{Act, Journal, Report, Takedowns, Target, Withheld};
use crate::node_keys::Admins;
use crate::oauth::OAuth;
use crate::preferences::Preferences;
use crate::proxy::Clients;
use crate::remote_blobs::RemoteBlobs;
use crate::suspensions::Suspensions;
use crate::xrpc::Uses;

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
    /// Archives of them that are being read.
    pub archives: Archives,
    /// Copies of repositories that live elsewhere.
    pub mirrors: Mirrors,
    /// Who may read which repository over the network.
    pub read_rules: ReadRules,
    /// The lexicons at hand.
    pub lexicons: Lexicons,
    /// The accounts.
    pub accounts: Arc<Accounts>,
    /// Their sessions.
    pub sessions: Sessions,
    /// How often tokens of others were used.
    pub token_uses: Uses,
    /// What apps keep for them.
    pub preferences: Preferences,
    /// Password hashing.
    pub passwords: Passwords,
    /// The authorisation server for applications.
    pub oauth: OAuth,
    /// Passwords that owners gave to programs.
    pub app_passwords: AppPasswords,
    /// Tokens that went out by mail.
    pub mail_tokens: MailTokens,
    /// Codes of authenticators.
    pub totps: Totps,
    /// What stands in for a lost authenticator.
    pub recovery: RecoveryCodes,
    /// Keys that sign in instead of a password.
    pub passkeys: Passkeys,
    /// Invite codes.
    pub invites: Arc<Invites>,
    /// Mail that goes out.
    pub outbox: Outbox,
    /// What keeps small secrets in the store.
    pub seal: Seal,
    /// Who administers the node.
    pub admins: Admins,
    /// What is taken down within repositories.
    pub takedowns: Arc<Takedowns>,
    /// When suspensions of accounts end.
    pub suspensions: Suspensions,
    /// Whose past the event stream does not tell any more.
    pub withheld: Arc<Withheld>,
    /// Labels that the node has made.
    pub labels: Labels,
    /// What was reported.
    pub reports: Journal<Report>,
    /// What those who administer the node did.
    pub acts: Journal<Act>,
    /// Their signing keys.
    pub keys: Arc<AccountKeys>,
    /// Signing keys of accounts to come.
    pub reserved_keys: AccountKeys,
    /// DIDs and handles, here and elsewhere.
    pub identities: Identities,
    /// The way to other services.
    pub proxy: Clients,
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
    /// The address that a request comes from, through proxies that are believed.
    pub fn client_ip(&self, extensions: &Extensions, headers: &HeaderMap) -> IpAddr {
        limits::client_ip(extensions, headers, self.limiter.trusted())
    }

    /// Whether the operator has taken down a blob or a record of an account, by its hash. What cannot be told is.
    pub fn is_taken_down(&self, did: &Did, mh: &Multihash) -> bool {
        self.find_taken_down(did, mh).unwrap_or_else(|cause| {
            tracing::error!(%did, %cause, "takedowns cannot be read");
            true
        })
    }

    fn find_taken_down(&self, did: &Did, mh: &Multihash) -> Result<bool, Box<dyn Error>> {
        if !self.takedowns.concern(did) {
            return Ok(false);
        }
        let blob = Target::Blob(Cid::new_v1(content_id::RAW, *mh));
        if self.takedowns.get(did, &blob)?.is_some() {
            return Ok(true);
        }
        for path in self.takedowns.records(did)? {
            let path = RecordPath::parse(&path)?;
            for repos in [&self.repos, self.mirrors.repos()] {
                let record = repos.get_record(did, &path)?;
                if record.is_some_and(|record| record.cid.hash() == mh) {
                    return Ok(true);
                }
            }
        }
        Ok(false)
    }

    /// The time in milliseconds since 1970.
    pub fn now_ms(&self) -> u64 {
        let since = SystemTime::now()
            .duration_since(UNIX_EPOCH)
            .unwrap_or_default();
        since.as_millis() as u64
    }
}
