//! `app.bsky.actor`: the preferences of an account, which are kept here and not at the AppView.

use serde::Deserialize;
use serde_json::{Value, json};

use ues_repo::syntax::Did;

use crate::accounts::Scope;
use crate::lifecycle;
use crate::oauth::permit_rpc;
use crate::preferences::PreferenceError;
use crate::proxy::{ProxyError, proxy_to, query};
use crate::xrpc::{Auth, Call, Caller, Method, Reply, XrpcError};

const GET: &str = "app.bsky.actor.getPreferences";
const PUT: &str = "app.bsky.actor.putPreferences";

/// The methods of this file.
pub fn methods() -> [Method; 2] {
    [
        Method::new(GET, Auth::AnySessionOrModerator, get_preferences),
        Method::new(PUT, Auth::Live, put_preferences),
    ]
}

/// Whether a client asks for the preferences that another service keeps.
fn is_elsewhere(call: &Call, nsid: &str) -> Result<bool, XrpcError> {
    let own = call.ctx.config.appview.as_ref();
    let own = own.map(|a| format!("{}#bsky_appview", a.service.did));
    if own.is_none() && !call.headers.contains_key("atproto-proxy") {
        return Ok(false);
    }
    Ok(Some(proxy_to(&call.ctx, &call.headers, nsid)?) != own)
}

async fn get_preferences(call: Call) -> Result<Reply, XrpcError> {
    let moderates = matches!(call.caller, Caller::Admin(_));
    if is_elsewhere(&call, GET)? {
        if moderates {
            let message = "Moderator requests cannot be proxied to other app views";
            return Err(XrpcError::invalid(message));
        }
        return match query(&call, GET).await {
            Ok(incoming) => Ok(Reply::Other(incoming.into_response())),
            Err(e) => ProxyError::into_reply(e).map(Reply::Other),
        };
    }
    let (did, full) = if moderates {
        (named_account(&call)?, true)
    } else {
        permit_own(&call, GET)?;
        let session = call.session()?;
        (session.did.clone(), session.scope == Scope::Access)
    };
    let account = lifecycle::account(&call.ctx, &did)?;
    account.ok_or_else(|| XrpcError::named("NotFound", "Repo not found"))?;
    let preferences = call.ctx.preferences.get(&did, full);
    Reply::json(&json!({ "preferences": preferences.map_err(error)? }))
}

/// The account that a moderation service asks about, by a parameter that no lexicon has.
fn named_account(call: &Call) -> Result<Did, XrpcError> {
    let query = call.path_and_query.split_once('?');
    let query = query.map_or("", |(_, query)| query);
    let mut pairs = form_urlencoded::parse(query.as_bytes());
    let did = pairs.find(|(name, _)| name == "did");
    let did = did.and_then(|(_, did)| Did::parse(&did).ok());
    did.ok_or_else(|| XrpcError::invalid("Invalid or missing did parameter"))
}

/// Fails unless an application was granted the method for the AppView that the preferences are kept for.
fn permit_own(call: &Call, nsid: &str) -> Result<(), XrpcError> {
    match &call.ctx.config.appview {
        Some(own) => {
            let audience = format!("{}#bsky_appview", own.service.did);
            permit_rpc(call.session()?, nsid, &audience)
        }
        None => Ok(()),
    }
}

#[derive(Deserialize)]
struct PutInput {
    preferences: Vec<Value>,
}

async fn put_preferences(mut call: Call) -> Result<Reply, XrpcError> {
    if is_elsewhere(&call, PUT)? {
        return Err(XrpcError::invalid(
            "preferences are kept by this node and not passed on: leave out the header atproto-proxy",
        ));
    }
    permit_own(&call, PUT)?;
    let input: PutInput = call.take_input()?;
    let session = call.session()?;
    let full = session.scope == Scope::Access;
    let put = call
        .ctx
        .preferences
        .put(&session.did, input.preferences, full);
    put.await.map_err(error)?;
    Ok(Reply::Empty)
}

fn error(e: PreferenceError) -> XrpcError {
    match e {
        PreferenceError::NoType | PreferenceError::Namespace | PreferenceError::Forbidden(_) => {
            XrpcError::invalid(e.to_string())
        }
        other => XrpcError::internal(other),
    }
}
