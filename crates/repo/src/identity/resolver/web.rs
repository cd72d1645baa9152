//! Questions over HTTP, with everything bounded.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use reqwest::dns::{Addrs, Name, Resolve, Resolving};
use reqwest::header::{ACCEPT, HOST};
use reqwest::redirect::Policy;
use reqwest::{Client, ClientBuilder, StatusCode};

use super::ResolveError;
use super::address::is_public;
use super::dns::Dns;

const MAX_REDIRECTS: usize = 3;

/// A builder of HTTP clients whose TLS is done by rustls with ring.
///
/// A client that is built without it ends the program when no other part has chosen an
/// implementation of TLS's cryptography.
pub fn http_client_builder() -> ClientBuilder {
    // it fails when one was chosen before, which is as good
    let _ = rustls::crypto::ring::default_provider().install_default();
    Client::builder()
}

/// Lets a client connect to public addresses only: a host's addresses are looked up and judged for
/// each connection, and those that were judged are connected to.
///
/// An address that stands in a URL is not looked up: see [`is_public_url`]. A proxy of the
/// environment would pass the guard by, so there is none.
pub fn public_only(builder: ClientBuilder) -> ClientBuilder {
    builder
        .no_proxy()
        .dns_resolver(Arc::new(PublicOnly { dns: None }))
}

/// Whether a stranger's URL may be asked by a client of [`public_only`]: https, and a host name or a
/// public address.
pub fn is_public_url(url: &reqwest::Url) -> bool {
    let host = url.host_str().unwrap_or_default();
    let bare = host.trim_start_matches('[').trim_end_matches(']');
    url.scheme() == "https" && !host.is_empty() && bare.parse().map_or(true, is_public)
}

/// Whom a question may reach.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Reach {
    /// A URL that the operator configured: anywhere.
    Operator,
    /// A stranger's host, no redirects.
    Stranger,
    /// A stranger's host; it may send us on to another one, by https.
    StrangerWithRedirects,
}

/// The HTTP clients. A system without TLS roots makes questions fail, not the start.
pub(super) struct Web {
    operator: Result<Client, String>,
    stranger: Result<Client, String>,
    redirected: Result<Client, String>,
}

/// What came back.
pub(super) enum Answer {
    Body(Vec<u8>),
    /// 404 or 410.
    Gone,
}

impl Web {
    /// `dns` is set when the operator named DNS servers; otherwise the system is asked for addresses.
    pub(super) fn new(timeout: Duration, allow_private: bool, dns: Option<Arc<Dns>>) -> Self {
        let build = |builder: ClientBuilder| {
            builder
                .timeout(timeout)
                .connect_timeout(timeout)
                .user_agent(concat!("ues/", env!("CARGO_PKG_VERSION")))
                .no_proxy()
                .build()
                .map_err(|e| describe(&e))
        };
        let guard = || {
            let builder = http_client_builder();
            if allow_private {
                builder
            } else {
                builder.dns_resolver(Arc::new(PublicOnly { dns: dns.clone() }))
            }
        };
        Self {
            operator: build(http_client_builder().redirect(Policy::none())),
            stranger: build(guard().redirect(Policy::none())),
            redirected: build(guard().redirect(redirects())),
        }
    }

    /// Asks for a URL; an answer longer than `max_bytes` is an error.
    pub(super) async fn get(
        &self,
        reach: Reach,
        url: &str,
        host: Option<&str>,
        max_bytes: usize,
    ) -> Result<Answer, ResolveError> {
        let unreachable = |why: String| ResolveError::Unreachable {
            what: url.to_owned(),
            why,
        };
        let client = match reach {
            Reach::Operator => &self.operator,
            Reach::Stranger => &self.stranger,
            Reach::StrangerWithRedirects => &self.redirected,
        };
        let client = client.as_ref().map_err(|why| unreachable(why.clone()))?;
        let mut request = client.get(url).header(
            ACCEPT,
            "application/did+ld+json, application/json, text/plain",
        );
        if let Some(host) = host {
            request = request.header(HOST, host);
        }
        let failed = |e: reqwest::Error| unreachable(describe(&e));
        let mut response = request.send().await.map_err(failed)?;
        match response.status() {
            StatusCode::OK => {}
            StatusCode::NOT_FOUND | StatusCode::GONE => return Ok(Answer::Gone),
            status => return Err(unreachable(format!("it answered {status}"))),
        }
        let mut body = Vec::new();
        while let Some(piece) = response.chunk().await.map_err(failed)? {
            if body.len() + piece.len() > max_bytes {
                return Err(unreachable(format!(
                    "its answer is longer than {max_bytes} bytes"
                )));
            }
            body.extend_from_slice(&piece);
        }
        Ok(Answer::Body(body))
    }
}

/// Follows a few redirects, by https and to names only: addresses would pass the guard by.
fn redirects() -> Policy {
    Policy::custom(|attempt| {
        if attempt.previous().len() > MAX_REDIRECTS {
            attempt.error("too many redirects")
        } else if attempt.url().scheme() != "https" || attempt.url().domain().is_none() {
            attempt.error("a redirect to something else than https and a host name")
        } else {
            attempt.follow()
        }
    })
}

/// Resolves host names, and knows only public addresses.
struct PublicOnly {
    dns: Option<Arc<Dns>>,
}

impl Resolve for PublicOnly {
    fn resolve(&self, name: Name) -> Resolving {
        let dns = self.dns.clone();
        Box::pin(async move {
            let mut public: Vec<SocketAddr> = match dns {
                Some(dns) => {
                    let found = dns.addresses(name.as_str()).await?;
                    found.into_iter().map(|ip| (ip, 0).into()).collect()
                }
                None => tokio::net::lookup_host((name.as_str(), 0)).await?.collect(),
            };
            public.retain(|found| is_public(found.ip()));
            if public.is_empty() {
                return Err(format!("{} has no public address", name.as_str()).into());
            }
            Ok(Box::new(public.into_iter()) as Addrs)
        })
    }
}

/// An error with its causes, and without the URL, which the caller knows.
fn describe(error: &reqwest::Error) -> String {
    let mut text = String::new();
    let mut cause: Option<&dyn std::error::Error> = Some(error);
    while let Some(error) = cause {
        if !text.is_empty() {
            text.push_str(": ");
        }
        text.push_str(&error.to_string());
        cause = error.source();
    }
    text
}

#[cfg(test)]
mod tests {
    use super::is_public_url;

    #[test]
    fn urls_of_strangers() {
        let public = |url: &str| is_public_url(&url.parse().unwrap());
        assert!(public("https://api.example.com/a"));
        assert!(public("https://8.8.8.8:8443"));
        for private in [
            "http://api.example.com",
            "https://127.0.0.1",
            "https://2130706433",
            "https://0x7f.1",
            "https://[::1]:3000",
            "https://[::ffff:10.0.0.1]",
            "https://169.254.169.254/latest",
        ] {
            assert!(!public(private), "{private}");
        }
    }
}
