//! The pin itself: IPFS-Cluster's `api.Pin`.

use multiaddr::Multiaddr;
use ues_data::Cid;

use super::PeerId;

/// How much of a DAG is kept.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Default)]
pub enum PinMode {
    /// The block and everything that it links to, to any depth.
    #[default]
    Recursive,
    /// The block alone.
    Direct,
}

/// What kind of thing a pin is. All but [`Data`](Self::Data) belong to IPFS-Cluster's sharding of huge DAGs.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Default)]
pub enum PinType {
    /// Content of a user.
    #[default]
    Data,
    /// The root of a sharded DAG; never pinned itself.
    Meta,
    /// The DAG that lists the shards.
    ClusterDag,
    /// One shard.
    Shard,
}

/// What a user may say about a pin; `api.PinOptions`.
#[derive(Clone, Debug, PartialEq, Eq, Default)]
pub struct PinOptions {
    /// Fewest copies; 0: the service's default, -1: on every worker.
    pub replication_min: i32,
    /// Most copies; 0: the service's default, -1: on every worker.
    pub replication_max: i32,
    /// A name that the user chose.
    pub name: String,
    /// How much is kept. The protobuf has it as [`Pin::max_depth`] only.
    pub mode: PinMode,
    /// Size of a shard in bytes; carried along.
    pub shard_size: u64,
    /// Workers that the user wants it on. Not part of the protobuf: the planner has turned it into allocations.
    pub user_allocations: Vec<PeerId>,
    /// When the pin ends, in seconds since the Unix epoch; `None`: never.
    pub expire_at: Option<u64>,
    /// What the user noted, in the order of the keys (as bytes), each key once.
    pub metadata: Vec<(String, String)>,
    /// The pin that this one replaces, whose blocks are probably there already.
    pub pin_update: Option<Cid>,
    /// Addresses of peers that have the content, each with its peer id.
    pub origins: Vec<Multiaddr>,
    /// Protobuf fields that this program does not know, as they came.
    pub unknown: Vec<u8>,
}

/// A pin, byte for byte what IPFS-Cluster stores; `api.Pin`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Pin {
    /// What is kept.
    pub cid: Cid,
    /// What kind of thing it is.
    pub kind: PinType,
    /// Where it is to be kept; none for "everywhere", and before the planner has decided.
    pub allocations: Vec<PeerId>,
    /// Depth of links that is kept; -1: any, 0: the block alone.
    pub max_depth: i32,
    /// Another part of the same sharded DAG.
    pub reference: Option<Cid>,
    /// When the pin was made, in seconds since the Unix epoch.
    pub timestamp: u64,
    /// What the user said.
    pub options: PinOptions,
    /// Protobuf fields that this program does not know, as they came.
    pub unknown: Vec<u8>,
}

impl PinMode {
    /// The mode that goes with a depth: direct for 0, recursive for every other one.
    pub fn from_depth(max_depth: i32) -> Self {
        match max_depth {
            0 => Self::Direct,
            _ => Self::Recursive,
        }
    }

    /// The depth of links that the mode stands for: -1 is any.
    pub fn depth(self) -> i32 {
        match self {
            Self::Recursive => -1,
            Self::Direct => 0,
        }
    }

    /// From its name; as in IPFS-Cluster every unknown one means recursive.
    pub fn from_name(name: &str) -> Self {
        match name {
            "direct" => Self::Direct,
            _ => Self::Recursive,
        }
    }

    /// The name that IPFS-Cluster uses.
    pub fn name(self) -> &'static str {
        match self {
            Self::Recursive => "recursive",
            Self::Direct => "direct",
        }
    }
}

impl PinType {
    /// From its name; `None` for an unknown one.
    pub fn from_name(name: &str) -> Option<Self> {
        Some(match name {
            "pin" => Self::Data,
            "meta-pin" => Self::Meta,
            "clusterdag-pin" => Self::ClusterDag,
            "shard-pin" => Self::Shard,
            _ => return None,
        })
    }

    /// The name that IPFS-Cluster uses.
    pub fn name(self) -> &'static str {
        match self {
            Self::Data => "pin",
            Self::Meta => "meta-pin",
            Self::ClusterDag => "clusterdag-pin",
            Self::Shard => "shard-pin",
        }
    }
}

impl Pin {
    /// A pin of content with the given options, of now.
    pub fn new(cid: Cid, options: PinOptions, timestamp: u64) -> Self {
        Self {
            cid,
            kind: PinType::Data,
            allocations: Vec::new(),
            max_depth: options.mode.depth(),
            reference: None,
            timestamp,
            options,
            unknown: Vec::new(),
        }
    }
}
