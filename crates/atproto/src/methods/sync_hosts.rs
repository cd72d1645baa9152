//! `com.atproto.sync`: what other servers ask about hosts. This node knows one, itself.

use serde::Deserialize;
use serde_json::{Value, json};
use ues_repo::repo::MAX_PAGE;
use ues_repo::syntax::Nsid;

use crate::context::Context;
use crate::xrpc::{Auth, Call, Method, Reply, XrpcError};

/// Repositories that one call of `listReposByCollection` looks at.
const MAX_LOOKED_AT: usize = 20_000;

/// The methods of this file.
pub fn methods() -> [Method; 4] {
    [
        Method::new(
            "com.atproto.sync.listReposByCollection",
            Auth::Open,
            list_repos_by_collection,
        ),
        Method::new("com.atproto.sync.listHosts", Auth::Open, list_hosts),
        Method::new(
            "com.atproto.sync.getHostStatus",
            Auth::Open,
            get_host_status,
        ),
        Method::new("com.atproto.sync.requestCrawl", Auth::Open, request_crawl),
    ]
}

async fn list_repos_by_collection(call: Call) -> Result<Reply, XrpcError> {
    let collection = Nsid::parse(call.params.required("collection")?);
    let collection = collection.map_err(|e| XrpcError::invalid(e.to_string()))?;
    let limit = call.params.limit(500, 2000);
    let cursor = call.params.text("cursor").map(str::parse::<u64>);
    let cursor = cursor.transpose();
    let cursor = cursor.map_err(|_| XrpcError::invalid("Malformed cursor"))?;
    let repos = call.ctx.repos.clone();
    let looking = tokio::task::spawn_blocking(move || {
        let (mut found, mut after, mut looked_at) = (Vec::new(), cursor, 0);
        loop {
            let page = repos.list(after, MAX_PAGE)?;
            let last = page.len() < MAX_PAGE;
            for (did, head) in page {
                looked_at += 1;
                after = Some(head.owner);
                if head.status.is_active() && repos.has_collection(head.content, &collection)? {
                    found.push(did);
                }
                if found.len() == limit || looked_at == MAX_LOOKED_AT {
                    return Ok((found, after));
                }
            }
            if last {
                return Ok::<_, ues_repo::repo::RepoError>((found, None));
            }
        }
    });
    let (found, next) = looking
        .await
        .map_err(XrpcError::internal)?
        .map_err(XrpcError::internal)?;
    let repos: Vec<_> = found.iter().map(|did| json!({ "did": did })).collect();
    let mut answer = json!({ "repos": repos });
    if let Some(next) = next {
        answer["cursor"] = next.to_string().into();
    }
    Reply::json(&answer)
}

async fn list_hosts(call: Call) -> Result<Reply, XrpcError> {
    // There is one, and nothing after it.
    let hosts = match call.params.text("cursor") {
        None => vec![own_host(&call.ctx)?],
        Some(_) => Vec::new(),
    };
    Reply::json(&json!({ "hosts": hosts }))
}

async fn get_host_status(call: Call) -> Result<Reply, XrpcError> {
    let hostname = call.params.required("hostname")?;
    if !is_own(&call.ctx, hostname) {
        let message = "this node follows no other hosts and knows only itself";
        return Err(XrpcError::named("HostNotFound", message));
    }
    Reply::json(&own_host(&call.ctx)?)
}

#[derive(Deserialize)]
struct RequestCrawlInput {
    hostname: String,
}

/// A relay crawls; this node answers only for itself, where there is nothing to do.
async fn request_crawl(mut call: Call) -> Result<Reply, XrpcError> {
    let input: RequestCrawlInput = call.take_input()?;
    if !is_own(&call.ctx, &input.hostname) {
        return Err(XrpcError::invalid(
            "this node is no relay and crawls no other hosts: ask one, such as https://bsky.network",
        ));
    }
    Ok(Reply::Empty)
}

fn own_host(ctx: &Context) -> Result<Value, XrpcError> {
    let accounts = ctx.accounts.count().map_err(XrpcError::internal)?;
    Ok(json!({
        "hostname": ctx.config.authority(),
        "seq": ctx.store.log().last_durable(),
        "accountCount": accounts,
        "status": "active",
    }))
}

fn is_own(ctx: &Context, hostname: &str) -> bool {
    let bare = hostname
        .trim_start_matches("https://")
        .trim_start_matches("http://")
        .trim_end_matches('/');
    bare.eq_ignore_ascii_case(ctx.config.authority())
        || bare.eq_ignore_ascii_case(ctx.config.hostname())
}
