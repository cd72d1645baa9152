//! What clients get by plain HTTP when the node has TLS: on this machine, everything; elsewhere, the way to TLS.

use std::net::SocketAddr;

use axum::Router;
use axum::extract::{ConnectInfo, Request, State};
use axum::middleware::{Next, from_fn_with_state};
use axum::response::{IntoResponse, Response};
use http::{HeaderMap, HeaderValue, StatusCode, Uri, header};

/// Sends clients from plain HTTP to TLS.
#[derive(Clone, Debug)]
pub struct Redirect {
    /// Host, and port if it is not the scheme's, that the node is reached at.
    authority: String,
    /// Names that lead to the node.
    domains: Vec<String>,
}

impl Redirect {
    /// To a node that others reach at this host and port, and at other names on the same port.
    #[must_use]
    pub fn new(authority: &str, domains: &[String]) -> Self {
        Self {
            authority: authority.to_owned(),
            domains: domains
                .iter()
                .map(|name| name.to_ascii_lowercase())
                .collect(),
        }
    }

    /// Puts it in front of the routes.
    pub(crate) fn before(self, router: Router) -> Router {
        router.layer(from_fn_with_state(self, send_on))
    }

    /// Where a request should have gone; `None`: it is right here.
    fn target(&self, peer: Option<SocketAddr>, headers: &HeaderMap, uri: &Uri) -> Option<String> {
        let host = uri.host().or_else(|| {
            let host = headers.get(header::HOST)?.to_str().ok()?;
            Some(host.rsplit_once(':').map_or(host, |(name, _)| name))
        });
        let host = host.unwrap_or_default().to_ascii_lowercase();
        let is_ours = self.domains.contains(&host);
        let near = peer.is_some_and(|peer| peer.ip().to_canonical().is_loopback());
        if near && !is_ours {
            return None;
        }
        let path = uri.path_and_query().map_or("/", |path| path.as_str());
        let (name, port) = match self.authority.rsplit_once(':') {
            Some((name, port)) if port.bytes().all(|b| b.is_ascii_digit()) => (name, Some(port)),
            _ => (self.authority.as_str(), None),
        };
        // Nobody is sent to a name that is not the node's.
        let name = if is_ours { host.as_str() } else { name };
        Some(match port {
            Some(port) => format!("https://{name}:{port}{path}"),
            None => format!("https://{name}{path}"),
        })
    }
}

async fn send_on(State(redirect): State<Redirect>, request: Request, next: Next) -> Response {
    let peer = request.extensions().get::<ConnectInfo<SocketAddr>>();
    let peer = peer.map(|ConnectInfo(peer)| *peer);
    match redirect.target(peer, request.headers(), request.uri()) {
        None => next.run(request).await,
        Some(target) => match HeaderValue::try_from(target) {
            Ok(target) => {
                let headers = [(header::LOCATION, target)];
                (StatusCode::PERMANENT_REDIRECT, headers).into_response()
            }
            Err(_) => StatusCode::BAD_REQUEST.into_response(),
        },
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    fn target(peer: &str, host: &str, path: &str) -> Option<String> {
        let domains = ["node.example".to_owned(), "Alice.Example".to_owned()];
        let redirect = Redirect::new("node.example", &domains);
        let mut headers = HeaderMap::new();
        headers.insert(header::HOST, host.parse().unwrap());
        redirect.target(
            Some(peer.parse().unwrap()),
            &headers,
            &path.parse().unwrap(),
        )
    }

    #[test]
    fn who_is_sent_on() {
        let near = "127.0.0.1:4";
        assert_eq!(target(near, "127.0.0.1:2583", "/xrpc/_health"), None);
        assert_eq!(target("[::ffff:127.0.0.1]:4", "localhost", "/"), None);
        let to = |text: &str| Some(text.to_owned());
        assert_eq!(
            target(near, "node.example", "/a?b=c"),
            to("https://node.example/a?b=c")
        );
        let far = "192.0.2.7:4";
        assert_eq!(
            target(far, "alice.example:80", "/"),
            to("https://alice.example/")
        );
        assert_eq!(
            target(far, "evil.example", "/"),
            to("https://node.example/")
        );
        assert_eq!(target(far, "127.0.0.1", "/"), to("https://node.example/"));
        let other = Redirect::new("node.example:8443", &["node.example".to_owned()]);
        let found = other.target(None, &HeaderMap::new(), &"/x".parse().unwrap());
        assert_eq!(found, to("https://node.example:8443/x"));
    }
}
