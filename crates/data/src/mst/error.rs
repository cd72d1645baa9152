//! What can go wrong.

use cid::Cid;

use crate::source::BlockSourceError;

/// Why an operation on a tree failed. The tree is as it was before.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum MstError {
    /// A node that the operation needs is not there.
    #[error("node {0} is missing")]
    MissingBlock(Cid),
    /// A node's block is not what the format demands of it at its place.
    #[error("node {cid} is malformed: {fault}")]
    InvalidNode {
        /// The node.
        cid: Cid,
        /// What is wrong with it.
        #[source]
        fault: Box<NodeFault>,
    },
    /// The CID given as a root cannot name a node.
    #[error("the root's CID names no node: expected version 1, DAG-CBOR and SHA-256")]
    NotANode,
    /// A CID that was to be a value is not of version 1.
    #[error("{0} cannot be a value: expected a version 1 CID")]
    UnsupportedValue(Cid),
    /// A key is not `collection/record-key` of at most 1024 plain ASCII characters.
    #[error("{key:?} is not a key of a repository tree")]
    InvalidKey {
        /// The key, cut off after 64 characters.
        key: String,
    },
    /// The change would make one node larger than a reader has to accept.
    #[error("a node would grow to {bytes} bytes; at most {limit} are allowed")]
    NodeTooLarge {
        /// The size that the node would have.
        bytes: usize,
        /// The largest size.
        limit: usize,
    },
    /// Nodes were asked for while the tree has changes that are not flushed.
    #[error("the tree has changes that were not flushed yet")]
    Unflushed,
    /// Keys that were to rise do not.
    #[error("keys are not in rising order: {key:?} comes after one that is not smaller")]
    UnsortedKeys {
        /// The key that comes too late.
        key: String,
    },
    /// An operation of a commit does not fit the tree it is said to have made.
    #[error("operation on {:?} does not fit the tree: it says {:?}, the tree has {:?}", .0.key, .0.said, .0.found)]
    OperationMismatch(Box<Mismatch>),
    /// Two operations of one commit are on the same key.
    #[error("more than one operation on {key:?}")]
    RepeatedOperation {
        /// The key.
        key: String,
    },
    /// The source of blocks failed.
    #[error(transparent)]
    Source(#[from] BlockSourceError),
}

/// An operation and the tree, which say different things of one key.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Mismatch {
    /// The key of the operation, cut off after 64 characters.
    pub key: String,
    /// The value after the operation, as the operation says.
    pub said: Option<Cid>,
    /// The value in the tree.
    pub found: Option<Cid>,
}

impl MstError {
    pub(super) fn invalid_key(key: &[u8]) -> Self {
        Self::InvalidKey { key: shown(key) }
    }
}

/// A key for a message: text, and not endless.
pub(super) fn shown(key: &[u8]) -> String {
    String::from_utf8_lossy(&key[..key.len().min(64)]).into_owned()
}

/// What is wrong with a node's block.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum NodeFault {
    /// The bytes are not the canonical encoding of a node.
    #[error("expected {expected} at byte {at}")]
    Encoding {
        /// Where.
        at: usize,
        /// What should be there.
        expected: &'static str,
    },
    /// There are bytes after the node's end.
    #[error("the node ends at byte {end}, but {len} bytes were given")]
    TrailingBytes {
        /// Where the node ends.
        end: usize,
        /// The length of the block.
        len: usize,
    },
    /// The block is larger than any node may be.
    #[error("{len} bytes; at most {limit} are allowed")]
    TooLarge {
        /// The length of the block.
        len: usize,
        /// The largest length.
        limit: usize,
    },
    /// A prefix length is not the number of bytes that the key shares with the one before it.
    #[error("entry {entry} says it shares {found} bytes with the key before; it shares {expected}")]
    WrongPrefix {
        /// Index of the entry.
        entry: usize,
        /// The bytes really shared.
        expected: usize,
        /// The bytes said to be shared.
        found: usize,
    },
    /// Keys do not rise.
    #[error("the key of entry {entry} is not greater than the one before")]
    Unsorted {
        /// Index of the entry.
        entry: usize,
    },
    /// A key is not a valid repository key.
    #[error("the key of entry {entry} is not a repository key")]
    InvalidKey {
        /// Index of the entry.
        entry: usize,
    },
    /// A key lies on another layer than its node.
    #[error("the key of entry {entry} belongs on layer {found}, its node is on layer {expected}")]
    WrongLayer {
        /// Index of the entry.
        entry: usize,
        /// The node's layer.
        expected: u8,
        /// The key's layer.
        found: u8,
    },
    /// Keys lie outside of what the keys around the node allow.
    #[error("keys lie outside of the range that the nodes above leave for them")]
    OutOfRange,
    /// A node on the lowest layer has a subtree.
    #[error("a node on layer 0 has a subtree")]
    TooDeep,
    /// A node below the root has neither entries nor a subtree.
    #[error("the node is empty and not the root")]
    Empty,
    /// The root has a subtree but no entry, so that the subtree should be the root.
    #[error("the root has no entries but a subtree")]
    Untrimmed,
}
