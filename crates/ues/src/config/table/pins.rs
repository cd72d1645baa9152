//! The pin service: its roles, backends and listeners.

use crate::config::setting::{Kind, Setting};

pub const SETTINGS: &[Setting] = &[
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
];
