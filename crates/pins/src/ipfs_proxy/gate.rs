//! What every call passes first: who calls, and whether a web page may.

use std::sync::Arc;
use std::time::{Duration, Instant};

use axum::extract::{FromRequestParts, Request, State};
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};
use http::header::{
    ACCESS_CONTROL_ALLOW_CREDENTIALS, ACCESS_CONTROL_ALLOW_ORIGIN, ACCESS_CONTROL_EXPOSE_HEADERS,
    ACCESS_CONTROL_REQUEST_METHOD, CONTENT_TYPE, ORIGIN, SERVER, VARY, WWW_AUTHENTICATE,
};
use http::request::Parts;
use http::{HeaderMap, HeaderName, HeaderValue, Method, StatusCode};
use parking_lot::Mutex;

use super::upstream::{Question, original_uri};
use super::{Failure, Proxy, drain};
use crate::auth::{Caller, Credentials, Denied};

/// Says where a call of a browser comes from. Browsers send it, and pages cannot change it.
const FETCH_SITE: HeaderName = HeaderName::from_static("sec-fetch-site");
/// Headers of Kubo that a page needs, taken from what Kubo answers to the page's preflight.
const CORS: [HeaderName; 3] = [
    ACCESS_CONTROL_ALLOW_ORIGIN,
    ACCESS_CONTROL_ALLOW_CREDENTIALS,
    VARY,
];
/// How long it is believed which headers Kubo exposes to pages.
const BELIEVED: Duration = Duration::from_secs(300);

/// Which headers Kubo exposes to pages.
#[derive(Clone, Default)]
pub(super) struct Exposed(Arc<Mutex<Option<Known>>>);

/// What Kubo said, and when.
struct Known {
    since: Instant,
    exposed: Option<HeaderValue>,
}

/// Lets in who may call.
pub(super) async fn authenticate(
    State(proxy): State<Proxy>,
    mut request: Request,
    next: Next,
) -> Response {
    // A preflight shows nothing; Kubo answers it.
    if request.method() == Method::OPTIONS {
        return match proxy.forward(Question::of(request)).await {
            Ok(answer) => answer.map(axum::body::Body::new),
            Err(failure) => failure.into_response(),
        };
    }
    let judged = match Credentials::of(request.headers()) {
        Ok(shown) => (proxy.desk.authenticate)(shown).await,
        Err(denied) => Err(denied),
    };
    match judged {
        Ok(caller) => drop(request.extensions_mut().insert(caller)),
        Err(Denied::Unknown(why)) => {
            return Failure::new(StatusCode::SERVICE_UNAVAILABLE, why).into_response();
        }
        Err(denied) => {
            let failure = Failure::new(StatusCode::UNAUTHORIZED, denied.to_string());
            let mut response = failure.into_response();
            let basic = HeaderValue::from_static("Basic realm=\"IPFS\"");
            response.headers_mut().insert(WWW_AUTHENTICATE, basic);
            return response;
        }
    }
    next.run(request).await
}

/// Sets the headers of the service's own answers, and turns away pages that Kubo would turn away: the answer alone
/// would not protect from them, since a page need not read what it has caused.
pub(super) async fn headers(State(proxy): State<Proxy>, request: Request, next: Next) -> Response {
    let mut cors = HeaderMap::new();
    if is_from_page(request.headers()) {
        let allowed = match preflight(&request) {
            Some(question) => proxy.allowed(question).await,
            None => None,
        };
        match allowed {
            Some(allowed) => cors = allowed,
            None => return Failure::new(StatusCode::FORBIDDEN, "403 - Forbidden").into_response(),
        }
    }
    let (request, rest) = drain::lend(request);
    let mut response = next.run(request).await;
    if !response.status().is_success() {
        rest.drain().await;
    }
    let headers = response.headers_mut();
    headers.extend(cors);
    let server = concat!("ues/ipfsproxy/", env!("CARGO_PKG_VERSION"));
    headers.insert(SERVER, HeaderValue::from_static(server));
    headers
        .entry(CONTENT_TYPE)
        .or_insert(HeaderValue::from_static("application/json"));
    response
}

fn is_from_page(headers: &HeaderMap) -> bool {
    let site = headers.get(FETCH_SITE);
    headers.contains_key(ORIGIN) || site.is_some_and(|site| site != "none")
}

/// The preflight that a page would send before this call; none without an origin.
fn preflight(request: &Request) -> Option<Question> {
    let mut headers = HeaderMap::new();
    headers.insert(ORIGIN, request.headers().get(ORIGIN)?.clone());
    let method = HeaderValue::from_str(request.method().as_str()).ok()?;
    headers.insert(ACCESS_CONTROL_REQUEST_METHOD, method);
    Some(Question {
        method: Method::OPTIONS,
        target: original_uri(request).path().to_owned(),
        headers,
        body: None,
    })
}

impl Proxy {
    /// The headers with which Kubo allows a page to call; `None` when it does not.
    async fn allowed(&self, preflight: Question) -> Option<HeaderMap> {
        let origin = preflight.headers.get(ORIGIN)?.clone();
        let answer = self.ask(preflight).await?;
        let allowed = answer.get(ACCESS_CONTROL_ALLOW_ORIGIN)?;
        if allowed != "*" && allowed != origin {
            return None;
        }
        let mut headers = HeaderMap::new();
        for name in CORS {
            for value in answer.get_all(&name) {
                headers.append(name.clone(), value.clone());
            }
        }
        if let Some(exposed) = self.exposed().await {
            headers.insert(ACCESS_CONTROL_EXPOSE_HEADERS, exposed);
        }
        Some(headers)
    }

    async fn exposed(&self) -> Option<HeaderValue> {
        if let Some(known) = &*self.exposed.0.lock()
            && known.since.elapsed() < BELIEVED
        {
            return known.exposed.clone();
        }
        let question = Question {
            method: Method::POST,
            target: "/api/v0/version".to_owned(),
            headers: HeaderMap::new(),
            body: None,
        };
        let answer = self.ask(question).await?;
        let exposed = answer.get(ACCESS_CONTROL_EXPOSE_HEADERS).cloned();
        *self.exposed.0.lock() = Some(Known {
            since: Instant::now(),
            exposed: exposed.clone(),
        });
        exposed
    }

    /// The headers of an answer of the Kubo behind.
    async fn ask(&self, question: Question) -> Option<HeaderMap> {
        let answer = self.forward(question).await.ok()?;
        Some(answer.into_parts().0.headers)
    }
}

/// A caller who may read.
pub(super) struct Reader(pub Caller);

/// A caller who may write.
pub(super) struct Writer(pub Caller);

/// A caller who may see and change what belongs to everybody.
pub(super) struct Operator;

fn caller(parts: &Parts, may: fn(&Caller) -> bool, what: &str) -> Result<Caller, Failure> {
    let caller = parts.extensions.get::<Caller>().cloned();
    let refused = || {
        let why = format!("forbidden: these credentials may not {what}");
        Failure::new(StatusCode::FORBIDDEN, why)
    };
    caller.filter(may).ok_or_else(refused)
}

impl<S: Send + Sync> FromRequestParts<S> for Reader {
    type Rejection = Failure;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Self, Failure> {
        caller(parts, |caller| caller.reads, "read pins").map(Self)
    }
}

impl<S: Send + Sync> FromRequestParts<S> for Writer {
    type Rejection = Failure;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Self, Failure> {
        caller(parts, |caller| caller.writes, "change pins").map(Self)
    }
}

impl<S: Send + Sync> FromRequestParts<S> for Operator {
    type Rejection = Failure;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Self, Failure> {
        let operates = |caller: &Caller| caller.operates && caller.writes;
        caller(parts, operates, "use the Kubo behind").map(|_| Self)
    }
}
