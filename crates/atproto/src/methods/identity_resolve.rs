//! `com.atproto.identity`: DIDs and handles of anybody, with their documents.

use std::sync::Arc;

use serde::Deserialize;
use serde_json::{Value, json};
use ues_repo::identity::plc::directory::DirectoryError;
use ues_repo::identity::{DidDocument, ResolveError};
use ues_repo::syntax::{AtIdentifier, Did, Handle};

use crate::context::Context;
use crate::identity::IdentityError;
use crate::limits::{REFRESH_IDENTITY, limit_key};
use crate::xrpc::{Auth, Call, Method, Reply, XrpcError};

/// The methods of this file.
pub fn methods() -> [Method; 3] {
    [
        Method::new("com.atproto.identity.resolveDid", Auth::Open, resolve_did),
        Method::new(
            "com.atproto.identity.resolveIdentity",
            Auth::Open,
            resolve_identity,
        ),
        Method::new(
            "com.atproto.identity.refreshIdentity",
            Auth::Open,
            refresh_identity,
        ),
    ]
}

/// Whether what was asked a while ago will do.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Age {
    Any,
    Now,
}

async fn resolve_did(call: Call) -> Result<Reply, XrpcError> {
    let did = Did::parse(call.params.required("did")?);
    let did = did.map_err(|e| XrpcError::invalid(e.to_string()))?;
    let document = document(&call.ctx, &did, Age::Any).await?;
    Reply::json(&json!({ "didDoc": document }))
}

async fn resolve_identity(call: Call) -> Result<Reply, XrpcError> {
    let identifier = call.params.required("identifier")?;
    Reply::json(&identity(&call.ctx, identifier, Age::Any).await?)
}

#[derive(Deserialize)]
struct RefreshInput {
    identifier: String,
}

/// Asks again, whatever is remembered.
async fn refresh_identity(mut call: Call) -> Result<Reply, XrpcError> {
    let input: RefreshInput = call.take_input()?;
    if call.is_limited() {
        call.spend(REFRESH_IDENTITY, &limit_key(call.client), 1)?;
    }
    Reply::json(&identity(&call.ctx, &input.identifier, Age::Now).await?)
}

async fn identity(ctx: &Context, identifier: &str, age: Age) -> Result<Value, XrpcError> {
    let identifier =
        AtIdentifier::parse(identifier).map_err(|e| XrpcError::invalid(e.to_string()))?;
    let (did, asked) = match identifier {
        AtIdentifier::Did(did) => (did, None),
        AtIdentifier::Handle(handle) => {
            let handle = handle.normalize();
            let did = did_of(ctx, &handle, age).await.map_err(|cause| {
                tracing::debug!(%handle, %cause, "handle not resolved");
                XrpcError::named("HandleNotFound", format!("Unable to resolve {handle}"))
            })?;
            (did, Some(handle))
        }
    };
    let document = document(ctx, &did, age).await?;
    let claimed = document.handle().map(|h| h.normalize());
    let handle = match (claimed, asked) {
        (Some(claimed), Some(asked)) if claimed == asked => claimed,
        // The document names another handle: it holds if that one points here.
        (Some(claimed), _) => match did_of(ctx, &claimed, age).await {
            Ok(found) if found == did => claimed,
            _ => Handle::invalid(),
        },
        (None, _) => Handle::invalid(),
    };
    Ok(json!({ "did": did, "handle": handle, "didDoc": document }))
}

/// The DID that a handle points to. Handles of this node are known here.
async fn did_of(ctx: &Context, handle: &Handle, age: Age) -> Result<Did, IdentityError> {
    let account = ctx.accounts.by_handle(handle).ok().flatten();
    if let Some(account) = account.filter(|a| a.is_active()) {
        return Ok(account.did.clone());
    }
    if ctx.config.serves_handle(handle.as_str()) {
        return Err(ResolveError::HandleNotFound(handle.clone()).into());
    }
    match age {
        Age::Any => ctx.identities.resolve_handle(handle).await,
        Age::Now => ctx.identities.refresh_handle(handle).await,
    }
}

async fn document(ctx: &Context, did: &Did, age: Age) -> Result<Arc<DidDocument>, XrpcError> {
    let found = match age {
        Age::Any => ctx.identities.did_document(did).await,
        Age::Now => ctx.identities.refresh_document(did).await,
    };
    found.map_err(|e| match e {
        IdentityError::Directory(DirectoryError::NotAvailable(_)) => {
            XrpcError::named("DidDeactivated", format!("{did} was deactivated"))
        }
        IdentityError::Resolve(ResolveError::Unreachable { .. }) => {
            tracing::debug!(%did, cause = %e, "DID not resolved");
            XrpcError::upstream(format!("{did} cannot be resolved at the moment"))
        }
        IdentityError::Resolve(e) => XrpcError::named("DidNotFound", e.to_string()),
        IdentityError::Directory(e) if e.status() < 500 => {
            XrpcError::named("DidNotFound", e.to_string())
        }
        other => other.into_xrpc(),
    })
}
