//! The configuration as the program uses it.

use std::net::SocketAddr;
use std::path::PathBuf;

use serde::Deserialize;

use super::serving::{Blobs, Tls};

/// Everything that can be configured, checked.
#[derive(Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Config {
    /// Folder that holds everything the node keeps.
    pub data: PathBuf,
    /// Address that the node listens on.
    pub listen: SocketAddr,
    /// Address under which others reach the node; empty for a local one.
    pub public_url: String,
    /// Domains under which accounts may choose a handle, each with its leading dot.
    pub handle_domains: Vec<String>,
    /// Whether a new account needs an invite code.
    pub invite_required: bool,
    /// Days after which each account gets an invite code to give away; 0: none.
    pub invite_interval_days: u64,
    /// Lets whoever knows it administer the node; empty: nobody.
    pub admin_password: String,
    /// Mail to the owners of accounts.
    pub mail: Mail,
    /// Whether repositories may be imported.
    pub accept_imports: bool,
    /// The operator's address; empty for none.
    pub contact_email: String,
    /// Link for describeServer; empty for none.
    pub privacy_policy_url: String,
    /// Link for describeServer; empty for none.
    pub terms_of_service_url: String,
    /// Identities.
    pub identity: Identity,
    /// The AppView.
    pub appview: AppView,
    /// The moderation service.
    pub moderation: OtherService,
    /// The service that gets reports.
    pub reports: OtherService,
    /// Labels that the node makes.
    pub labels: Labels,
    /// Calls that are passed on.
    pub proxy: Proxy,
    /// What unlocks the node's keys.
    pub keys: Keys,
    /// The event stream.
    pub firehose: Firehose,
    /// Uploaded blobs.
    pub blobs: Blobs,
    /// TLS of the node's own.
    pub tls: Tls,
    /// The pin service.
    pub pins: Pins,
    /// The peer-to-peer network.
    pub network: Network,
    /// How a NATS server is reached.
    pub nats: Nats,
    /// Where the pin service keeps its state.
    pub state: State,
    /// What each account may take.
    pub quota: Quota,
    /// Sizes.
    pub limits: Limits,
    /// Rates.
    pub rate_limits: RateLimits,
    /// Memory of the store.
    pub storage: Storage,
    /// Traces.
    pub telemetry: Telemetry,
    /// Logging.
    pub log: Log,
}

impl std::fmt::Debug for Config {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        // Most of it may be shown; what may not is easily forgotten.
        f.debug_struct("Config")
            .field("data", &self.data)
            .field("listen", &self.listen)
            .finish_non_exhaustive()
    }
}

/// The `mail` section.
#[derive(Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Mail {
    /// The mail server, with name and password; empty: letters stay in the outbox.
    pub smtp_url: String,
    /// The address that letters come from; empty: noreply at the node's host.
    pub from: String,
}

/// The `identity` section.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Identity {
    /// Where did:plc identities are made and looked up.
    pub directory: Directory,
    /// DNS servers; empty for those of the system.
    pub dns_servers: Vec<SocketAddr>,
}

/// A directory of did:plc identities.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(from = "String")]
pub enum Directory {
    /// The node's own, at `/plc`.
    Embedded,
    /// Another, by its address.
    Url(String),
}

impl From<String> for Directory {
    fn from(text: String) -> Self {
        if text == "embedded" {
            Self::Embedded
        } else {
            Self::Url(text)
        }
    }
}

/// The `appview` section.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct AppView {
    /// Where it is; empty for none.
    pub url: String,
    /// Its DID; empty for the did:web of its host.
    pub did: String,
    /// Where pictures are; empty for this node.
    pub cdn_url: String,
}

/// The `moderation` and `reports` sections.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct OtherService {
    /// Where it is; empty for none.
    pub url: String,
    /// Its DID; empty for the did:web of its host.
    pub did: String,
}

/// The `labels` section.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Labels {
    /// Whose they are; empty for the node's own.
    pub did: String,
}

/// The `proxy` section.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Proxy {
    /// Whether strangers' services may have private addresses.
    pub allow_private_addresses: bool,
}

/// The `keys` section.
#[derive(Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Keys {
    /// File that unlocks the keystore; empty for the one in the data folder.
    pub key_file: String,
    /// Passphrase that unlocks it instead; empty for none.
    pub passphrase: String,
}

impl std::fmt::Debug for Keys {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Keys")
            .field("key_file", &self.key_file)
            .finish_non_exhaustive()
    }
}

/// The `quota` section.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Quota {
    /// Bytes of blobs; 0 for as many as there is room for.
    pub blob_bytes: u64,
    /// Records; 0 for as many as there is room for.
    pub records: u64,
    /// Bytes of records; 0 for as many as there is room for.
    pub record_bytes: u64,
}

/// The `limits` section.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Limits {
    /// Largest blob, in bytes.
    pub blob_bytes: u64,
    /// Largest imported repository, in bytes.
    pub import_bytes: u64,
    /// Connections at one time.
    pub connections: u32,
    /// Of these, connections of one client.
    pub connections_per_client: u32,
    /// Followers of the event stream at one time.
    pub subscribers: u32,
    /// Memory for the newest events, in bytes.
    pub stream_bytes: u64,
    /// Seconds that a stop waits.
    pub stop_seconds: u32,
}

/// The `firehose` section.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Firehose {
    /// Relays that are told of this node.
    pub relays: Vec<String>,
    /// Age in seconds from which old events are not sent; 0: all are sent.
    pub backfill_limit_seconds: u64,
    /// Days that an event is kept in the log; 0: for ever.
    pub keep_days: u64,
    /// Newest events that are kept in the log; 0: all.
    pub keep_events: u64,
}

/// The `pins` section.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Pins {
    /// What this process does: `api`, `planner`, `worker`.
    pub roles: Vec<Role>,
    /// Where this process's worker keeps content.
    pub backend: PinBackend,
    /// RPC address of the Kubo.
    pub kubo_api: String,
    /// Fewest copies by default.
    pub replication_min: u32,
    /// Most copies by default.
    pub replication_max: u32,
    /// Name of this process's worker; empty for the machine's.
    pub worker_name: String,
    /// `KEY=VALUE` of this process's worker.
    pub worker_tags: Vec<String>,
    /// Where the IPFS-Cluster REST API listens; empty for nowhere.
    pub cluster_listen: String,
    /// Hours between two looks at a pinned copy.
    pub verify_hours: u32,
    /// Tasks in a second for CIDs that begin alike; 0: any number.
    pub prefix_rate: u32,
    /// Into how many shards all pins are divided; 0: as the state says.
    pub shards: u32,
    /// Where the IPFS proxy listens; empty for nowhere.
    pub proxy_listen: String,
    /// `embedded`, or the address of a NATS server.
    pub bus: String,
    /// Whether measurements are served.
    pub metrics: bool,
}

/// The `network` section.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Network {
    /// Whether there is one.
    pub enabled: bool,
    /// When it starts.
    pub start: NetworkStart,
    /// Where peers connect.
    pub listen: Vec<String>,
    /// Addresses of this node as others see it.
    pub external: Vec<String>,
    /// Whether peers also come in by the node's HTTP address.
    pub http: bool,
    /// Roots for peers that are reached by HTTPS; empty for the public ones alone.
    pub tls_ca_file: String,
    /// Peers to stay connected with.
    pub bootstrap: Vec<String>,
    /// Relays to be reached through.
    pub relays: Vec<String>,
    /// Whether blocks are exchanged by Bitswap.
    pub bitswap: bool,
    /// Which blobs of shared repositories come from other devices.
    pub blobs: NetworkBlobs,
    /// The distributed hash table.
    pub kademlia: NetworkKademlia,
    /// Its name.
    pub kademlia_protocol: String,
    /// Whether devices in the same local network find each other.
    pub mdns: bool,
    /// Whether others may be reached through this node.
    pub relay_server: bool,
    /// What this device is called; empty for the machine's name.
    pub device_name: String,
    /// How often logs are compacted, in hours; 0 for never.
    pub compact_hours: u64,
    /// Days after which a device that does not show itself is not waited for.
    pub away_days: u64,
}

/// When the network starts.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum NetworkStart {
    /// Once a repository is shared, or content has to be fetched.
    Needed,
    /// With the node.
    Always,
}

/// Which blobs of shared repositories come from other devices.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum NetworkBlobs {
    /// All that records refer to.
    All,
    /// Those that somebody asks for.
    Demand,
    /// None.
    None,
}

/// The node's part in a distributed hash table.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum NetworkKademlia {
    /// None.
    Off,
    /// Asks.
    Client,
    /// Asks and answers.
    Server,
}

/// The `nats` section. Empty texts are what nobody said.
#[derive(Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Nats {
    /// Name for the login.
    pub username: String,
    /// Its password.
    pub password: String,
    /// A token for the login.
    pub token: String,
    /// A file with a JWT and its key.
    pub credentials_file: String,
    /// Whether a server without TLS is refused.
    pub tls_required: bool,
    /// Authorities that servers are checked against.
    pub tls_ca_file: String,
    /// Certificate of this client.
    pub tls_cert_file: String,
    /// The certificate's key.
    pub tls_key_file: String,
    /// Servers that keep each message.
    pub replicas: usize,
    /// One word before all names.
    pub prefix: String,
}

impl std::fmt::Debug for Nats {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Nats")
            .field("replicas", &self.replicas)
            .field("prefix", &self.prefix)
            .finish_non_exhaustive()
    }
}

/// The `state` section.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct State {
    /// Where it lies.
    pub datastore: Datastore,
    /// How a database is reached; read by whoever opens it.
    pub scylladb: serde_json::Value,
}

/// Where the pin service keeps its state.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Datastore {
    /// In the node's own store.
    Embedded,
    /// In ScyllaDB or Cassandra.
    Scylladb,
}

/// What a process does for the pin service.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Role {
    /// Takes requests.
    Api,
    /// Decides who keeps what.
    Planner,
    /// Keeps content.
    Worker,
}

/// Where a worker keeps content.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum PinBackend {
    /// In the node's own store.
    Embedded,
    /// In a Kubo.
    Kubo,
}

/// The `rate_limits` section.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct RateLimits {
    /// Whether rates are limited at all.
    pub enabled: bool,
    /// Addresses that are not limited and whose `x-forwarded-for` is believed.
    pub trusted_ips: Vec<std::net::IpAddr>,
}

/// The `storage` section.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Storage {
    /// Memory for blocks of the disk, in bytes.
    pub cache_bytes: u64,
    /// Memory for recent writes, in bytes.
    pub write_buffer_bytes: u64,
}

/// The `telemetry` section.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Telemetry {
    /// Where traces go; empty for nowhere.
    pub otlp_endpoint: String,
    /// Share of the traces that are recorded, from 0 to 1.
    pub sample: f64,
    /// Name under which they are found.
    pub service_name: String,
}

/// The `log` section.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Log {
    /// A `tracing` filter.
    pub level: String,
    /// How lines look.
    pub format: LogFormat,
}

/// How log lines look.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum LogFormat {
    /// For people.
    Plain,
    /// One JSON object a line.
    Json,
}
