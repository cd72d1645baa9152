//! The HTTP clients by which calls go to other services.

use std::time::Duration;

use reqwest::redirect::Policy;
use reqwest::{Client, ClientBuilder, Url};
use ues_repo::identity::resolver::{http_client_builder, is_public_url, public_only};

use crate::config::Proxy as Config;
use crate::xrpc::XrpcError;

/// How long a connection may take to be made.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(10);

/// Who named an address.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Reach {
    /// The operator: it may be anywhere.
    Operator,
    /// A DID document: it may be on the public internet, over https.
    Stranger,
}

/// Clients for both kinds of addresses. None follows redirects.
pub struct Clients {
    operator: Result<Client, String>,
    stranger: Result<Client, String>,
    /// Bounds.
    pub config: Config,
}

impl Clients {
    /// Makes the clients. A system without TLS roots makes calls fail, not the start.
    pub fn new(config: Config) -> Self {
        let build = |builder: ClientBuilder| {
            builder
                .redirect(Policy::none())
                .connect_timeout(CONNECT_TIMEOUT)
                .user_agent(concat!("ues/", env!("CARGO_PKG_VERSION")))
                .no_proxy()
                .build()
                .map_err(|e| e.to_string())
        };
        let stranger = if config.allow_private_addresses {
            http_client_builder()
        } else {
            public_only(http_client_builder())
        };
        Self {
            operator: build(http_client_builder()),
            stranger: build(stranger),
            config,
        }
    }

    /// The client that may ask for a URL.
    pub fn client(&self, url: &Url, reach: Reach) -> Result<&Client, XrpcError> {
        let client = match reach {
            Reach::Operator => &self.operator,
            Reach::Stranger => {
                if !self.config.allow_private_addresses && !is_public_url(url) {
                    tracing::debug!(%url, "a service's address is not a public one");
                    return Err(unreachable());
                }
                &self.stranger
            }
        };
        client.as_ref().map_err(XrpcError::internal)
    }
}

/// What a client is told of a service that does not answer.
pub fn unreachable() -> XrpcError {
    XrpcError::upstream("Upstream service unreachable")
}
