//! DIDs and handles: those made here and those of others.

use std::sync::Arc;
use std::time::Duration;

use serde_json::Value;
use ues_repo::crypto::{KeyError, SigningKey, VerifyingKey};
use ues_repo::identity::plc::directory::{Directory, DirectoryError, DirectoryOptions};
use ues_repo::identity::plc::{
    self, AccountIdentity, DocumentData, Operation, PlcError, PlcOperation,
};
use ues_repo::identity::resolver::http_client_builder;
use ues_repo::identity::{DidDocument, ResolveError, Resolver, ResolverOptions};
use ues_repo::syntax::{Did, Handle, Nsid};
use ues_storage::Store;

use crate::config::{Config, PlcMode};
use crate::xrpc::XrpcError;

/// How long a directory elsewhere may take to answer.
const PLC_TIMEOUT: Duration = Duration::from_secs(10);
/// Longest answer of a directory elsewhere that is read, in bytes.
const MAX_ANSWER: usize = 256 * 1024;

/// Why an identity cannot be made, changed or found.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum IdentityError {
    /// The operation breaks a rule.
    #[error(transparent)]
    Plc(#[from] PlcError),
    /// The node's own directory refuses, or failed.
    #[error(transparent)]
    Directory(#[from] DirectoryError),
    /// The directory elsewhere refuses.
    #[error("the directory refuses: {0}")]
    Refused(String),
    /// The directory elsewhere cannot be reached.
    #[error("the directory cannot be reached: {0}")]
    Unreachable(String),
    /// A key is no key.
    #[error("{0}")]
    Key(#[from] KeyError),
    /// A DID or handle of others cannot be resolved.
    #[error(transparent)]
    Resolve(#[from] ResolveError),
    /// Only did:plc can be changed from here.
    #[error("DID is not properly configured for handle")]
    NotOurs,
    /// The DID has ended.
    #[error("Did is tombstoned")]
    Tombstoned,
}

impl IdentityError {
    /// What a client is told.
    pub fn into_xrpc(self) -> XrpcError {
        match self {
            Self::NotOurs | Self::Tombstoned => XrpcError::invalid(self.to_string()),
            Self::Key(e) => XrpcError::invalid(e.to_string()),
            Self::Plc(e) => XrpcError::invalid(e.to_string()),
            Self::Refused(message) => XrpcError::invalid(message),
            Self::Directory(e) if e.status() < 500 => XrpcError::invalid(e.to_string()),
            Self::Unreachable(cause) => {
                tracing::warn!(%cause, "the did:plc directory cannot be reached");
                XrpcError::upstream("Unable to perform PLC operation")
            }
            other => XrpcError::internal(other),
        }
    }
}

enum Plc {
    Embedded(Directory),
    Elsewhere { url: String, http: reqwest::Client },
}

/// The identities that a node makes, and those that it looks up.
pub struct Identities {
    plc: Plc,
    rotation: SigningKey,
    recovery: Option<VerifyingKey>,
    endpoint: String,
    resolver: Resolver,
}

impl Identities {
    /// Opens the identities of a node.
    pub fn open(
        config: &Config,
        store: &Store,
        rotation: SigningKey,
    ) -> Result<Self, IdentityError> {
        let recovery = config
            .recovery_key
            .as_deref()
            .map(VerifyingKey::from_did_key);
        let mut options = ResolverOptions::default();
        options.dns_servers = config.dns_servers.clone();
        let plc = match &config.plc {
            PlcMode::Embedded => {
                let mut directory = DirectoryOptions::default();
                directory.rate_limits = config.rate_limits.enabled;
                let directory = Directory::open(store, directory)?;
                options.directory = Some(directory.clone());
                if config.hostname() == "localhost" {
                    // A node for oneself does not ask the world.
                    options.plc_url.clear();
                }
                Plc::Embedded(directory)
            }
            PlcMode::Url(url) => {
                let url = url.trim_end_matches('/').to_owned();
                options.plc_url = url.clone();
                let http = http_client_builder().timeout(PLC_TIMEOUT).build();
                let http = http.map_err(|e| IdentityError::Unreachable(e.to_string()))?;
                Plc::Elsewhere { url, http }
            }
        };
        let resolver = Resolver::new(options);
        let endpoint = config.endpoint().to_owned();
        Ok(Self {
            plc,
            rotation,
            recovery: recovery.transpose()?,
            endpoint,
            resolver,
        })
    }

    /// Resolves what others have published.
    pub fn resolver(&self) -> &Resolver {
        &self.resolver
    }

    /// The embedded directory, if this node has it.
    pub fn directory(&self) -> Option<&Directory> {
        match &self.plc {
            Plc::Embedded(directory) => Some(directory),
            Plc::Elsewhere { .. } => None,
        }
    }

    /// The did:key that signs operations for accounts of this node.
    pub fn rotation_key(&self) -> String {
        self.rotation.did_key()
    }

    /// Makes and registers a DID for a new account.
    pub async fn create(
        &self,
        handle: &Handle,
        signing_key: &SigningKey,
        recovery_key: Option<&str>,
    ) -> Result<Did, IdentityError> {
        let own = recovery_key.map(VerifyingKey::from_did_key).transpose()?;
        let rotation_keys = own
            .into_iter()
            .chain(self.recovery.clone())
            .chain([self.rotation.verifying_key().clone()])
            .collect();
        let identity = AccountIdentity {
            signing_key: signing_key.verifying_key().clone(),
            rotation_keys,
            handle: handle.clone(),
            pds: self.endpoint.clone(),
        };
        let genesis = plc::create(&identity, &self.rotation)?;
        self.submit(&genesis.did, genesis.operation).await?;
        Ok(genesis.did)
    }

    /// Puts a new handle into an account's DID document. For other methods than did:plc the
    /// document must have it already.
    pub async fn update_handle(&self, did: &Did, handle: &Handle) -> Result<(), IdentityError> {
        if !did.as_str().starts_with("did:plc:") {
            let document = self.resolver.resolve_did(did).await?;
            return match document.handle() {
                Some(found) if found.normalize() == *handle => Ok(()),
                _ => Err(IdentityError::NotOurs),
            };
        }
        let last = self.last_operation(did).await?;
        let before = last.normalized();
        let next = plc::update(&last, &self.rotation, |op| op.set_handle(handle))?;
        if before.map(|op| op.also_known_as) == next.normalized().map(|op| op.also_known_as) {
            return Ok(());
        }
        self.submit(did, next).await
    }

    /// The DID document of an account.
    pub async fn did_document(&self, did: &Did) -> Result<Arc<DidDocument>, IdentityError> {
        if let Some(directory) = self.directory()
            && did.as_str().starts_with("did:plc:")
        {
            match directory.document(did.as_str()) {
                Err(DirectoryError::NotRegistered(_)) => {}
                found => return Ok(Arc::new(found?)),
            }
        }
        Ok(self.resolver.resolve_did(did).await?)
    }

    /// The DID document as it is now, for when a signature does not hold and the key may be a new one.
    pub async fn refresh_document(&self, did: &Did) -> Result<Arc<DidDocument>, IdentityError> {
        if let Some(directory) = self.directory()
            && did.as_str().starts_with("did:plc:")
            && let Ok(document) = directory.document(did.as_str())
        {
            return Ok(Arc::new(document));
        }
        Ok(self.resolver.refresh_did(did).await?)
    }

    /// The data of a did:plc as it is now.
    pub async fn plc_data(&self, did: &Did) -> Result<DocumentData, IdentityError> {
        let last = self.last_operation(did).await?;
        last.data(did).ok_or(IdentityError::Tombstoned)
    }

    /// Signs the operation that follows the last one of a did:plc, with the data that `change`
    /// leaves.
    pub async fn sign_operation(
        &self,
        did: &Did,
        change: impl FnOnce(&mut PlcOperation),
    ) -> Result<Operation, IdentityError> {
        let last = self.last_operation(did).await?;
        if last.is_tombstone() {
            return Err(IdentityError::Tombstoned);
        }
        Ok(plc::update(&last, &self.rotation, change)?)
    }

    /// Hands an operation in at the directory.
    pub async fn submit_operation(
        &self,
        did: &Did,
        operation: Operation,
    ) -> Result<(), IdentityError> {
        self.submit(did, operation).await
    }

    /// The did:keys that an account's did:plc should be changed by, the mightiest first.
    pub fn rotation_keys(&self) -> Vec<String> {
        let recovery = self.recovery.iter().map(VerifyingKey::did_key);
        recovery.chain([self.rotation_key()]).collect()
    }

    /// The DID that a handle of somebody else points to.
    pub async fn resolve_handle(&self, handle: &Handle) -> Result<Did, IdentityError> {
        Ok(self.resolver.resolve_handle(handle).await?)
    }

    /// The DID that a handle of somebody else points to now.
    pub async fn refresh_handle(&self, handle: &Handle) -> Result<Did, IdentityError> {
        Ok(self.resolver.refresh_handle(handle).await?)
    }

    /// The account that publishes a lexicon, by DNS.
    pub async fn lexicon_authority(&self, nsid: &Nsid) -> Result<Did, IdentityError> {
        Ok(self.resolver.lexicon_authority(nsid).await?)
    }

    async fn last_operation(&self, did: &Did) -> Result<Operation, IdentityError> {
        match &self.plc {
            Plc::Embedded(directory) => Ok(directory.last(did.as_str())?),
            Plc::Elsewhere { url, http } => {
                let answer = http.get(format!("{url}/{did}/log/last")).send().await;
                let body = read_answer(answer).await?;
                serde_json::from_slice(&body).map_err(|e| IdentityError::Unreachable(e.to_string()))
            }
        }
    }

    async fn submit(&self, did: &Did, operation: Operation) -> Result<(), IdentityError> {
        self.hand_in(did, operation).await?;
        self.resolver.forget_did(did);
        Ok(())
    }

    async fn hand_in(&self, did: &Did, operation: Operation) -> Result<(), IdentityError> {
        match &self.plc {
            Plc::Embedded(directory) => Ok(directory.submit(did, operation).await?),
            Plc::Elsewhere { url, http } => {
                let request = http.post(format!("{url}/{did}")).json(&operation);
                read_answer(request.send().await).await.map(|_| ())
            }
        }
    }
}

async fn read_answer(
    answer: Result<reqwest::Response, reqwest::Error>,
) -> Result<Vec<u8>, IdentityError> {
    let unreachable = |e: reqwest::Error| IdentityError::Unreachable(e.to_string());
    let mut answer = answer.map_err(unreachable)?;
    let mut body = Vec::new();
    while let Some(piece) = answer.chunk().await.map_err(unreachable)? {
        if body.len() + piece.len() > MAX_ANSWER {
            return Err(IdentityError::Unreachable(
                "its answer is too long".to_owned(),
            ));
        }
        body.extend_from_slice(&piece);
    }
    let status = answer.status();
    if status.is_success() {
        return Ok(body);
    }
    let message = serde_json::from_slice::<Value>(&body)
        .ok()
        .and_then(|v| v.get("message").and_then(Value::as_str).map(str::to_owned))
        .unwrap_or_else(|| format!("it answered {status}"));
    if status.is_client_error() {
        Err(IdentityError::Refused(message))
    } else {
        Err(IdentityError::Unreachable(message))
    }
}
