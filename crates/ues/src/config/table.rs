//! The table of all settings: name, kind, default and meaning of each.

use super::setting::{Kind, Setting};

/// All settings, in the order in which `ues config show` and `ues config init` list them.
pub const SETTINGS: &[Setting] = &[
    Setting {
        key: "data",
        kind: Kind::Path,
        default: "./ues-data",
        help: "Folder that holds everything the node keeps. Made when it is not there.",
    },
    Setting {
        key: "listen",
        kind: Kind::Address,
        default: "127.0.0.1:2583",
        help: "Address and port that the node listens on.",
    },
    Setting {
        key: "public_url",
        kind: Kind::Text,
        default: "",
        help: "Address under which others reach the node, such as https://node.example.\n\
               Empty: the node is local, and http://localhost with the port of `listen` is used.",
    },
    Setting {
        key: "handle_domains",
        kind: Kind::List,
        default: ".test",
        help: "Domains under which accounts may choose a handle. `.test` suits a local node.",
    },
    Setting {
        key: "invite_required",
        kind: Kind::Flag,
        default: "false",
        help: "Whether a new account needs an invite code.",
    },
    Setting {
        key: "invite_interval_days",
        kind: Kind::Count,
        default: "0",
        help: "Days after which each account gets an invite code to give away, with `invite_required`; at most five\n\
               are unused. 0: none, `ues admin invite` makes them.",
    },
    Setting {
        key: "admin_password",
        kind: Kind::Secret,
        default: "",
        help: "Password of the name `admin` for com.atproto.admin.*, for programs that administer the node from\n\
               elsewhere. Empty: only the secret in the data folder lets in. Best given by UES_ADMIN_PASSWORD.",
    },
    Setting {
        key: "accept_imports",
        kind: Kind::Flag,
        default: "true",
        help: "Whether accounts may import a repository that they bring along.",
    },
    Setting {
        key: "contact_email",
        kind: Kind::Text,
        default: "",
        help: "Address that describeServer gives for the operator. Empty: none.",
    },
    Setting {
        key: "privacy_policy_url",
        kind: Kind::Text,
        default: "",
        help: "Link that describeServer gives. Empty: none.",
    },
    Setting {
        key: "terms_of_service_url",
        kind: Kind::Text,
        default: "",
        help: "Link that describeServer gives. Empty: none.",
    },
    Setting {
        key: "mail.smtp_url",
        kind: Kind::Secret,
        default: "",
        help: "Mail server that letters go to: smtps://NAME:PASSWORD@HOST:465, smtp://HOST:587?tls=required, or\n\
               smtp://localhost. Empty: letters stay in the outbox, where `ues mail` shows them.",
    },
    Setting {
        key: "mail.from",
        kind: Kind::Text,
        default: "",
        help: "Address that letters come from. Empty: noreply at the node's host.",
    },
    Setting {
        key: "identity.directory",
        kind: Kind::Text,
        default: "embedded",
        help: "Where did:plc identities are made and looked up: `embedded` is the node's own directory at /plc;\n\
               otherwise the address of one, such as https://plc.directory.",
    },
    Setting {
        key: "identity.dns_servers",
        kind: Kind::List,
        default: "",
        help: "DNS servers that are asked for handles and lexicons, such as 1.1.1.1:53. Empty: those of the system.",
    },
    Setting {
        key: "appview.url",
        kind: Kind::Text,
        default: "",
        help: "Service that answers what apps ask of the whole network, such as https://api.bsky.app.\n\
               Empty: none, and only what this node knows itself is answered.",
    },
    Setting {
        key: "appview.did",
        kind: Kind::Text,
        default: "",
        help: "DID of that service, such as did:web:api.bsky.app. Empty: the did:web of its address's host.",
    },
    Setting {
        key: "appview.cdn_url",
        kind: Kind::Text,
        default: "",
        help: "Where apps find pictures of posts that the AppView has not seen yet, with %s for the kind of picture,\n\
               for the account's DID and for the picture's CID. Empty: this node.",
    },
    Setting {
        key: "moderation.url",
        kind: Kind::Text,
        default: "",
        help: "Moderation service that answers tools.ozone methods of its moderators, and may look at accounts and take\n\
               down what is on this node. Empty: none.",
    },
    Setting {
        key: "moderation.did",
        kind: Kind::Text,
        default: "",
        help: "DID of that service. Empty: the did:web of its address's host.",
    },
    Setting {
        key: "reports.url",
        kind: Kind::Text,
        default: "",
        help: "Moderation service that gets the reports of accounts here. Empty: none.",
    },
    Setting {
        key: "reports.did",
        kind: Kind::Text,
        default: "",
        help: "DID of that service. Empty: the did:web of its address's host.",
    },
    Setting {
        key: "labels.did",
        kind: Kind::Text,
        default: "",
        help: "DID whose labels this node makes (`ues admin label`); its document has to have the key and the address that\n\
               `ues admin label key` shows. Empty: the node's own DID, whose document has them.",
    },
    Setting {
        key: "proxy.allow_private_addresses",
        kind: Kind::Flag,
        default: "false",
        help: "Whether calls may be passed on to services with private addresses or plain http that only a DID\n\
               document names. For networks on one machine; never on a public node.",
    },
    Setting {
        key: "keys.key_file",
        kind: Kind::Text,
        default: "",
        help: "File that unlocks the node's keys, made at first use. Empty: keystore.key in the data folder.\n\
               Keep it elsewhere, and a copy of the folder alone reveals no key.",
    },
    Setting {
        key: "keys.passphrase",
        kind: Kind::Secret,
        default: "",
        help: "Passphrase that unlocks the node's keys, instead of a file. Best given by UES_KEYS_PASSPHRASE.",
    },
    Setting {
        key: "firehose.relays",
        kind: Kind::List,
        default: "",
        help: "Relays that are told of this node, such as https://bsky.network, so that the network follows it.\n\
               They must reach it at `public_url`.",
    },
    Setting {
        key: "firehose.backfill_limit_seconds",
        kind: Kind::Count,
        default: "0",
        help: "Age from which events are not sent to followers that come with an old cursor; 0: all events are sent.",
    },
    Setting {
        key: "firehose.keep_days",
        kind: Kind::Count,
        default: "0",
        help: "Days that events are kept in the log; older ones are removed. 0: for ever.",
    },
    Setting {
        key: "firehose.keep_events",
        kind: Kind::Count,
        default: "0",
        help: "How many of the newest events are kept in the log; 0: all.",
    },
    Setting {
        key: "blobs.temporary_hours",
        kind: Kind::Count,
        default: "24",
        help: "Hours that an uploaded blob waits for a record that refers to it before it is removed; 0: for ever.",
    },
    Setting {
        key: "pins.roles",
        kind: Kind::Choices(&["api", "planner", "worker"]),
        default: "api,planner,worker",
        help: "What this process does for the pin service: api, planner, worker. Empty: there is no pin service.",
    },
    Setting {
        key: "pins.backend",
        kind: Kind::Choice(&["embedded", "kubo"]),
        default: "embedded",
        help: "Where this process's worker keeps content: in the node's own store, or in a Kubo.",
    },
    Setting {
        key: "pins.kubo_api",
        kind: Kind::Text,
        default: "http://127.0.0.1:5001",
        help: "RPC address of the Kubo, with `pins.backend = \"kubo\"`.",
    },
    Setting {
        key: "pins.replication_min",
        kind: Kind::Count,
        default: "1",
        help: "Fewest copies of a pin that does not say how many it wants.",
    },
    Setting {
        key: "pins.replication_max",
        kind: Kind::Count,
        default: "1",
        help: "Most copies of a pin that does not say how many it wants.",
    },
    Setting {
        key: "pins.worker_name",
        kind: Kind::Text,
        default: "",
        help: "Name of this process's worker, for people. Empty: the name of the machine.",
    },
    Setting {
        key: "pins.worker_tags",
        kind: Kind::List,
        default: "",
        help: "What you say of this process's worker, such as region=eu,disk=ssd. Copies go to different regions.",
    },
    Setting {
        key: "pins.cluster_listen",
        kind: Kind::Text,
        default: "127.0.0.1:9094",
        help: "Where the IPFS-Cluster REST API listens. Empty: nowhere.",
    },
    Setting {
        key: "pins.proxy_listen",
        kind: Kind::Text,
        default: "127.0.0.1:9095",
        help: "Where the IPFS proxy listens, which speaks as a Kubo does. Empty: nowhere.",
    },
    Setting {
        key: "pins.bus",
        kind: Kind::Text,
        default: "embedded",
        help: "What carries work between API, planners and workers: `embedded`, or the address of a NATS server with\n\
               JetStream, such as nats://127.0.0.1:4222.",
    },
    Setting {
        key: "pins.verify_hours",
        kind: Kind::Count,
        default: "24",
        help: "How often a worker is asked whether what it pinned is still there.",
    },
    Setting {
        key: "pins.prefix_rate",
        kind: Kind::Count,
        default: "1000",
        help: "Tasks that are sent in a second for CIDs whose hashes begin with the same two bytes. 0: any number.",
    },
    Setting {
        key: "pins.shards",
        kind: Kind::Count,
        default: "0",
        help: "Into how many shards all pins are divided: the most planners that can share the work, 1 to 1024.\n\
               0: as it was, and 8 at first. When it changes, every process that takes requests or plans has to be\n\
               started again.",
    },
    Setting {
        key: "pins.metrics",
        kind: Kind::Flag,
        default: "true",
        help: "Whether /metrics is served, for Prometheus. Whoever reaches the node can read it, and with it the\n\
               names of the largest owners.",
    },
    Setting {
        key: "network.enabled",
        kind: Kind::Flag,
        default: "true",
        help: "Whether this node has a network of peers: its other devices, and those it has blocks from and for.",
    },
    Setting {
        key: "network.start",
        kind: Kind::Choice(&["needed", "always"]),
        default: "needed",
        help: "When the network starts: `always` with the node; `needed` once a repository is shared with another\n\
               device, or the content of a pin has to be fetched from peers.",
    },
    Setting {
        key: "network.listen",
        kind: Kind::List,
        default: "/ip4/0.0.0.0/tcp/4100,/ip4/0.0.0.0/udp/4100/quic-v1",
        help: "Where peers connect, as multiaddrs. If the ports are taken, free ones are used.",
    },
    Setting {
        key: "network.external",
        kind: Kind::List,
        default: "",
        help: "Addresses under which peers reach this node from outside, where it cannot learn them itself.",
    },
    Setting {
        key: "network.bootstrap",
        kind: Kind::List,
        default: "",
        help: "Peers that this node stays connected with, each with /p2p/ID at its end. They are asked for the content\n\
               of pins, and with Kademlia others are learnt from them.",
    },
    Setting {
        key: "network.relays",
        kind: Kind::List,
        default: "",
        help: "Relays through which this node can be reached, each with /p2p/ID at its end.",
    },
    Setting {
        key: "network.bitswap",
        kind: Kind::Flag,
        default: "true",
        help: "Whether blocks are exchanged by Bitswap: what is public of the repositories, and what is pinned here, is\n\
               served to everybody who asks; the content of pins is fetched.",
    },
    Setting {
        key: "network.blobs",
        kind: Kind::Choice(&["all", "demand", "none"]),
        default: "all",
        help: "Which blobs of shared repositories come from the other devices: all, those that somebody asks for\n\
               (`demand`), or none.",
    },
    Setting {
        key: "network.kademlia",
        kind: Kind::Choice(&["off", "client", "server"]),
        default: "off",
        help: "Whether providers are looked for in a distributed hash table, and told what is pinned and shared here:\n\
               `client` asks only, `server` answers others too.",
    },
    Setting {
        key: "network.kademlia_protocol",
        kind: Kind::Text,
        default: "/ues/kad/1.0.0",
        help: "Name of that table; the public one of IPFS is /ipfs/kad/1.0.0.",
    },
    Setting {
        key: "network.mdns",
        kind: Kind::Flag,
        default: "true",
        help: "Whether devices in the same local network find each other by themselves.",
    },
    Setting {
        key: "network.relay_server",
        kind: Kind::Flag,
        default: "false",
        help: "Whether peers that cannot be reached directly may be reached through this node.",
    },
    Setting {
        key: "network.device_name",
        kind: Kind::Text,
        default: "",
        help: "What this device is called on others. Empty: the machine's name.",
    },
    Setting {
        key: "network.compact_hours",
        kind: Kind::Count,
        default: "24",
        help: "How often, in hours, the logs of shared repositories are compacted: operations that all devices have are\n\
               dropped, and what was deleted is gone. 0: only by `ues sync compact`.",
    },
    Setting {
        key: "network.away_days",
        kind: Kind::Count,
        default: "90",
        help: "Days that operations are kept for a device that does not show itself. One that comes back later gets a\n\
               snapshot instead; what it wrote meanwhile is not lost.",
    },
    Setting {
        key: "nats.username",
        kind: Kind::Text,
        default: "",
        help: "Name for the login at the NATS server; used only with a password.",
    },
    Setting {
        key: "nats.password",
        kind: Kind::Secret,
        default: "",
        help: "Password for the login; used only with a name. Best given by UES_NATS_PASSWORD.",
    },
    Setting {
        key: "nats.token",
        kind: Kind::Secret,
        default: "",
        help: "Token for the login, where the server wants one.",
    },
    Setting {
        key: "nats.credentials_file",
        kind: Kind::Text,
        default: "",
        help: "File with a JWT and its key, as nsc writes it.",
    },
    Setting {
        key: "nats.tls_required",
        kind: Kind::Flag,
        default: "false",
        help: "Whether a server without TLS is refused, also when its address does not begin with tls://.",
    },
    Setting {
        key: "nats.tls_ca_file",
        kind: Kind::Text,
        default: "",
        help: "Authorities that are believed, PEM. Empty: those of the system.",
    },
    Setting {
        key: "nats.tls_cert_file",
        kind: Kind::Text,
        default: "",
        help: "Certificate of this client, PEM; used only with a key.",
    },
    Setting {
        key: "nats.tls_key_file",
        kind: Kind::Text,
        default: "",
        help: "Key of the certificate, PEM; used only with a certificate.",
    },
    Setting {
        key: "nats.replicas",
        kind: Kind::Count,
        default: "1",
        help: "Servers of a NATS cluster that keep each message: 1, 3 or 5.",
    },
    Setting {
        key: "nats.prefix",
        kind: Kind::Text,
        default: "",
        help: "One word before the names of streams and subjects, for several services in one account.",
    },
    Setting {
        key: "state.datastore",
        kind: Kind::Choice(&["embedded", "scylladb"]),
        default: "embedded",
        help: "Where the pin service keeps its state: in the node's own store, or in ScyllaDB or Cassandra.",
    },
    Setting {
        key: "state.scylladb.hosts",
        kind: Kind::List,
        default: "127.0.0.1",
        help: "Hosts of the database that are asked first; the others are learnt from them.",
    },
    Setting {
        key: "state.scylladb.port",
        kind: Kind::Count,
        default: "9042",
        help: "Port of the hosts.",
    },
    Setting {
        key: "state.scylladb.keyspace",
        kind: Kind::Text,
        default: "ipfs_pins",
        help: "Keyspace of the tables. It is made where it is missing.",
    },
    Setting {
        key: "state.scylladb.username",
        kind: Kind::Text,
        default: "",
        help: "Name for the login; used only with a password.",
    },
    Setting {
        key: "state.scylladb.password",
        kind: Kind::Secret,
        default: "",
        help: "Password for the login; used only with a name. Best given by UES_STATE_SCYLLADB_PASSWORD.",
    },
    Setting {
        key: "state.scylladb.tls_enabled",
        kind: Kind::Flag,
        default: "false",
        help: "Whether the connection is encrypted.",
    },
    Setting {
        key: "state.scylladb.tls_cert_file",
        kind: Kind::Text,
        default: "",
        help: "Certificate of this client, PEM; used only with a key.",
    },
    Setting {
        key: "state.scylladb.tls_key_file",
        kind: Kind::Text,
        default: "",
        help: "Key of the certificate, PEM; used only with a certificate.",
    },
    Setting {
        key: "state.scylladb.tls_ca_file",
        kind: Kind::Text,
        default: "",
        help: "Authorities that are believed, PEM. Empty: those of the system.",
    },
    Setting {
        key: "state.scylladb.tls_insecure_skip_verify",
        kind: Kind::Flag,
        default: "false",
        help: "Whether every server is believed. Not on a network that others use.",
    },
    Setting {
        key: "state.scylladb.num_conns",
        kind: Kind::Count,
        default: "10",
        help: "Connections to each host.",
    },
    Setting {
        key: "state.scylladb.timeout",
        kind: Kind::Text,
        default: "30s",
        help: "How long a statement may take.",
    },
    Setting {
        key: "state.scylladb.connect_timeout",
        kind: Kind::Text,
        default: "10s",
        help: "How long connecting to a host may take.",
    },
    Setting {
        key: "state.scylladb.consistency",
        kind: Kind::Text,
        default: "QUORUM",
        help: "How many replicas have to agree: QUORUM, LOCAL_QUORUM, ONE, ALL and the like.",
    },
    Setting {
        key: "state.scylladb.serial_consistency",
        kind: Kind::Text,
        default: "SERIAL",
        help: "How many replicas have to agree on a lease: SERIAL or LOCAL_SERIAL.",
    },
    Setting {
        key: "state.scylladb.retry_policy.num_retries",
        kind: Kind::Count,
        default: "3",
        help: "How often a statement that may be repeated is tried again.",
    },
    Setting {
        key: "state.scylladb.retry_policy.min_retry_delay",
        kind: Kind::Text,
        default: "100ms",
        help: "The pause before it is first tried again; each pause is twice as long as the one before.",
    },
    Setting {
        key: "state.scylladb.retry_policy.max_retry_delay",
        kind: Kind::Text,
        default: "10s",
        help: "The longest pause.",
    },
    Setting {
        key: "state.scylladb.batch_size",
        kind: Kind::Count,
        default: "1000",
        help: "Most rows that are written in one statement.",
    },
    Setting {
        key: "state.scylladb.batch_timeout",
        kind: Kind::Text,
        default: "1s",
        help: "Accepted for those who bring their file along; nobody waits for the rows of others.",
    },
    Setting {
        key: "state.scylladb.metrics_enabled",
        kind: Kind::Flag,
        default: "true",
        help: "Whether statements are measured.",
    },
    Setting {
        key: "state.scylladb.tracing_enabled",
        kind: Kind::Flag,
        default: "false",
        help: "Whether the database traces statements.",
    },
    Setting {
        key: "state.scylladb.local_dc",
        kind: Kind::Text,
        default: "",
        help: "Datacentre that is asked as long as it answers.",
    },
    Setting {
        key: "state.scylladb.dc_aware_routing",
        kind: Kind::Flag,
        default: "false",
        help: "Whether only the local datacentre is asked.",
    },
    Setting {
        key: "state.scylladb.token_aware_routing",
        kind: Kind::Flag,
        default: "true",
        help: "Whether statements go to a host that has the row.",
    },
    Setting {
        key: "quota.blob_bytes",
        kind: Kind::Bytes,
        default: "0",
        help: "Bytes of blobs that one account may have, unless `ues admin quota` gives it a number of its own. 0: as many as there\n\
               is room for.",
    },
    Setting {
        key: "limits.blob_bytes",
        kind: Kind::Bytes,
        default: "5MB",
        help: "Largest blob (picture, video) that may be uploaded.",
    },
    Setting {
        key: "limits.import_bytes",
        kind: Kind::Bytes,
        default: "4GB",
        help: "Largest repository that may be imported.",
    },
    Setting {
        key: "limits.connections",
        kind: Kind::Count,
        default: "10000",
        help: "Connections that may be open at one time; more wait to be accepted.",
    },
    Setting {
        key: "limits.subscribers",
        kind: Kind::Count,
        default: "2000",
        help: "Followers of the event stream at one time.",
    },
    Setting {
        key: "limits.stream_bytes",
        kind: Kind::Bytes,
        default: "16MB",
        help: "Memory for the newest events, shared by all followers. Who is further behind reads from the disk.",
    },
    Setting {
        key: "limits.stop_seconds",
        kind: Kind::Count,
        default: "10",
        help: "Seconds that a stop waits for requests in flight.",
    },
    Setting {
        key: "rate_limits.enabled",
        kind: Kind::Flag,
        default: "true",
        help: "Whether calls are counted by address and by account, and refused beyond the usual rates.\n\
               Switch it off to measure, or behind a proxy that limits for you.",
    },
    Setting {
        key: "rate_limits.trusted_ips",
        kind: Kind::List,
        default: "",
        help: "Addresses that are not limited and whose x-forwarded-for is believed: your proxies.",
    },
    Setting {
        key: "storage.cache_bytes",
        kind: Kind::Bytes,
        default: "16MB",
        help: "Memory for blocks of the disk that were read lately.",
    },
    Setting {
        key: "storage.write_buffer_bytes",
        kind: Kind::Bytes,
        default: "8MB",
        help: "Memory for recent writes before they become tables on the disk.",
    },
    Setting {
        key: "telemetry.otlp_endpoint",
        kind: Kind::Text,
        default: "",
        help: "Where traces of the pin service go: an OpenTelemetry collector that takes OTLP over HTTP, such as\n\
               http://127.0.0.1:4318. Empty: nowhere, nothing is recorded. OTEL_EXPORTER_OTLP_HEADERS may hold headers\n\
               that the collector asks for.",
    },
    Setting {
        key: "telemetry.sample",
        kind: Kind::Ratio,
        default: "1",
        help: "Share of the traces that are recorded, from 0 to 1. A caller who sends a traceparent decides for its own.",
    },
    Setting {
        key: "telemetry.service_name",
        kind: Kind::Text,
        default: "ues",
        help: "Name under which the traces of this process are found.",
    },
    Setting {
        key: "log.level",
        kind: Kind::Text,
        default: "warn",
        help: "What is logged: error, warn, info, debug, trace, or a filter such as ues_atproto=debug,warn.\n\
               UES_LOG and RUST_LOG are read too.",
    },
    Setting {
        key: "log.format",
        kind: Kind::Choice(&["plain", "json"]),
        default: "plain",
        help: "How log lines look on stderr.",
    },
];
