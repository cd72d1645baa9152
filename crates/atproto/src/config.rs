//! What an operator can set.

use std::time::Duration;

use serde::{Deserialize, Serialize};

/// Configuration of a node's AT Protocol server. Every field has a default that suits a node on
/// localhost, so an empty table is a valid configuration.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Config {
    /// Where clients reach the node: scheme, host and, if it is not the scheme's own, port.
    pub public_url: String,
    /// DID of the service; by default `did:web` of the public URL's host.
    pub service_did: Option<String>,
    /// Domains under which accounts may take a handle, each with its leading dot.
    pub handle_domains: Vec<String>,
    /// Whether an account needs an invite code.
    pub invite_required: bool,
    /// Days after which each account gets an invite code to give away, of which five may be unused;
    /// 0: none.
    pub invite_interval_days: u64,
    /// Mail to the owners of accounts.
    pub mail: Mail,
    /// The moderation service that answers `tools.ozone` and that may moderate here; `None` for none.
    pub moderation: Option<ServiceAddress>,
    /// A did:key that every new did:plc gets as its highest rotation key.
    pub recovery_key: Option<String>,
    /// Link shown by `describeServer`.
    pub privacy_policy_url: Option<String>,
    /// Link shown by `describeServer`.
    pub terms_of_service_url: Option<String>,
    /// Address shown by `describeServer`.
    pub contact_email: Option<String>,
    /// Where DIDs of new accounts are registered.
    pub plc: PlcMode,
    /// DNS servers that are asked for handles and lexicons; empty for those of the system.
    pub dns_servers: Vec<std::net::SocketAddr>,
    /// The AppView, which answers what clients ask of the whole network; `None` for none.
    pub appview: Option<AppView>,
    /// The moderation service that gets reports; `None`: they stay here.
    pub report_service: Option<ServiceAddress>,
    /// DID whose labels this node makes; `None`: the one of the service.
    pub labeler: Option<String>,
    /// Bounds for calls that are passed on to other services.
    pub proxy: Proxy,
    /// The bucket that new blobs go to; `None`: they stay in the node's store.
    #[serde(skip)]
    pub blob_bucket: Option<ues_repo::blob_store::S3Options>,
    /// Requests allowed by address and account.
    pub rate_limits: RateLimits,
    /// How much an account may have unless it has quotas of its own.
    pub quotas: crate::quota::Quotas,
    /// Sizes of what a client may send.
    pub sizes: Sizes,
    /// Times and counts that keep slow and numerous clients in bounds.
    pub connections: Connections,
    /// The event stream.
    pub firehose: Firehose,
    /// How long what is no longer needed is kept.
    pub upkeep: Upkeep,
    /// Whether repositories may be imported.
    pub accept_imports: bool,
    /// Checks each answer against its lexicon too, and fails the request when it does not conform:
    /// for development.
    pub check_outputs: bool,
}

impl Default for Config {
    fn default() -> Self {
        Self {
            public_url: "http://localhost:2583".to_owned(),
            service_did: None,
            handle_domains: vec![".test".to_owned()],
            invite_required: false,
            invite_interval_days: 0,
            mail: Mail::default(),
            moderation: None,
            recovery_key: None,
            privacy_policy_url: None,
            terms_of_service_url: None,
            contact_email: None,
            plc: PlcMode::Embedded,
            dns_servers: Vec::new(),
            appview: None,
            report_service: None,
            labeler: None,
            proxy: Proxy::default(),
            blob_bucket: None,
            rate_limits: RateLimits::default(),
            quotas: crate::quota::Quotas::default(),
            sizes: Sizes::default(),
            connections: Connections::default(),
            firehose: Firehose::default(),
            upkeep: Upkeep::default(),
            accept_imports: true,
            check_outputs: cfg!(debug_assertions),
        }
    }
}

impl Config {
    /// The public URL without a trailing slash, as it stands in DID documents.
    pub fn endpoint(&self) -> &str {
        self.public_url.trim_end_matches('/')
    }

    /// DID whose labels this node makes.
    pub fn labeler_did(&self) -> String {
        self.labeler.clone().unwrap_or_else(|| self.service_did())
    }

    /// Host and port of the public URL.
    pub fn authority(&self) -> &str {
        let rest = self.endpoint();
        let rest = rest.split_once("://").map_or(rest, |(_, rest)| rest);
        rest.split('/').next().unwrap_or(rest)
    }

    /// Host of the public URL, without the port.
    pub fn hostname(&self) -> &str {
        let authority = self.authority();
        match authority.rsplit_once(':') {
            Some((host, port)) if port.bytes().all(|b| b.is_ascii_digit()) => host,
            _ => authority,
        }
    }

    /// DID of the service. A port is escaped, as did:web demands.
    pub fn service_did(&self) -> String {
        match &self.service_did {
            Some(did) => did.clone(),
            None => format!("did:web:{}", self.authority().replace(':', "%3A")),
        }
    }

    /// The address that letters come from.
    pub fn mail_from(&self) -> String {
        match &self.mail.from {
            Some(from) => from.clone(),
            None => format!("noreply@{}", self.hostname()),
        }
    }

    /// Whether `handle` lies under one of the node's own domains.
    pub fn serves_handle(&self, handle: &str) -> bool {
        self.handle_domains
            .iter()
            .any(|d| handle.ends_with(d.as_str()) || handle == d.trim_start_matches('.'))
    }
}

/// How letters go out.
#[derive(Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Mail {
    /// The mail server: `smtps://NAME:PASSWORD@HOST:465`, or `smtp://` with `?tls=required`. None:
    /// letters stay in the outbox.
    pub smtp_url: Option<String>,
    /// The address that letters come from; by default `noreply@` the node's host.
    pub from: Option<String>,
}

impl std::fmt::Debug for Mail {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        // The URL may hold a password.
        f.debug_struct("Mail")
            .field("smtp", &self.smtp_url.is_some())
            .field("from", &self.from)
            .finish_non_exhaustive()
    }
}

/// Where DIDs of new accounts are registered.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum PlcMode {
    /// In the node's own directory, served under `/plc`.
    Embedded,
    /// In the directory at this URL, `https://plc.directory` for the public network.
    Url(String),
}

/// Another service that the operator trusts to be where they say.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ServiceAddress {
    /// Its address: scheme, host and port.
    pub url: String,
    /// Its DID, the audience of tokens for it.
    pub did: String,
}

impl ServiceAddress {
    /// A service at a URL; its DID is the did:web of the URL's host where none is given.
    pub fn new(url: &str, did: Option<&str>) -> Self {
        let authority = url.split_once("://").map_or(url, |(_, rest)| rest);
        let authority = authority.split('/').next().unwrap_or(authority);
        let of_host = || format!("did:web:{}", authority.replace(':', "%3A"));
        Self {
            url: url.trim_end_matches('/').to_owned(),
            did: did.map_or_else(of_host, str::to_owned),
        }
    }
}

/// The AppView that a node's accounts use.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct AppView {
    /// Where it is.
    pub service: ServiceAddress,
    /// Where pictures are shown from: three `%s` stand for the kind of picture, the account's DID
    /// and the blob's CID. `None`: from this node.
    pub cdn_url_pattern: Option<String>,
}

/// Bounds for calls that are passed on to other services.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Proxy {
    /// Whether a service that a DID document names may have a private address, or be reached by
    /// plain http: for networks on one machine.
    pub allow_private_addresses: bool,
    /// Seconds until the head of an answer must be there, from the end of the request.
    pub headers_timeout_s: u64,
    /// Seconds without a byte after which an answer is given up.
    pub body_timeout_s: u64,
    /// Largest body of a request, in bytes.
    pub max_request_bytes: u64,
    /// Largest answer, in bytes.
    pub max_response_bytes: u64,
}

impl Default for Proxy {
    fn default() -> Self {
        Self {
            allow_private_addresses: false,
            headers_timeout_s: 10,
            body_timeout_s: 30,
            max_request_bytes: 10 << 20,
            max_response_bytes: 10 << 20,
        }
    }
}

impl Proxy {
    /// See `headers_timeout_s`.
    pub fn headers_timeout(&self) -> Duration {
        Duration::from_secs(self.headers_timeout_s)
    }

    /// See `body_timeout_s`.
    pub fn body_timeout(&self) -> Duration {
        Duration::from_secs(self.body_timeout_s)
    }
}

/// Rate limits, with the official server's numbers.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct RateLimits {
    /// Switches all of them.
    pub enabled: bool,
    /// A request with this value in `x-ratelimit-bypass` is not limited.
    pub bypass_key: Option<String>,
    /// Addresses that are not limited, and whose `x-forwarded-for` is believed.
    pub bypass_ips: Vec<std::net::IpAddr>,
}

impl Default for RateLimits {
    fn default() -> Self {
        Self {
            enabled: true,
            bypass_key: None,
            bypass_ips: Vec::new(),
        }
    }
}

/// Sizes of what a client may send, in bytes.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Sizes {
    /// A JSON body.
    pub json: usize,
    /// The JSON body of a method that writes records.
    pub record_json: usize,
    /// An uploaded blob.
    pub blob: u64,
    /// An imported repository.
    pub import: u64,
}

impl Default for Sizes {
    fn default() -> Self {
        Self {
            json: 150 * 1024,
            record_json: 1_000_000,
            blob: 5 * 1024 * 1024,
            import: 4 << 30,
        }
    }
}

/// Bounds for connections.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Connections {
    /// Connections open at one time. When there are more, those go that have been longest without a whole request.
    pub max: usize,
    /// Of these, connections of one client (an IPv4 address, an IPv6 /64), and requests at one time of one that comes
    /// through a proxy. Proxies themselves, nearby or in `rate_limits.bypass_ips`, are not bounded.
    pub per_client: usize,
    /// Seconds a client may take to send its request's head.
    pub header_timeout_s: u64,
    /// Seconds without a byte after which a request's body is given up.
    pub body_idle_timeout_s: u64,
    /// Seconds in which a body of JSON or a form has to be there.
    pub body_timeout_s: u64,
    /// Least rate at which any body has to come, in bytes a second.
    pub body_bytes_per_s: u64,
    /// Seconds over which that rate is looked at.
    pub body_span_s: u64,
    /// Seconds that a stop waits for requests in flight.
    pub shutdown_grace_s: u64,
}

impl Default for Connections {
    fn default() -> Self {
        Self {
            max: 10_000,
            per_client: 256,
            header_timeout_s: 30,
            body_idle_timeout_s: 30,
            body_timeout_s: 60,
            body_bytes_per_s: 1000,
            body_span_s: 30,
            shutdown_grace_s: 10,
        }
    }
}

impl Connections {
    /// See `header_timeout_s`.
    pub fn header_timeout(&self) -> Duration {
        Duration::from_secs(self.header_timeout_s)
    }

    /// See `body_idle_timeout_s`.
    pub fn body_idle_timeout(&self) -> Duration {
        Duration::from_secs(self.body_idle_timeout_s)
    }

    /// See `body_timeout_s`.
    pub fn body_timeout(&self) -> Duration {
        Duration::from_secs(self.body_timeout_s)
    }

    /// See `shutdown_grace_s`.
    pub fn shutdown_grace(&self) -> Duration {
        Duration::from_secs(self.shutdown_grace_s)
    }
}

/// Bounds of the event stream.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Firehose {
    /// Addresses of relays that are told of this node.
    pub relays: Vec<String>,
    /// Events that a live subscriber may lag behind before it is cut off.
    pub max_lag_events: usize,
    /// Bytes of newest messages kept in memory for all live subscribers together; who lags behind
    /// more than this is served from the log.
    pub ring_bytes: usize,
    /// Subscribers at one time.
    pub max_subscribers: usize,
    /// Seconds without a byte accepted after which a subscriber is cut off.
    pub stall_timeout_s: u64,
    /// Seconds between pings.
    pub ping_interval_s: u64,
    /// Age in seconds from which events are not sent to who starts from a cursor; 0: all that are
    /// in the log are sent.
    pub backfill_limit_s: u64,
}

impl Default for Firehose {
    fn default() -> Self {
        Self {
            relays: Vec::new(),
            max_lag_events: 20_000,
            ring_bytes: 32 << 20,
            max_subscribers: 2_000,
            stall_timeout_s: 30,
            ping_interval_s: 30,
            backfill_limit_s: 0,
        }
    }
}

/// How long what is no longer needed is kept.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Upkeep {
    /// Hours that an uploaded blob waits for a record that refers to it; 0: for ever.
    pub temporary_blob_hours: u64,
    /// Days that an event is kept in the log; 0: for ever.
    pub event_days: u64,
    /// Newest events that are kept in the log; 0: all.
    pub events: u64,
}

impl Default for Upkeep {
    fn default() -> Self {
        Self {
            temporary_blob_hours: 24,
            event_days: 0,
            events: 0,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_of_a_local_node() {
        let config = Config::default();
        assert_eq!(config.service_did(), "did:web:localhost%3A2583");
        assert_eq!(config.hostname(), "localhost");
        assert!(config.serves_handle("alice.test"));
        assert!(!config.serves_handle("alice.example.com"));
    }

    #[test]
    fn names_of_a_public_node() {
        let config = Config {
            public_url: "https://pds.example.com/".into(),
            ..Config::default()
        };
        assert_eq!(config.service_did(), "did:web:pds.example.com");
        assert_eq!(config.endpoint(), "https://pds.example.com");
    }
}
