//! The whole tree in the order of a streamable archive.

use bytes::Bytes;
use cid::Cid;

use super::digest::node_cid;
use super::error::MstError;
use super::node::Subtree;
use super::path::{Path, Step};
use super::tree::Tree;
use crate::source::BlockSource;

/// A stop on the way through a tree.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum PreorderItem {
    /// A node.
    Node {
        /// Its CID.
        cid: Cid,
        /// Its block.
        bytes: Bytes,
    },
    /// An entry, whose value is to be read by whoever wants it.
    Value {
        /// The key.
        key: Vec<u8>,
        /// The value.
        cid: Cid,
    },
}

/// Walks a tree as the sync specification lays out a streamable CAR: each node, then recursively its left subtree, its
/// first entry, the subtree right of that, and so on. Entries come in the order of their keys; memory is bounded by
/// the depth of the tree. After an error it ends.
#[derive(Debug)]
pub struct Preorder<S> {
    path: Path<S>,
    root: Option<Subtree>,
}

impl<S: BlockSource> Preorder<S> {
    /// Walks the stored tree with this root.
    pub fn new(src: S, root: Cid) -> Self {
        Tree::load(root).preorder(src)
    }

    /// The node that comes next, if a node does: its subtree may be [skipped](Self::skip_subtree).
    pub fn next_node(&mut self) -> Option<Cid> {
        let digest = match &self.root {
            Some(root) => root.digest(),
            None => match self.path.peek()? {
                Step::Subtree { digest, .. } => digest,
                Step::Entry(_) => None,
            },
        };
        digest.map(|digest| node_cid(&digest))
    }

    /// Leaves out the node that comes next, with all below it, unread.
    pub fn skip_subtree(&mut self) {
        if self.root.take().is_none() {
            self.path.skip();
        }
    }

    fn advance(&mut self) -> Result<Option<PreorderItem>, MstError> {
        if let Some(root) = self.root.take() {
            let digest = root.digest().ok_or(MstError::Unflushed)?;
            self.path.enter_root(&root)?;
            return Ok(self.node(node_cid(&digest)));
        }
        match self.path.peek() {
            None => Ok(None),
            Some(Step::Subtree { digest, .. }) => {
                let digest = digest.ok_or(MstError::Unflushed)?;
                self.path.enter()?;
                Ok(self.node(node_cid(&digest)))
            }
            Some(Step::Entry(index)) => {
                let item = self.path.frames.last().map(|frame| PreorderItem::Value {
                    key: frame.key(index).to_vec(),
                    cid: frame.value(index),
                });
                self.path.skip();
                Ok(item)
            }
        }
    }

    fn node(&self, cid: Cid) -> Option<PreorderItem> {
        let frame = self.path.frames.last()?;
        Some(PreorderItem::Node {
            cid,
            bytes: frame.node.bytes(),
        })
    }
}

impl<S: BlockSource> Iterator for Preorder<S> {
    type Item = Result<PreorderItem, MstError>;

    fn next(&mut self) -> Option<Self::Item> {
        let next = self.advance().transpose();
        if !matches!(next, Some(Ok(_))) {
            self.path.frames.clear();
        }
        next
    }
}

impl Tree {
    /// Walks the tree, which must have been flushed, in the order of a streamable archive.
    pub fn preorder<S: BlockSource>(&self, src: S) -> Preorder<S> {
        Preorder {
            path: Path::new(src),
            root: Some(self.root.clone()),
        }
    }
}
