//! What a check tells while it runs and at its end.

use crate::Multihash;
use crate::block::BlockRef;
use crate::format::DIGEST_PREFIX;
use crate::objects::ObjectId;

/// Findings that a report lists one by one; beyond it they are only counted.
const MAX_LISTED: usize = 10_000;

/// The part of a check that is under way.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum CheckStage {
    /// Every block is hashed and its references are looked up.
    Blocks,
    /// The block of every reference is looked up.
    References,
    /// The event log is read for gaps.
    Log,
    /// Large objects are followed to their chunks.
    Objects,
}

/// How far a check is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub struct CheckProgress {
    /// What is being checked.
    pub stage: CheckStage,
    /// Rows of this stage so far.
    pub rows: u64,
}

/// One thing that is wrong.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum Damage {
    /// A block's bytes do not have its hash, or do not unpack.
    #[error("block {} does not have the content that its hash names", hex(.multihash.digest()))]
    BlockContent {
        /// The block.
        multihash: Multihash,
    },
    /// A reference leads to no block.
    #[error("a block whose digest begins with {} is missing; owner {} refers to it (slot {})", hex(digest), by.owner, by.slot)]
    MissingBlock {
        /// The first bytes of the digest.
        digest: [u8; DIGEST_PREFIX],
        /// Who refers to it.
        by: BlockRef,
    },
    /// Nothing refers to a block and it is not queued for collection. It only takes space.
    #[error("block {} is not referenced by anything", hex(.multihash.digest()))]
    OrphanedBlock {
        /// The block.
        multihash: Multihash,
    },
    /// Events are missing in the log.
    #[error("events {first} to {last} are missing in the log")]
    LogGap {
        /// First one that is missing.
        first: u64,
        /// Last one that is missing.
        last: u64,
    },
    /// A large object lacks chunks.
    #[error("object {} is not whole", hex(&id.0))]
    Object {
        /// The object.
        id: ObjectId,
    },
    /// A row cannot be read at all.
    #[error("keyspace {keyspace} has an unreadable row: {what}")]
    Unreadable {
        /// Its keyspace.
        keyspace: &'static str,
        /// What is wrong with it.
        what: String,
    },
}

/// The result of a check.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct CheckReport {
    /// Blocks read.
    pub blocks: u64,
    /// Their bytes, unpacked.
    pub block_bytes: u64,
    /// Blocks whose hash function is not known here, so that only their form was checked.
    pub unverifiable: u64,
    /// Blocks without a reference that the collector is going to free.
    pub awaiting_collection: u64,
    /// References read.
    pub references: u64,
    /// Events read.
    pub events: u64,
    /// Large objects read, counted once for each holder.
    pub objects: u64,
    /// What is wrong; at most the first 10,000 findings.
    pub damage: Vec<Damage>,
    /// How many findings there are in all.
    pub damage_count: u64,
}

impl CheckReport {
    /// Whether nothing is wrong.
    pub fn is_sound(&self) -> bool {
        self.damage_count == 0
    }

    pub(super) fn damage(&mut self, damage: Damage) {
        self.damage_count += 1;
        if self.damage.len() < MAX_LISTED {
            self.damage.push(damage);
        }
    }
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|b| format!("{b:02x}")).collect()
}
