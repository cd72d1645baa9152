//! Pages for the people at this machine: they tell of everybody's data, so they are shown to nobody who asks over a
//! network or through a proxy, from another page or with credentials.

use std::net::{IpAddr, SocketAddr};

use axum::extract::{ConnectInfo, Request};
use axum::response::{Html, IntoResponse, Response};
use http::header::{self, HeaderMap, HeaderName};
use http::{HeaderValue, Method, StatusCode};

/// Only what the page itself brings along may run.
const CONTENT_SECURITY: &str = "default-src 'none'; style-src 'unsafe-inline'; \
     script-src 'unsafe-inline'; connect-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'";

/// Headers that make it another's call: of a proxy, of another page, or of a program that shows who it is.
const NOT_HERE: [HeaderName; 5] = [
    header::AUTHORIZATION,
    header::ORIGIN,
    header::FORWARDED,
    header::VIA,
    HeaderName::from_static("x-forwarded-for"),
];

/// Whether somebody at this machine looks at the page under `path` with a browser.
pub fn is_asked_for(request: &Request, path: &str) -> bool {
    let (headers, uri) = (request.headers(), request.uri());
    let from = request.extensions().get::<ConnectInfo<SocketAddr>>();
    request.method() == Method::GET
        && uri.path() == path
        && text(headers, &header::ACCEPT).contains("text/html")
        && from.is_some_and(|peer| peer.0.ip().to_canonical().is_loopback())
        && !NOT_HERE.iter().any(|name| headers.contains_key(name))
        // Another name may be that of a page elsewhere which has itself resolved to this machine.
        && names_this_machine(uri.host().unwrap_or(text(headers, &header::HOST)))
}

/// A page that was made, or could not be.
pub fn answer(page: Result<String, askama::Error>) -> Response {
    match page {
        Ok(html) => {
            let headers = [
                (header::CONTENT_SECURITY_POLICY, CONTENT_SECURITY),
                (header::CACHE_CONTROL, "no-store"),
                (header::REFERRER_POLICY, "no-referrer"),
                (header::VARY, "accept, authorization, origin"),
            ];
            let headers = headers.map(|(name, text)| (name, HeaderValue::from_static(text)));
            (headers, Html(html)).into_response()
        }
        Err(error) => {
            tracing::error!(%error, "a page could not be made");
            StatusCode::INTERNAL_SERVER_ERROR.into_response()
        }
    }
}

fn text<'a>(headers: &'a HeaderMap, name: &HeaderName) -> &'a str {
    let value = headers.get(name).and_then(|value| value.to_str().ok());
    value.unwrap_or_default()
}

/// Whether a host, with or without a port, is this machine under a name that nobody else can give it.
fn names_this_machine(host: &str) -> bool {
    let name = match host.strip_prefix('[') {
        Some(rest) => rest.split(']').next().unwrap_or_default(),
        None => host.split(':').next().unwrap_or_default(),
    };
    let ip = name.parse::<IpAddr>();
    name.eq_ignore_ascii_case("localhost") || ip.is_ok_and(|ip| ip.is_loopback())
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    fn asked(peer: &str, headers: &[(&str, &str)]) -> bool {
        let mut builder = http::Request::get("/page?limit=1");
        for (name, value) in headers {
            builder = builder.header(*name, *value);
        }
        let mut request = builder.body(axum::body::Body::empty()).unwrap();
        let peer: IpAddr = peer.parse().unwrap();
        let peer = ConnectInfo(SocketAddr::new(peer, 1));
        request.extensions_mut().insert(peer);
        is_asked_for(&request, "/page")
    }

    #[test]
    fn a_browser_at_this_machine_sees_the_page() {
        let accept = ("accept", "text/html,application/xhtml+xml,*/*;q=0.8");
        for host in ["localhost:2583", "LocalHost", "127.0.0.1:80", "[::1]:2583"] {
            for peer in ["127.0.0.1", "::1", "::ffff:127.0.0.1"] {
                assert!(asked(peer, &[accept, ("host", host)]), "{host} {peer}");
            }
        }
    }

    #[test]
    fn everybody_else_does_not() {
        let (accept, host) = (("accept", "text/html"), ("host", "localhost"));
        assert!(!asked("192.0.2.1", &[accept, host]));
        assert!(!asked("127.0.0.1", &[("accept", "*/*"), host]));
        assert!(!asked("127.0.0.1", &[accept]));
        for host in ["node.example", "localhost.example:80", "192.0.2.1", "", "["] {
            assert!(!asked("127.0.0.1", &[accept, ("host", host)]), "{host}");
        }
        for name in NOT_HERE {
            let other = (name.as_str(), "x");
            assert!(!asked("127.0.0.1", &[accept, host, other]), "{name}");
        }
    }
}
