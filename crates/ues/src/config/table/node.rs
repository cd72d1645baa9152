//! The node: where it is, who may have an account, mail, and the services that it works with.

use crate::config::setting::{Kind, Setting};

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
        key: "blobs.backend",
        kind: Kind::Choice(&["disk", "s3"]),
        default: "disk",
        help: "Where the content of new blobs goes: `disk`, the data folder; `s3`, a bucket of an S3 service. What is on the\n\
               disk already stays there and is served from there.",
    },
    Setting {
        key: "blobs.s3_bucket",
        kind: Kind::Text,
        default: "",
        help: "The bucket, which has to be there.",
    },
    Setting {
        key: "blobs.s3_region",
        kind: Kind::Text,
        default: "us-east-1",
        help: "Region of the bucket.",
    },
    Setting {
        key: "blobs.s3_endpoint",
        kind: Kind::Text,
        default: "",
        help: "Address of the S3 service, such as https://s3.example. Empty: Amazon's own in the region.",
    },
    Setting {
        key: "blobs.s3_access_key",
        kind: Kind::Text,
        default: "",
        help: "Name part of the credentials (access key id).",
    },
    Setting {
        key: "blobs.s3_secret_key",
        kind: Kind::Secret,
        default: "",
        help: "Secret part of the credentials. Best given by UES_BLOBS_S3_SECRET_KEY, or by a file.",
    },
    Setting {
        key: "blobs.s3_secret_key_file",
        kind: Kind::Text,
        default: "",
        help: "File with the secret part of the credentials, read at the start, instead of the setting.",
    },
    Setting {
        key: "blobs.s3_path_style",
        kind: Kind::Flag,
        default: "false",
        help: "Whether the bucket stands in the path of addresses, as services on one's own machine want it, not in the name\n\
               of the host.",
    },
    Setting {
        key: "blobs.s3_prefix",
        kind: Kind::Text,
        default: "",
        help: "What the names of all objects begin with, such as node-1. Nodes that share a bucket need one each.",
    },
    Setting {
        key: "tls.listen",
        kind: Kind::Address,
        default: "0.0.0.0:443",
        help: "Where clients come in by TLS, if there is any. An authority looks at port 443.",
    },
    Setting {
        key: "tls.acme",
        kind: Kind::Flag,
        default: "false",
        help: "Whether the node gets a certificate for tls.domains from an ACME authority and renews it. Whoever says true\n\
               agrees to the authority's terms.",
    },
    Setting {
        key: "tls.domains",
        kind: Kind::List,
        default: "",
        help: "Names that lead to the node, such as node.example: those of the certificate from an authority, and those\n\
               that plain HTTP is sent on to TLS for. No wildcards.",
    },
    Setting {
        key: "tls.mail",
        kind: Kind::Text,
        default: "",
        help: "Address that the authority may write to. Empty: none.",
    },
    Setting {
        key: "tls.acme_directory",
        kind: Kind::Text,
        default: "https://acme-v02.api.letsencrypt.org/directory",
        help: "Directory of the authority.",
    },
    Setting {
        key: "tls.acme_ca_file",
        kind: Kind::Text,
        default: "",
        help: "Roots, PEM, for the authority's own certificate, where it is not a public one. Empty: those of the system.",
    },
    Setting {
        key: "tls.cert",
        kind: Kind::Text,
        default: "",
        help: "File with a certificate and those that lead to its authority, PEM, instead of tls.acme. Read again when\n\
               it changes.",
    },
    Setting {
        key: "tls.key",
        kind: Kind::Text,
        default: "",
        help: "File with the key of tls.cert, PEM.",
    },
];
