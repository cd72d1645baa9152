//! One call of a method, all checks passed.

use std::net::IpAddr;
use std::sync::Arc;

use http::HeaderMap;
use parking_lot::Mutex;
use serde::de::DeserializeOwned;
use serde_json::Value;
use ues_repo::syntax::Did;

use crate::accounts::{Claims, Session};
use crate::context::Context;
use crate::limits::{Limit, Tightest, limit_key};

use super::auth::Caller;
use super::body::Pieces;
use super::error::XrpcError;
use super::params::Params;

/// A call of a method: caller, parameters and body, checked against the method's lexicon.
pub struct Call {
    /// The node.
    pub ctx: Context,
    /// Path and query of the request, as it came.
    pub path_and_query: String,
    /// The request's headers.
    pub headers: HeaderMap,
    /// The client's address.
    pub client: IpAddr,
    /// Who calls.
    pub caller: Caller,
    /// Query parameters.
    pub params: Params,
    /// The body, where the lexicon says that it is JSON.
    pub input: Value,
    /// The body, where the lexicon leaves its type open; it is not read yet.
    pub stream: Option<Pieces>,
    /// The body's media type.
    pub media_type: String,
    pub(super) limits: Option<Arc<Mutex<Tightest>>>,
}

impl Call {
    /// The body as a type of the method's own.
    pub fn take_input<T: DeserializeOwned>(&mut self) -> Result<T, XrpcError> {
        serde_json::from_value(self.input.take()).map_err(|e| XrpcError::invalid(e.to_string()))
    }

    /// The session; the method's [`Auth`](super::Auth) sees to it that there is one.
    pub fn session(&self) -> Result<&Arc<Session>, XrpcError> {
        match &self.caller {
            Caller::Session(session) => Ok(session),
            _ => Err(XrpcError::auth_named(
                "AuthMissing",
                "Authentication Required",
            )),
        }
    }

    /// The refresh token; as above.
    pub fn refresh_token(&self) -> Result<&Claims, XrpcError> {
        match &self.caller {
            Caller::Refresh(claims) => Ok(claims),
            _ => Err(XrpcError::auth_named(
                "AuthMissing",
                "Authentication Required",
            )),
        }
    }

    /// The account that calls.
    pub fn did(&self) -> Result<&Did, XrpcError> {
        self.session().map(|s| &s.did)
    }

    /// Who administers the node, as it goes into the audit.
    pub fn admin(&self) -> Result<&str, XrpcError> {
        match &self.caller {
            Caller::Admin(name) => Ok(name),
            _ => Err(XrpcError::auth("Authentication Required")),
        }
    }

    /// The account that calls, or for which a service elsewhere calls by a token of the account's.
    pub fn caller_did(&self) -> Result<&Did, XrpcError> {
        self.caller
            .did()
            .ok_or_else(|| XrpcError::auth_named("AuthMissing", "Authentication Required"))
    }

    /// Counts the call against a limit of its client's address.
    pub fn spend_by_address(&self, limit: Limit) -> Result<(), XrpcError> {
        match &self.limits {
            Some(_) => self.spend(limit, &limit_key(self.client), 1),
            None => Ok(()),
        }
    }

    /// Counts the call against a limit.
    pub fn spend(&self, limit: Limit, key: &str, points: u32) -> Result<(), XrpcError> {
        let Some(limits) = &self.limits else {
            return Ok(());
        };
        let standing = self.ctx.limiter.consume(limit, key, points);
        let mut tightest = limits.lock();
        tightest.add(standing);
        tightest.check()
    }

    /// Whether calls are counted at all: spares making a key.
    pub fn is_limited(&self) -> bool {
        self.limits.is_some()
    }
}
