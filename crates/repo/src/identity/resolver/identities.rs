//! The resolver itself.

use std::pin::pin;
use std::sync::Arc;

use futures::future::{Either, select};

use super::cache::{Ages, StaleCache};
use super::dns::Dns;
use super::web::{Answer, Reach, Web};
use super::{ResolveError, ResolverOptions};
use crate::crypto::VerifyingKey;
use crate::identity::plc::directory::DirectoryError;
use crate::identity::{DidDocument, did_key, did_web};
use crate::syntax::{AtIdentifier, Did, Handle, Nsid};

/// Longest DID document that is read, in bytes.
const MAX_DOCUMENT: usize = 64 * 1024;
/// Longest answer of a handle's host that is read, in bytes.
const MAX_HANDLE_ANSWER: usize = 4096;
const WELL_KNOWN: &str = "/.well-known/atproto-did";

/// An account as the network knows it.
#[derive(Debug, Clone, PartialEq)]
pub struct Identity {
    /// The account.
    pub did: Did,
    /// The handle that points to the DID and that the document names; `handle.invalid` if none does both.
    pub handle: Handle,
    /// The DID document.
    pub document: Arc<DidDocument>,
}

/// Resolves DIDs and handles of others. Cheap to clone; must be used inside of a tokio runtime.
#[derive(Clone)]
pub struct Resolver {
    network: Arc<Network>,
    documents: Arc<StaleCache<Did, Arc<DidDocument>>>,
    handles: Arc<StaleCache<Handle, Did>>,
}

/// Everything that asks, without the caches.
struct Network {
    web: Web,
    dns: Arc<Dns>,
    options: ResolverOptions,
}

impl Resolver {
    /// Makes a resolver. It does nothing until it is asked.
    pub fn new(options: ResolverOptions) -> Self {
        let ages = Ages {
            stale: options.stale_after,
            expired: options.expire_after,
            no: options.remember_no,
        };
        let dns = Arc::new(Dns::new(&options.dns_servers, options.timeout));
        let for_addresses = (!options.dns_servers.is_empty()).then(|| Arc::clone(&dns));
        let private = options.allow_private_addresses;
        Self {
            documents: StaleCache::new(options.cache_bytes, ages),
            handles: StaleCache::new(options.cache_bytes, ages),
            network: Arc::new(Network {
                web: Web::new(options.timeout, private, for_addresses),
                dns,
                options,
            }),
        }
    }

    /// The DID document, perhaps from the cache.
    pub async fn resolve_did(&self, did: &Did) -> Result<Arc<DidDocument>, ResolveError> {
        self.documents.get(did, || self.ask_document(did)).await
    }

    /// The DID document as it is now; for when a signature does not hold and the key may be a new one.
    pub async fn refresh_did(&self, did: &Did) -> Result<Arc<DidDocument>, ResolveError> {
        self.documents.renew(did, || self.ask_document(did)).await
    }

    /// The key that signs an account's repository.
    pub async fn signing_key(&self, did: &Did) -> Result<VerifyingKey, ResolveError> {
        Ok(self.resolve_did(did).await?.signing_key()?)
    }

    /// The DID that a handle points to, perhaps from the cache. Says nothing of whether the DID agrees.
    pub async fn resolve_handle(&self, handle: &Handle) -> Result<Did, ResolveError> {
        let handle = handle.normalize();
        self.handles.get(&handle, || self.ask_handle(&handle)).await
    }

    /// The DID that a handle points to now.
    pub async fn refresh_handle(&self, handle: &Handle) -> Result<Did, ResolveError> {
        let handle = handle.normalize();
        self.handles
            .renew(&handle, || self.ask_handle(&handle))
            .await
    }

    /// The account that a DID or handle names, with its handle verified in both directions.
    ///
    /// # Errors
    /// When the DID or the handle does not resolve, or the handle points to a DID that names another
    /// handle. For a DID whose own handle does not hold, the handle is `handle.invalid`.
    pub async fn resolve(&self, name: &AtIdentifier) -> Result<Identity, ResolveError> {
        match name {
            AtIdentifier::Did(did) => {
                let document = self.resolve_did(did).await?;
                let handle = self.verified_handle(&document).await;
                Ok(Identity {
                    did: did.clone(),
                    handle,
                    document,
                })
            }
            AtIdentifier::Handle(handle) => {
                let handle = handle.normalize();
                let did = self.resolve_handle(&handle).await?;
                let document = self.resolve_did(&did).await?;
                if document.handle().map(|claimed| claimed.normalize()) != Some(handle.clone()) {
                    return Err(ResolveError::HandleNotFound(handle));
                }
                Ok(Identity {
                    did,
                    handle,
                    document,
                })
            }
        }
    }

    /// The account that publishes a lexicon: DNS names it for the domain that the NSID's authority is,
    /// and for no domain above it.
    pub async fn lexicon_authority(&self, nsid: &Nsid) -> Result<Did, ResolveError> {
        let mut labels: Vec<&str> = nsid.as_str().split('.').rev().collect();
        // the last part of an NSID is its name, the others are the domain
        labels.remove(0);
        let domain = labels.join(".").to_ascii_lowercase();
        let found = self.network.dns.lexicon_did(&domain).await?;
        found.ok_or(ResolveError::NoLexiconAuthority(domain))
    }

    /// Forgets a DID, after an `#identity` event for example.
    pub fn forget_did(&self, did: &Did) {
        self.documents.forget(did);
    }

    /// Forgets a handle.
    pub fn forget_handle(&self, handle: &Handle) {
        self.handles.forget(&handle.normalize());
    }

    async fn verified_handle(&self, document: &DidDocument) -> Handle {
        let Some(claimed) = document.handle() else {
            return Handle::invalid();
        };
        match self.resolve_handle(&claimed).await {
            Ok(did) if did == document.id => claimed.normalize(),
            _ => Handle::invalid(),
        }
    }

    fn ask_document(
        &self,
        did: &Did,
    ) -> impl Future<Output = Result<(Arc<DidDocument>, usize), ResolveError>> + Send + use<> {
        let (network, did) = (Arc::clone(&self.network), did.clone());
        async move { network.document(&did).await }
    }

    fn ask_handle(
        &self,
        handle: &Handle,
    ) -> impl Future<Output = Result<(Did, usize), ResolveError>> + Send + use<> {
        let (network, handle) = (Arc::clone(&self.network), handle.clone());
        async move {
            let did = network.handle(&handle).await?;
            let bytes = did.as_str().len() + handle.as_str().len();
            Ok((did, bytes))
        }
    }
}

impl Network {
    async fn document(&self, did: &Did) -> Result<(Arc<DidDocument>, usize), ResolveError> {
        match did.method() {
            "plc" => self.plc_document(did).await,
            "web" => self.web_document(did).await,
            "key" => Ok((Arc::new(did_key::document(did)?), MAX_HANDLE_ANSWER)),
            _ => Err(ResolveError::UnsupportedMethod(did.clone())),
        }
    }

    async fn plc_document(&self, did: &Did) -> Result<(Arc<DidDocument>, usize), ResolveError> {
        if let Some(directory) = &self.options.directory {
            match directory.document(did.as_str()) {
                Ok(document) => return Ok((Arc::new(document), MAX_HANDLE_ANSWER)),
                Err(DirectoryError::NotAvailable(_)) => {
                    return Err(ResolveError::DidNotFound(did.clone()));
                }
                Err(DirectoryError::NotRegistered(_)) => {}
                Err(e) => {
                    return Err(ResolveError::Unreachable {
                        what: "the embedded directory".to_owned(),
                        why: e.to_string(),
                    });
                }
            }
        }
        let base = self.options.plc_url.trim_end_matches('/');
        if base.is_empty() {
            return Err(ResolveError::DidNotFound(did.clone()));
        }
        let url = format!("{base}/{did}");
        self.fetch_document(did, Reach::Operator, &url, None).await
    }

    async fn web_document(&self, did: &Did) -> Result<(Arc<DidDocument>, usize), ResolveError> {
        let host = did_web::host(did)?;
        if let Some(base) = self.local_base(&host.host) {
            let url = format!("{base}/.well-known/did.json");
            return self
                .fetch_document(did, Reach::Operator, &url, Some(&host.host))
                .await;
        }
        let url = host.document_url();
        self.fetch_document(did, Reach::Stranger, &url, None).await
    }

    async fn fetch_document(
        &self,
        did: &Did,
        reach: Reach,
        url: &str,
        host: Option<&str>,
    ) -> Result<(Arc<DidDocument>, usize), ResolveError> {
        let body = match self.web.get(reach, url, host, MAX_DOCUMENT).await? {
            Answer::Body(body) => body,
            Answer::Gone => return Err(ResolveError::DidNotFound(did.clone())),
        };
        let bad = |why: String| ResolveError::BadDocument {
            did: did.clone(),
            why,
        };
        let document: DidDocument =
            serde_json::from_slice(&body).map_err(|e| bad(e.to_string()))?;
        if document.id != *did {
            return Err(bad(format!("it is about {}", document.id)));
        }
        Ok((Arc::new(document), body.len()))
    }

    /// Asks DNS and the handle's host at the same time; DNS is believed first.
    async fn handle(&self, handle: &Handle) -> Result<Did, ResolveError> {
        if let Some(base) = self.local_base(handle.as_str()) {
            let url = format!("{base}{WELL_KNOWN}");
            return self
                .well_known(handle, Reach::Operator, &url, Some(handle.as_str()))
                .await;
        }
        if !handle.has_allowed_tld() {
            return Err(ResolveError::ReservedDomain(handle.clone()));
        }
        if handle.tld() == "test" {
            // .test is for one machine and is never asked about outside (RFC 6761)
            return Err(ResolveError::HandleNotFound(handle.clone()));
        }
        let url = format!("https://{handle}{WELL_KNOWN}");
        let dns = pin!(self.dns.did(handle));
        let web = pin!(self.well_known(handle, Reach::StrangerWithRedirects, &url, None));
        let (by_dns, by_web) = match select(dns, web).await {
            Either::Left((Ok(Some(did)), _)) => return Ok(did),
            Either::Left((by_dns, web)) => (by_dns, web.await),
            Either::Right((by_web, dns)) => (dns.await, by_web),
        };
        match (by_dns, by_web) {
            (Ok(Some(did)), _) | (_, Ok(did)) => Ok(did),
            // a host that does not answer may be there tomorrow; so may DNS
            (Err(e), _) => Err(e),
            (Ok(None), Err(ResolveError::Unreachable { .. })) => {
                Err(ResolveError::HandleNotFound(handle.clone()))
            }
            (Ok(None), Err(e)) => Err(e),
        }
    }

    async fn well_known(
        &self,
        handle: &Handle,
        reach: Reach,
        url: &str,
        host: Option<&str>,
    ) -> Result<Did, ResolveError> {
        let not_found = || ResolveError::HandleNotFound(handle.clone());
        match self.web.get(reach, url, host, MAX_HANDLE_ANSWER).await? {
            Answer::Body(body) => std::str::from_utf8(&body)
                .ok()
                .and_then(|text| Did::parse(text.trim()).ok())
                .ok_or_else(not_found),
            Answer::Gone => Err(not_found()),
        }
    }

    /// The base URL of a host that the operator listed, itself or a domain above it.
    fn local_base(&self, host: &str) -> Option<&str> {
        let mut name = host;
        loop {
            if let Some(base) = self.options.local_hosts.get(name) {
                return Some(base.trim_end_matches('/'));
            }
            name = name.split_once('.')?.1;
        }
    }
}
