//! A node in memory: its block, and the subtrees that are in memory too.

use std::sync::Arc;

use bytes::Bytes;

use super::block::{self, EMPTY, Entry, entries_start, gap_link, link_digest};
use super::digest::{Digest, node_cid};
use super::edit::{self, LinkBytes};
use super::error::MstError;
use super::verify::{Position, check};
use crate::source::BlockSource;

/// A node's own block. Links to changed children hold stale or zero digests until the node is sealed.
#[derive(Clone, Debug)]
enum Data {
    /// As it was read or sealed; shared with whoever else has the block.
    Frozen(Bytes),
    /// Being changed.
    Open(Vec<u8>),
}

/// A node in memory. Trees share nodes, and copy one that is to be changed if another tree has it too.
#[derive(Clone, Debug)]
pub(super) struct Node {
    data: Data,
    /// The state of each gap's subtree; empty if there is none at all.
    pub kids: Vec<Kid>,
    /// Layer, from the bottom.
    pub height: u8,
}

/// What a node knows of the subtree in one of its gaps. The digest, where there is one, stands in the node's block.
#[derive(Clone, Debug, Default)]
pub(super) enum Kid {
    /// No subtree.
    #[default]
    None,
    /// Not in memory.
    Stored,
    /// In memory, as stored.
    Clean(Arc<Node>),
    /// Changed since it was sealed, so that it has no digest.
    Dirty(Arc<Node>),
}

/// A subtree outside of any node.
#[derive(Clone, Debug, Default)]
pub(super) enum Subtree {
    /// Nothing.
    #[default]
    None,
    /// Not in memory.
    Stored(Digest),
    /// In memory, as stored.
    Clean(Digest, Arc<Node>),
    /// Changed since it was sealed.
    Dirty(Arc<Node>),
}

const UNSEALED: Digest = [0; 32];

impl Subtree {
    pub fn is_none(&self) -> bool {
        matches!(self, Self::None)
    }

    /// What a link to the subtree looks like until the node with the link is sealed.
    pub fn link(&self) -> LinkBytes<'_> {
        match self {
            Self::None => None,
            Self::Stored(digest) | Self::Clean(digest, _) => Some(digest),
            Self::Dirty(_) => Some(&UNSEALED),
        }
    }

    pub fn into_kid(self) -> Kid {
        match self {
            Self::None => Kid::None,
            Self::Stored(_) => Kid::Stored,
            Self::Clean(_, node) => Kid::Clean(node),
            Self::Dirty(node) => Kid::Dirty(node),
        }
    }

    /// The digest, if the subtree is stored under it.
    pub fn digest(&self) -> Option<Digest> {
        match self {
            Self::Stored(digest) | Self::Clean(digest, _) => Some(*digest),
            Self::None | Self::Dirty(_) => None,
        }
    }

    /// The top node, if it is in memory.
    pub fn node(&self) -> Option<&Arc<Node>> {
        match self {
            Self::Clean(_, node) | Self::Dirty(node) => Some(node),
            Self::None | Self::Stored(_) => None,
        }
    }

    pub fn node_mut(&mut self) -> Option<&mut Arc<Node>> {
        match self {
            Self::Clean(_, node) | Self::Dirty(node) => Some(node),
            Self::None | Self::Stored(_) => None,
        }
    }

    /// The top node, if it is in memory.
    pub fn into_node(self) -> Option<Arc<Node>> {
        match self {
            Self::Clean(_, node) | Self::Dirty(node) => Some(node),
            Self::None | Self::Stored(_) => None,
        }
    }

    /// A changed node as a subtree.
    pub fn dirty(node: Node) -> Self {
        Self::Dirty(Arc::new(node))
    }
}

impl Kid {
    /// Notes that the subtree has changed.
    pub fn soil(&mut self) {
        *self = match std::mem::take(self) {
            Self::Clean(node) => Self::Dirty(node),
            other => other,
        };
    }

    /// Notes that the subtree has a digest again.
    pub fn cleanse(&mut self) {
        *self = match std::mem::take(self) {
            Self::Dirty(node) => Self::Clean(node),
            other => other,
        };
    }

    pub fn node_mut(&mut self) -> Option<&mut Arc<Node>> {
        match self {
            Self::Clean(node) | Self::Dirty(node) => Some(node),
            Self::None | Self::Stored => None,
        }
    }

    pub fn node(&self) -> Option<&Arc<Node>> {
        match self {
            Self::Clean(node) | Self::Dirty(node) => Some(node),
            Self::None | Self::Stored => None,
        }
    }
}

impl Node {
    /// The node of the empty tree.
    pub fn empty() -> Self {
        Self {
            data: Data::Frozen(Bytes::from_static(&EMPTY)),
            kids: Vec::new(),
            height: 0,
        }
    }

    /// A changed node.
    pub fn open(data: Vec<u8>, kids: Vec<Kid>, height: u8) -> Self {
        Self {
            data: Data::Open(data),
            kids,
            height,
        }
    }

    /// A node as it stands in the source, with children that may be in memory.
    pub fn frozen(data: Bytes, kids: Vec<Kid>, height: u8) -> Self {
        Self {
            data: Data::Frozen(data),
            kids,
            height,
        }
    }

    /// A node without entries around one subtree.
    pub fn wrapper(subtree: Subtree, height: u8) -> Self {
        let mut data = Vec::with_capacity(48);
        edit::put_node_start(&mut data, 0);
        edit::put_left(&mut data, subtree.link());
        Self::open(data, vec![subtree.into_kid()], height)
    }

    /// A node with one entry.
    pub fn single(key: &[u8], value: &[u8], left: Subtree, right: Subtree, height: u8) -> Self {
        // Room for a second entry or so: most nodes have several.
        let mut data = Vec::with_capacity(key.len() + value.len() + 128);
        edit::put_node_start(&mut data, 1);
        edit::put_entry(&mut data, 0, key, right.link(), value);
        edit::put_left(&mut data, left.link());
        let kids = if left.is_none() && right.is_none() {
            Vec::new()
        } else {
            vec![left.into_kid(), right.into_kid()]
        };
        Self::open(data, kids, height)
    }

    /// Reads the node `digest` from a source and checks it for its place.
    pub fn load<S: BlockSource + ?Sized>(
        src: &S,
        digest: &Digest,
        position: Position<'_>,
    ) -> Result<Self, MstError> {
        if *digest == UNSEALED {
            return Err(MstError::NotANode);
        }
        let cid = node_cid(digest);
        let bytes = src.block(&cid)?.ok_or(MstError::MissingBlock(cid))?;
        let checked = check(&bytes, position).map_err(|fault| MstError::InvalidNode {
            cid,
            fault: Box::new(fault),
        })?;
        let mut kids = Vec::new();
        if checked.linked {
            kids.reserve_exact(entries_start(&bytes).0 + 1);
            let kid = |link: usize| {
                if bytes[link] == block::NULL {
                    Kid::None
                } else {
                    Kid::Stored
                }
            };
            kids.push(Kid::None);
            let mut end = entries_start(&bytes).1;
            for entry in block::entries(&bytes) {
                kids.push(kid(entry.link));
                end = entry.end;
            }
            kids[0] = kid(end + block::LEFT_START.len());
        }
        Ok(Self {
            data: Data::Frozen(bytes),
            kids,
            height: checked.height,
        })
    }

    /// The node's block.
    #[inline]
    pub fn block(&self) -> &[u8] {
        match &self.data {
            Data::Frozen(bytes) => bytes,
            Data::Open(bytes) => bytes,
        }
    }

    /// The node's block as it is shared, if it is not being changed.
    pub fn bytes(&self) -> Bytes {
        match &self.data {
            Data::Frozen(bytes) => bytes.clone(),
            Data::Open(bytes) => Bytes::copy_from_slice(bytes),
        }
    }

    /// Changes the block.
    pub fn edit<R>(&mut self, change: impl FnOnce(&mut Vec<u8>) -> R) -> R {
        let mut open = match std::mem::replace(&mut self.data, Data::Frozen(Bytes::new())) {
            Data::Open(bytes) => bytes,
            Data::Frozen(bytes) => {
                let mut open = Vec::with_capacity(bytes.len() + 160);
                open.extend_from_slice(&bytes);
                open
            }
        };
        let result = change(&mut open);
        self.data = Data::Open(open);
        result
    }

    /// Takes the block out as a vector of its own, to be sealed.
    pub fn take_block(&mut self) -> Vec<u8> {
        match std::mem::replace(&mut self.data, Data::Frozen(Bytes::new())) {
            Data::Frozen(bytes) => Vec::from(bytes),
            Data::Open(bytes) => bytes,
        }
    }

    /// Puts the sealed block back.
    pub fn freeze(&mut self, bytes: Bytes) {
        self.data = Data::Frozen(bytes);
    }

    /// The block to read and the children to change, both at once.
    #[inline]
    pub fn parts(&mut self) -> (&[u8], &mut [Kid]) {
        let block = match &self.data {
            Data::Frozen(bytes) => &bytes[..],
            Data::Open(bytes) => &bytes[..],
        };
        (block, &mut self.kids)
    }

    /// Touches what a search of this node is about to read. In a large tree a node lies in memory that no cache has; the
    /// loads of its parts overlap here, where the search would wait for one after the other.
    #[inline]
    pub fn touch(&self) {
        let block = self.block();
        let mut sum = 0;
        for line in block.iter().skip(64).step_by(64).take(5) {
            sum ^= line;
        }
        let ends = [self.kids.first(), self.kids.last()];
        sum ^= ends
            .iter()
            .filter(|kid| matches!(kid, Some(Kid::Stored)))
            .count() as u8;
        std::hint::black_box(sum);
    }

    /// Number of entries.
    #[inline]
    pub fn count(&self) -> usize {
        entries_start(self.block()).0
    }

    /// Where the link of a gap lies that has a subtree: the left link is the last thing in a block.
    #[inline]
    fn kid_link(&self, gap: usize) -> usize {
        match gap {
            0 => self.block().len() - block::LINK_BYTES,
            _ => gap_link(self.block(), gap),
        }
    }

    /// Whether the node has neither entries nor subtrees.
    pub fn is_empty(&self) -> bool {
        self.count() == 0 && self.kids.iter().all(|kid| matches!(kid, Kid::None))
    }

    /// The subtree in a gap, shared.
    pub fn subtree(&self, gap: usize) -> Subtree {
        let digest = || link_digest(self.block(), self.kid_link(gap)).unwrap_or_default();
        match self.kids.get(gap) {
            None | Some(Kid::None) => Subtree::None,
            Some(Kid::Stored) => Subtree::Stored(digest()),
            Some(Kid::Clean(node)) => Subtree::Clean(digest(), Arc::clone(node)),
            Some(Kid::Dirty(node)) => Subtree::Dirty(Arc::clone(node)),
        }
    }

    /// Takes the subtree out of a gap; the link in the block stays behind and must be set.
    pub fn take_subtree(&mut self, gap: usize) -> Subtree {
        let digest = match self.kids.get(gap) {
            Some(Kid::Stored | Kid::Clean(_)) => {
                link_digest(self.block(), self.kid_link(gap)).unwrap_or_default()
            }
            _ => UNSEALED,
        };
        match self.kids.get_mut(gap).map(std::mem::take) {
            None | Some(Kid::None) => Subtree::None,
            Some(Kid::Stored) => Subtree::Stored(digest),
            Some(Kid::Clean(node)) => Subtree::Clean(digest, node),
            Some(Kid::Dirty(node)) => Subtree::Dirty(node),
        }
    }

    /// Sets the state of a gap, without touching the block.
    pub fn set_kid(&mut self, gap: usize, kid: Kid) {
        if self.kids.is_empty() {
            if matches!(kid, Kid::None) {
                return;
            }
            self.kids.resize(self.count() + 1, Kid::None);
        }
        if let Some(slot) = self.kids.get_mut(gap) {
            *slot = kid;
        }
    }

    /// Puts back, unchanged, what [`Self::take_subtree`] took.
    pub fn restore(&mut self, gap: usize, subtree: Subtree) {
        if let Some(slot) = self.kids.get_mut(gap) {
            *slot = subtree.into_kid();
        }
    }

    /// Puts a subtree into a gap, and its link into the block.
    pub fn set_subtree(&mut self, gap: usize, subtree: Subtree) {
        self.edit(|block| edit::set_gap_link(block, gap, subtree.link()));
        self.set_kid(gap, subtree.into_kid());
    }
}

/// The keys that bound a node's place, each as an entry of a node above.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Bounds<'n> {
    low: Option<(&'n [u8], usize)>,
    high: Option<(&'n [u8], usize)>,
}

impl<'n> Bounds<'n> {
    /// The bounds of the gap `gap` of a node that itself has these bounds.
    #[inline]
    pub fn narrowed<'c>(&self, block: &'c [u8], gap: usize, count: usize) -> Bounds<'c>
    where
        'n: 'c,
    {
        Bounds {
            low: gap.checked_sub(1).map(|index| (block, index)).or(self.low),
            high: if gap < count {
                Some((block, gap))
            } else {
                self.high
            },
        }
    }

    /// Loads the node `digest`, which lies on `height` within these bounds.
    pub fn load<S: BlockSource + ?Sized>(
        &self,
        src: &S,
        digest: &Digest,
        height: u8,
    ) -> Result<Node, MstError> {
        let key = |bound: Option<(&[u8], usize)>| {
            bound.map(|(block, index)| {
                let mut key = Vec::with_capacity(64);
                block::key_at(block, index, &mut key);
                key
            })
        };
        let (low, high) = (key(self.low), key(self.high));
        let position = Position::Below {
            height,
            low: low.as_deref(),
            high: high.as_deref(),
        };
        Node::load(src, digest, position)
    }
}

/// A value's CID in binary.
pub(super) fn value_cid(block: &[u8], entry: &Entry) -> cid::Cid {
    let bytes = entry.value(block);
    if let Some(digest) = bytes.strip_prefix(&[0x01, 0x71, 0x12, 0x20])
        && let Ok(digest) = digest.try_into()
    {
        return node_cid(digest);
    }
    // Checked when the block was, or written from a CID.
    cid::Cid::try_from(bytes).unwrap_or_default()
}
