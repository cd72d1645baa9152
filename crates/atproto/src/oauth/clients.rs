//! The documents of clients: fetched with all guards, and remembered for a while.

use std::sync::Arc;
use std::time::{Duration, Instant};

use quick_cache::sync::Cache;
use ues_oauth::{
    ASSERTION_TYPE, ClientId, ClientKeys, ClientMetadata, ErrorCode, MAX_JWKS_BYTES,
    MAX_METADATA_BYTES, OAuthError, asserted_client,
};

use super::rows::Kind;
use super::{OAuth, server_error};
use crate::context::Context;

/// How long a document counts as fresh.
const FRESH: Duration = Duration::from_secs(600);
const CACHED: usize = 1000;

/// A client, and when its document was read.
struct Known<T> {
    value: Arc<T>,
    since: Instant,
}

impl<T> Clone for Known<T> {
    fn clone(&self) -> Self {
        Self {
            value: Arc::clone(&self.value),
            since: self.since,
        }
    }
}

/// Documents and key sets that were read.
pub struct Clients {
    documents: Cache<String, Known<ClientMetadata>>,
    keys: Cache<String, Known<ClientKeys>>,
}

impl Default for Clients {
    fn default() -> Self {
        Self {
            documents: Cache::new(CACHED),
            keys: Cache::new(CACHED),
        }
    }
}

/// A client that makes a request of its own.
pub struct Caller {
    /// Its document.
    pub client: Arc<ClientMetadata>,
    /// Thumbprint of the key by which it showed who it is; a public client has none.
    pub key: Option<String>,
}

impl OAuth {
    /// The document of a client.
    pub async fn client(&self, ctx: &Context, id: &str) -> Result<Arc<ClientMetadata>, OAuthError> {
        let id = ClientId::parse(id, self.local)?;
        if let Some(own) = id.loopback_metadata() {
            return own.map(Arc::new);
        }
        let url = id.as_str();
        if let Some(known) = self.clients.documents.get(url)
            && known.since.elapsed() < FRESH
        {
            return Ok(known.value);
        }
        let body = self.fetch(ctx, url, MAX_METADATA_BYTES).await?;
        let value = Arc::new(ClientMetadata::parse(url, &body)?);
        let known = Known {
            value: Arc::clone(&value),
            since: Instant::now(),
        };
        self.clients.documents.insert(url.to_owned(), known);
        Ok(value)
    }

    async fn fetch(&self, ctx: &Context, url: &str, max: usize) -> Result<Vec<u8>, OAuthError> {
        let resolver = ctx.identities.resolver();
        resolver.fetch(url, max, self.local).await.map_err(|e| {
            OAuthError::metadata(format!("a document of the client cannot be had: {e}"))
        })
    }

    async fn keys(
        &self,
        ctx: &Context,
        client: &ClientMetadata,
        fresh: bool,
    ) -> Result<Arc<ClientKeys>, OAuthError> {
        if let Some(jwks) = &client.jwks {
            return ClientKeys::parse(jwks).map(Arc::new);
        }
        let url = client.jwks_uri.as_deref().unwrap_or_default();
        // Somebody who sends bad assertions must not make us ask all the time.
        let age = if fresh {
            Duration::from_secs(30)
        } else {
            FRESH
        };
        if let Some(known) = self.clients.keys.get(url)
            && known.since.elapsed() < age
        {
            return Ok(known.value);
        }
        let body = self.fetch(ctx, url, MAX_JWKS_BYTES).await?;
        let jwks = serde_json::from_slice(&body)
            .map_err(|e| OAuthError::metadata(format!("the client's key set is not JSON: {e}")))?;
        let value = Arc::new(ClientKeys::parse(&jwks)?);
        let known = Known {
            value: Arc::clone(&value),
            since: Instant::now(),
        };
        self.clients.keys.insert(url.to_owned(), known);
        Ok(value)
    }

    /// Who makes a request, by its parameters: a client that has keys must use one of them.
    pub async fn caller(
        &self,
        ctx: &Context,
        pairs: &[(String, String)],
        now_ms: u64,
    ) -> Result<Caller, OAuthError> {
        let value = |name: &str| {
            let pair = pairs.iter().find(|(known, _)| known == name);
            pair.map(|(_, value)| value.as_str())
        };
        let assertion = value("client_assertion");
        let id = match (value("client_id"), assertion) {
            (Some(id), _) => id.to_owned(),
            (None, Some(assertion)) => asserted_client(assertion)
                .ok_or_else(|| OAuthError::client("client_assertion names no client"))?,
            (None, None) => return Err(OAuthError::request("client_id is missing")),
        };
        let client = self.client(ctx, &id).await?;
        if !client.is_confidential() {
            if assertion.is_some() {
                let why = "the client's document has token_endpoint_auth_method none, and it sent an assertion";
                return Err(OAuthError::client(why));
            }
            return Ok(Caller { client, key: None });
        }
        let Some(assertion) =
            assertion.filter(|_| value("client_assertion_type") == Some(ASSERTION_TYPE))
        else {
            let why = format!(
                "this client must send client_assertion, with client_assertion_type {ASSERTION_TYPE}"
            );
            return Err(OAuthError::client(why));
        };
        let check = |keys: Arc<ClientKeys>| {
            keys.check(assertion, &client.client_id, &self.issuer, now_ms / 1000)
        };
        let asserted = match check(self.keys(ctx, &client, false).await?) {
            Ok(asserted) => asserted,
            // The client may have a new key.
            Err(_) => check(self.keys(ctx, &client, true).await?)?,
        };
        let _turn = match self.turn(&asserted.once) {
            Some(turn) => Some(turn.lock().await),
            None => None,
        };
        if self
            .rows
            .has(Kind::Once, &asserted.once)
            .map_err(server_error)?
        {
            return Err(OAuthError::client("client_assertion was used before"));
        }
        let mut batch = self.store.batch();
        let ends_ms = (asserted.ends_s + 1) * 1000;
        self.rows
            .put(&mut batch, Kind::Once, &asserted.once, &(), ends_ms);
        self.store.commit(batch).await.map_err(server_error)?;
        Ok(Caller {
            client,
            key: Some(asserted.thumbprint),
        })
    }
}

impl Caller {
    /// Fails unless this is the client, with the key, of an earlier step.
    pub fn must_be(&self, client_id: &str, key: Option<&str>) -> Result<(), OAuthError> {
        if self.client.client_id != client_id {
            return Err(OAuthError::new(
                ErrorCode::InvalidGrant,
                "it was given to another client",
            ));
        }
        if self.key.as_deref() != key {
            return Err(OAuthError::new(
                ErrorCode::InvalidGrant,
                "the client showed who it is by another key before",
            ));
        }
        Ok(())
    }
}
