//! Limits, storage, telemetry and logs.

use crate::config::setting::{Kind, Setting};

pub const SETTINGS: &[Setting] = &[
    Setting {
        key: "quota.blob_bytes",
        kind: Kind::Bytes,
        default: "0",
        help: "Bytes of blobs that one account may have, unless `ues admin quota` gives it a number of its own. 0: as many as there\n\
               is room for.",
    },
    Setting {
        key: "quota.records",
        kind: Kind::Count,
        default: "0",
        help: "Records that one account may have, in the same way.",
    },
    Setting {
        key: "quota.record_bytes",
        kind: Kind::Bytes,
        default: "0",
        help: "Bytes of records that one account may have, in the same way.",
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
        help: "Largest repository that may be imported. It is kept on the disk until it is checked, not in memory.",
    },
    Setting {
        key: "limits.connections",
        kind: Kind::Count,
        default: "10000",
        help: "Connections that may be open at one time. When there are more, those go that have been longest without a whole request.",
    },
    Setting {
        key: "limits.connections_per_client",
        kind: Kind::Count,
        default: "256",
        help: "Of these, connections of one client: an IPv4 address, or an IPv6 network of 64 bits. Of a proxy that is believed\n\
               (rate_limits.trusted_ips, this machine, private networks), requests at one time of each client that it names.",
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
