//! The peer-to-peer network.

use crate::config::setting::{Kind, Setting};

pub const SETTINGS: &[Setting] = &[
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
        key: "network.http",
        kind: Kind::Flag,
        default: "true",
        help: "Whether peers also connect by the node's HTTP address, at /p2p, where networks let nothing else through.\n\
               Others are told of it as public_url (or tls.domains) says.",
    },
    Setting {
        key: "network.tls_ca_file",
        kind: Kind::Text,
        default: "",
        help: "File with certificates (PEM) of authorities of your own, which peers that are reached by HTTPS may have\n\
               theirs from. Those that browsers believe are believed in any case.",
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
];
