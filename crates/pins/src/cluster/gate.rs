//! What every call passes first: who calls, where from, and whether the path is written properly.

use axum::body::Body;
use axum::extract::{FromRequestParts, Request, State};
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};
use http::header::{LOCATION, ORIGIN, VARY, WWW_AUTHENTICATE};
use http::request::Parts;
use http::{HeaderMap, HeaderName, HeaderValue, Method, StatusCode};

use super::{Desk, Failure};
use crate::auth::{Caller, Credentials, Denied};

const REALM: &str = "realm=\"Restricted IPFS Cluster API\"";

/// Lets in who may call. Preflights and `GET /health` need nobody's name, as in the original.
pub(super) async fn authenticate(
    State(desk): State<Desk>,
    mut request: Request,
    next: Next,
) -> Response {
    let open = request.method() == Method::OPTIONS
        || (request.method() == Method::GET && request.uri().path() == "/health");
    if !open {
        match caller(&desk, request.headers()).await {
            Ok(caller) => drop(request.extensions_mut().insert(caller)),
            Err(response) => return *response,
        }
    }
    next.run(request).await
}

/// The sentences are the original's: programs compare them.
async fn caller(desk: &Desk, headers: &HeaderMap) -> Result<Caller, Box<Response>> {
    let shown = Credentials::of(headers);
    let judged = match shown.clone() {
        Ok(shown) => (desk.authenticate)(shown).await,
        Err(denied) => Err(denied),
    };
    let denied = match judged {
        Ok(caller) => return Ok(caller),
        Err(Denied::Unknown(why)) => {
            let failure = Failure::new(StatusCode::SERVICE_UNAVAILABLE, why);
            return Err(Box::new(failure.into_response()));
        }
        Err(denied) => denied,
    };
    let (sentence, challenges) = match shown {
        Ok(Credentials::Basic(..)) => ("access denied", vec![format!("Basic {REALM}")]),
        Ok(Credentials::Bearer(_)) => (
            "invalid token",
            vec![format!("Bearer {REALM}, error=\"invalid_token\"")],
        ),
        Ok(Credentials::None) | Err(_) => (
            "no auth provided",
            vec![format!("Bearer {REALM}"), format!("Basic {REALM}")],
        ),
    };
    tracing::debug!(%denied, sentence, "a call of the cluster interface is refused");
    let failure = Failure::new(
        StatusCode::UNAUTHORIZED,
        format!("unauthorized: {sentence}"),
    );
    let mut response = failure.into_response();
    for challenge in challenges {
        if let Ok(value) = HeaderValue::from_str(&challenge) {
            response.headers_mut().append(WWW_AUTHENTICATE, value);
        }
    }
    Err(Box::new(response))
}

/// Answers browsers as the original does when it is not configured otherwise: any page may read, none may change.
pub(super) async fn cors(request: Request, next: Next) -> Response {
    let from_page = request.headers().contains_key(ORIGIN);
    let asked = request.headers().get("access-control-request-method");
    if request.method() == Method::OPTIONS && asked.is_some() {
        let reading = asked.is_some_and(|method| method == "GET");
        let plain = request
            .headers()
            .get("access-control-request-headers")
            .is_none_or(|names| names.to_str().is_ok_and(only_plain));
        let mut response = StatusCode::NO_CONTENT.into_response();
        vary(&mut response);
        if from_page && reading && plain {
            let asked = request.headers().get("access-control-request-headers");
            allow(response.headers_mut());
            put(
                response.headers_mut(),
                "access-control-allow-methods",
                "GET",
            );
            if let Some(names) = asked {
                let name = HeaderName::from_static("access-control-allow-headers");
                response.headers_mut().insert(name, names.clone());
            }
        }
        return response;
    }
    let mut response = next.run(request).await;
    response
        .headers_mut()
        .append(VARY, HeaderValue::from_static("Origin"));
    if from_page {
        allow(response.headers_mut());
        let exposed = "Content-Type, X-Stream-Output, X-Chunked-Output, X-Content-Length";
        put(
            response.headers_mut(),
            "access-control-expose-headers",
            exposed,
        );
    }
    response
}

/// Whether these are header names that a page may send.
fn only_plain(names: &str) -> bool {
    let plain = ["origin", "accept", "content-type", "x-requested-with"];
    let known = |name: &str| plain.iter().any(|p| name.trim().eq_ignore_ascii_case(p));
    names.split(',').all(known)
}

fn vary(response: &mut Response) {
    let names = "Origin, Access-Control-Request-Method, Access-Control-Request-Headers";
    response
        .headers_mut()
        .append(VARY, HeaderValue::from_static(names));
}

fn allow(headers: &mut HeaderMap) {
    put(headers, "access-control-allow-origin", "*");
    put(headers, "access-control-allow-credentials", "true");
}

fn put(headers: &mut HeaderMap, name: &'static str, value: &'static str) {
    headers.insert(
        HeaderName::from_static(name),
        HeaderValue::from_static(value),
    );
}

/// Sends paths that end with a slash to the ones without, in a way that keeps the method.
pub(super) async fn strict_slash(request: Request, next: Next) -> Response {
    let Some(path) = request.uri().path().strip_suffix('/') else {
        return next.run(request).await;
    };
    let query = request.uri().query();
    let query = query.map(|query| format!("?{query}")).unwrap_or_default();
    // Never `//host`, which a client would take for another server.
    let place = format!("/{}{query}", path.trim_start_matches('/'));
    match HeaderValue::from_str(&place) {
        Ok(place) => {
            let mut response = Response::new(Body::empty());
            *response.status_mut() = StatusCode::TEMPORARY_REDIRECT;
            response.headers_mut().insert(LOCATION, place);
            response
        }
        Err(_) => not_found().await.into_response(),
    }
}

/// What is no call of this interface.
pub(super) async fn not_found() -> Failure {
    Failure::new(StatusCode::NOT_FOUND, "not found")
}

/// A caller who may read.
pub(super) struct Reader(pub Caller);

/// A caller who may write.
pub(super) struct Writer(pub Caller);

/// A caller who may see and change what belongs to everybody.
pub(super) struct Operator;

fn known(parts: &Parts) -> Result<Caller, Failure> {
    let caller = parts.extensions.get::<Caller>().cloned();
    caller.ok_or_else(|| Failure::new(StatusCode::UNAUTHORIZED, "unauthorized: no auth provided"))
}

fn allowed(may: bool, what: &str) -> Result<(), Failure> {
    let refused = || format!("forbidden: these credentials may not {what}");
    may.then_some(())
        .ok_or_else(|| Failure::new(StatusCode::FORBIDDEN, refused()))
}

impl<S: Send + Sync> FromRequestParts<S> for Reader {
    type Rejection = Failure;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Self, Failure> {
        let caller = known(parts)?;
        allowed(caller.reads, "read pins")?;
        Ok(Self(caller))
    }
}

impl<S: Send + Sync> FromRequestParts<S> for Writer {
    type Rejection = Failure;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Self, Failure> {
        let caller = known(parts)?;
        allowed(caller.writes, "change pins")?;
        Ok(Self(caller))
    }
}

impl<S: Send + Sync> FromRequestParts<S> for Operator {
    type Rejection = Failure;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Self, Failure> {
        let caller = known(parts)?;
        allowed(caller.operates && caller.writes, "change the workers")?;
        Ok(Self)
    }
}
