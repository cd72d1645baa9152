//! The labels of what is measured.

use prometheus_client::encoding::EncodeLabelSet;
use ues_data::Cid;

/// Who caused a change.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Source {
    /// A request.
    Api,
    /// The service itself, which repairs, moves and adds copies.
    Reconciler,
}

/// What was to be done.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Op {
    /// Fetch and protect.
    Pin,
    /// Give up.
    Unpin,
}

/// What happened.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum EventType {
    /// A request was made, replaced or removed.
    Upsert,
    /// A worker was told what to do.
    Assign,
    /// A worker said how far it is.
    Status,
    /// A request ended because its time had come.
    Ttl,
    /// A worker failed at something.
    Error,
}

/// What failed. The names are those of the largest installation; whatever takes their place is counted there.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum FailureKind {
    /// What keeps content.
    Ipfs,
    /// The bus.
    Nats,
    /// The state store.
    Scylla,
}

/// How many groups of CIDs there are.
pub(super) const GROUPS: usize = 16;

/// The names of the groups.
const NAMES: [&str; GROUPS] = [
    "0x0", "0x1", "0x2", "0x3", "0x4", "0x5", "0x6", "0x7", "0x8", "0x9", "0xa", "0xb", "0xc",
    "0xd", "0xe", "0xf",
];

/// CIDs whose hashes begin with the same hex digit.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Group(u8);

impl Group {
    /// The group of a CID.
    pub fn of(cid: &Cid) -> Self {
        Self(cid.hash().digest().first().map_or(0, |byte| byte >> 4))
    }

    pub(super) fn name(self) -> &'static str {
        NAMES.get(self.index()).copied().unwrap_or("0x0")
    }

    pub(super) fn index(self) -> usize {
        usize::from(self.0)
    }

    pub(super) fn all() -> impl Iterator<Item = Self> {
        (0..16).map(Self)
    }
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
pub(super) struct EndToEnd {
    source: &'static str,
    op: &'static str,
}

impl EndToEnd {
    pub(super) fn new(source: Source, op: Op) -> Self {
        let source = match source {
            Source::Api => "api",
            Source::Reconciler => "reconciler",
        };
        Self {
            source,
            op: op_name(op),
        }
    }
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
pub(super) struct OfOp {
    op: &'static str,
}

impl OfOp {
    pub(super) fn new(op: Op) -> Self {
        Self { op: op_name(op) }
    }
}

fn op_name(op: Op) -> &'static str {
    match op {
        Op::Pin => "pin",
        Op::Unpin => "unpin",
    }
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
pub(super) struct Event {
    r#type: &'static str,
    mh_prefix: &'static str,
}

impl Event {
    pub(super) fn new(r#type: EventType, group: Group) -> Self {
        let r#type = match r#type {
            EventType::Upsert => "upsert",
            EventType::Assign => "assign",
            EventType::Status => "status",
            EventType::Ttl => "ttl",
            EventType::Error => "error",
        };
        let mh_prefix = group.name();
        Self { r#type, mh_prefix }
    }
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
pub(super) struct Failure {
    kind: &'static str,
}

impl Failure {
    pub(super) fn new(kind: FailureKind) -> Self {
        let kind = match kind {
            FailureKind::Ipfs => "ipfs",
            FailureKind::Nats => "nats",
            FailureKind::Scylla => "scylla",
        };
        Self { kind }
    }
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
pub(super) struct StoreOp {
    pub(super) operation: &'static str,
    pub(super) status: &'static str,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
pub(super) struct OfTenant {
    pub(super) tenant: String,
    pub(super) mh_prefix: &'static str,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
pub(super) struct OfWorker {
    pub(super) worker: String,
}
