//! From an HTTP request under `/xrpc/` to a method and back.

use std::sync::Arc;

use axum::body::Body;
use axum::extract::State;
use axum::response::{IntoResponse, Response};
use http::request::Parts;
use http::{HeaderValue, Method as Verb, Request, StatusCode, header};
use parking_lot::Mutex;
use serde_json::Value;
use ues_repo::lexicon::{LexiconError, MethodKind, accepts};

use crate::context::Context;
use crate::firehose;
use crate::labels;
use crate::limits::{self, Tightest};
use crate::oauth;
use crate::proxy;

use super::auth::{Caller, identify};
use super::body::{Pieces, Presence, check_content_encoding, drain, media_type, presence};
use super::call::Call;
use super::error::XrpcError;
use super::method::{Input, Method, Methods};
use super::params::Params;
use super::reply::Reply;

const SUBSCRIBE_REPOS: &str = "com.atproto.sync.subscribeRepos";
const SUBSCRIBE_LABELS: &str = "com.atproto.label.subscribeLabels";

/// What the dispatcher works with.
#[derive(Clone)]
pub struct Dispatcher {
    pub(crate) ctx: Context,
    pub(crate) methods: Arc<Methods>,
}

/// Serves a request under `/xrpc/`.
pub async fn dispatch(State(dispatcher): State<Dispatcher>, request: Request<Body>) -> Response {
    let ctx = &dispatcher.ctx;
    let client = limits::client_ip(
        request.extensions(),
        request.headers(),
        ctx.limiter.trusted(),
    );
    let Some(nsid) = nsid(request.uri().path()).map(str::to_owned) else {
        return XrpcError::invalid("invalid xrpc path").into_response();
    };
    if nsid == SUBSCRIBE_REPOS && request.method() == Verb::GET {
        let cursor = cursor(ctx, SUBSCRIBE_REPOS, &request);
        return firehose::upgrade(&ctx.hub, request, cursor);
    }
    if nsid == SUBSCRIBE_LABELS && request.method() == Verb::GET {
        let (ctx, cursor) = (ctx.clone(), cursor(ctx, SUBSCRIBE_LABELS, &request));
        return firehose::accept(request, cursor, move |stream, cursor| async move {
            labels::serve(&ctx, stream, cursor).await;
        });
    }
    let elsewhere = proxy::is_for_others(ctx, request.headers(), &nsid);
    let method = dispatcher
        .methods
        .get(&nsid)
        .filter(|_| !elsewhere)
        .cloned();
    let limits = ctx
        .limiter
        .applies(request.headers(), client)
        .then(|| Arc::new(Mutex::new(Tightest::default())));
    let (parts, body) = request.into_parts();
    let mut body = Some(body);
    let personal = method.as_ref().is_none_or(|m| m.auth.is_personal());
    let outcome = async {
        if let Some(limits) = &limits
            && method.as_ref().is_none_or(|m| m.counted)
        {
            let key = limits::limit_key(client);
            let mut tightest = limits.lock();
            tightest.add(ctx.limiter.consume(limits::GLOBAL_IP, &key, 1));
            tightest.check()?;
        }
        let Some(method) = method else {
            let passed = proxy::pass_on(ctx, &parts, &nsid, &mut body).await;
            return passed.map(Reply::Other);
        };
        let call = Call {
            ctx: ctx.clone(),
            path_and_query: parts
                .uri
                .path_and_query()
                .map_or_else(String::new, ToString::to_string),
            headers: parts.headers.clone(),
            client,
            caller: Default::default(),
            params: Params::default(),
            input: Value::Null,
            stream: None,
            media_type: String::new(),
            limits: limits.clone(),
        };
        run(&method, call, &parts, &mut body).await
    }
    .await;
    // A body that nobody took.
    if let Some(body) = body {
        drain(body);
    }
    let proves = parts.headers.contains_key("dpop");
    let mut challenged = None;
    let mut response = match outcome {
        Ok(reply) => reply.into_response(),
        Err(e) => {
            if proves && e.status() == StatusCode::UNAUTHORIZED {
                challenged = Some((e.name().to_owned(), e.message().to_owned()));
            }
            tracing::debug!(path = parts.uri.path(), status = e.status().as_u16(), error = %e, "refused");
            e.into_response()
        }
    };
    let headers = response.headers_mut();
    if proves {
        let refused = challenged.as_ref().map(|(n, m)| (n.as_str(), m.as_str()));
        oauth::challenge(ctx, headers, refused);
    }
    if personal {
        headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("private"));
        headers.append(header::VARY, HeaderValue::from_static("Authorization"));
    }
    if let Some(limits) = limits {
        limits.lock().write(headers);
    }
    response
}

async fn run(
    method: &Method,
    mut call: Call,
    parts: &Parts,
    body: &mut Option<Body>,
) -> Result<Reply, XrpcError> {
    let expected = match method.kind {
        MethodKind::Procedure => Verb::POST,
        _ => Verb::GET,
    };
    let head = parts.method == Verb::HEAD && expected == Verb::GET;
    if parts.method != expected && !head {
        return Err(XrpcError::invalid(format!(
            "Incorrect HTTP method ({}) expected {expected}",
            parts.method
        )));
    }
    let ctx = call.ctx.clone();
    let lexicons = &ctx.lexicons;
    let pairs = Params::pairs(parts.uri.query().unwrap_or_default())?;
    match lexicons.validate_params(method.nsid, pairs) {
        Ok(Value::Object(map)) => call.params = Params(map),
        Ok(_) => {}
        Err(e) => {
            return Err(XrpcError::invalid(format!(
                "Invalid {} params: {e}",
                method.nsid
            )));
        }
    }
    call.caller = identify(&ctx, method.auth, method.nsid, parts).await?;
    if let Caller::Session(session) = &call.caller {
        oauth::permit(session, method.auth, method.nsid, &call.params)?;
    }
    read_input(method, &mut call, parts, body).await?;
    let reply = method.run(call).await?;
    if ctx.config.check_outputs
        && let Reply::Json(text) = &reply
    {
        let value: Value = serde_json::from_slice(text).map_err(XrpcError::internal)?;
        lexicons.validate_output(method.nsid, &value).map_err(|e| {
            XrpcError::internal(format!("the answer of {} is wrong: {e}", method.nsid))
        })?;
    }
    Ok(reply)
}

async fn read_input(
    method: &Method,
    call: &mut Call,
    parts: &Parts,
    body: &mut Option<Body>,
) -> Result<(), XrpcError> {
    let present = presence(&parts.headers, body.as_ref());
    if method.input == Input::None {
        return match present {
            Presence::Present => Err(XrpcError::invalid(
                "A request body was provided when none was expected",
            )),
            _ => Ok(()),
        };
    }
    if present == Presence::Missing {
        return Err(XrpcError::invalid(
            "A request body is expected but none was provided",
        ));
    }
    call.media_type = media_type(&parts.headers)?;
    let fits = match &method.input {
        Input::Json => call.media_type == "application/json",
        Input::Stream { accepts: pattern } => accepts(pattern, &call.media_type),
        Input::None => true,
    };
    if !fits {
        let found = &call.media_type;
        return Err(XrpcError::invalid(format!(
            "Wrong request encoding (Content-Type): {found}"
        )));
    }
    check_content_encoding(&parts.headers)?;
    let config = &call.ctx.config;
    let limit = method.body_limit.unwrap_or(config.sizes.json as u64);
    let idle = config.connections.body_idle_timeout();
    let body = body.take().unwrap_or_default();
    let pieces = Pieces::new(&parts.headers, body, limit, idle);
    if method.input != Input::Json {
        call.stream = Some(pieces?);
        return Ok(());
    }
    let text = match pieces {
        Ok(pieces) => {
            let time = config.connections.body_timeout();
            pieces.within(time).all().await
        }
        Err(e) => Err(e),
    };
    let text = text.map_err(|e| match e.status() {
        // The official server's JSON reader has a name of its own for it.
        StatusCode::PAYLOAD_TOO_LARGE => XrpcError::new(
            e.status(),
            "PayloadTooLargeError",
            "request entity too large",
        ),
        _ => e,
    })?;
    call.input = parse(&text)?;
    let lexicons = &call.ctx.lexicons;
    lexicons.fill_input_defaults(method.nsid, &mut call.input);
    lexicons
        .validate_input(method.nsid, &call.input)
        .map_err(|e| match e {
            LexiconError::Invalid(e) => XrpcError::invalid(e.to_string()),
            other => XrpcError::internal(other),
        })
}

/// Reads a body of JSON: an object or an array, and nothing stands for an empty object.
fn parse(text: &[u8]) -> Result<Value, XrpcError> {
    if text.is_empty() {
        return Ok(Value::Object(Default::default()));
    }
    match serde_json::from_slice(text) {
        Ok(value @ (Value::Object(_) | Value::Array(_))) => Ok(value),
        Ok(_) => Err(XrpcError::named("SyntaxError", "an object is expected")),
        Err(e) => {
            let message = e.to_string();
            // It may well be JSON, only too deep for any schema.
            let deep = message.starts_with("recursion limit exceeded");
            let name = if deep {
                "InvalidRequest"
            } else {
                "SyntaxError"
            };
            Err(XrpcError::named(name, message))
        }
    }
}

/// The NSID in a path under `/xrpc/`; a slash at the end is allowed.
fn nsid(path: &str) -> Option<&str> {
    let rest = path.strip_prefix("/xrpc/")?;
    let nsid = rest.strip_suffix('/').unwrap_or(rest);
    let good = nsid.len() >= 2
        && nsid.len() <= 317
        && nsid
            .split(['.', '-'])
            .all(|part| !part.is_empty() && part.bytes().all(|b| b.is_ascii_alphanumeric()));
    good.then_some(nsid)
}

fn cursor(ctx: &Context, method: &str, request: &Request<Body>) -> firehose::Wanted {
    let query = request.uri().query().unwrap_or_default();
    let params = ctx
        .lexicons
        .validate_params(method, Params::pairs(query)?)
        .map_err(|e| XrpcError::invalid(format!("Invalid {method} params: {e}")))?;
    match params.get("cursor").and_then(Value::as_i64) {
        None => Ok(None),
        Some(cursor) => u64::try_from(cursor)
            .map(Some)
            .map_err(|_| XrpcError::invalid("a cursor is not negative")),
    }
}

#[cfg(test)]
mod tests {
    use super::{nsid, parse};

    #[test]
    fn bodies() {
        let name = |text: &str| parse(text.as_bytes()).map_err(|e| e.name().to_owned());
        assert_eq!(name(""), Ok(serde_json::json!({})));
        assert_eq!(name("[]"), Ok(serde_json::json!([])));
        for bad in ["null", "7", "nonsense", "{", "{}x", " "] {
            assert_eq!(name(bad), Err("SyntaxError".to_owned()), "{bad}");
        }
        let deep = "[".repeat(5000) + &"]".repeat(5000);
        assert_eq!(name(&deep), Err("InvalidRequest".to_owned()));
    }

    #[test]
    fn paths() {
        assert_eq!(
            nsid("/xrpc/com.atproto.sync.getRepo"),
            Some("com.atproto.sync.getRepo")
        );
        assert_eq!(
            nsid("/xrpc/com.atproto.sync.getRepo/"),
            Some("com.atproto.sync.getRepo")
        );
        for bad in [
            "/xrpc/",
            "/xrpc/a",
            "/xrpc/a..b",
            "/xrpc/a.b/c",
            "/xrpc/.a.b",
            "/x/a.b",
        ] {
            assert_eq!(nsid(bad), None, "{bad}");
        }
    }
}
