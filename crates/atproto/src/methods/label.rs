//! `com.atproto.label.queryLabels`: the labels that this node has made.

use serde_json::{Value, json};

use crate::xrpc::{Auth, Call, Method, Reply, XrpcError};

/// Most patterns of one call.
const MAX_PATTERNS: usize = 100;

/// The methods of this file.
pub fn methods() -> [Method; 1] {
    [Method::new(
        "com.atproto.label.queryLabels",
        Auth::Open,
        query,
    )]
}

/// Labels that hold now; what was taken back or has ended is left out.
async fn query(call: Call) -> Result<Reply, XrpcError> {
    let patterns = call.params.texts("uriPatterns");
    if patterns.len() > MAX_PATTERNS {
        let message = format!("too many patterns: at most {MAX_PATTERNS}");
        return Err(XrpcError::invalid(message));
    }
    // Only at the end, as the official labelers take it.
    if let Some(bad) = patterns
        .iter()
        .find(|p| p.trim_end_matches('*').contains('*'))
    {
        let message = format!("invalid pattern {bad:?}: * stands at the end only");
        return Err(XrpcError::invalid(message));
    }
    let sources = call.params.texts("sources");
    let limit = call.params.limit(50, 250);
    let after = match call.params.text("cursor") {
        None => 0,
        Some(cursor) => {
            let number = cursor.parse::<u64>();
            number.map_err(|_| XrpcError::invalid("Malformed cursor"))?
        }
    };
    let owned = |texts: Vec<&str>| texts.into_iter().map(str::to_owned).collect::<Vec<_>>();
    let (patterns, sources) = (owned(patterns), owned(sources));
    let ctx = call.ctx.clone();
    // Rows of all subjects may have to go by.
    let look = move || {
        let patterns: Vec<&str> = patterns.iter().map(String::as_str).collect();
        let sources: Vec<&str> = sources.iter().map(String::as_str).collect();
        ctx.labels
            .query(&patterns, &sources, after, limit, ctx.now_ms())
    };
    let found = tokio::task::spawn_blocking(look).await;
    let found = found
        .map_err(XrpcError::internal)?
        .map_err(XrpcError::internal)?;
    let shown: Vec<Value> = found.iter().map(|(_, label)| label.json()).collect();
    let mut answer = json!({ "labels": shown });
    if let Some((last, _)) = found.last().filter(|_| found.len() == limit) {
        answer["cursor"] = last.to_string().into();
    }
    Reply::json(&answer)
}
