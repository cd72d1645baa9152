//! Building a tree from entries that come in order, without a search.

use std::sync::Arc;

use bytes::Bytes;
use cid::Cid;

use super::append::RightEdge;
use super::digest::{Digest, node_cid, sha256};
use super::edit::{put_entry, put_left, put_node_start, set_link_at};
use super::error::{MstError, shown};
use super::key::{common_prefix_len, is_valid_key, key_height};
use super::ledger::Ledger;
use super::node::{Kid, Node, Subtree};
use super::tree::{Tree, value_bytes};
use super::verify::MAX_NODE_BYTES;

impl Tree {
    /// The tree of these entries, whose keys must rise. It is in memory, and its first flush hands over all nodes.
    pub fn from_sorted<K: AsRef<[u8]>>(
        entries: impl IntoIterator<Item = (K, Cid)>,
    ) -> Result<Self, MstError> {
        let mut ledger = Ledger::default();
        let mut keep = |node: Finished| {
            ledger.resident += 1;
            ledger.sealed.push((node.digest, node.block.clone()));
            Kid::Clean(Arc::new(Node::frozen(node.block, node.kids, node.height)))
        };
        let (digest, kid) = build(entries, &mut keep)?;
        let root = match kid {
            Kid::Clean(node) => Subtree::Clean(digest, node),
            _ => Subtree::Stored(digest),
        };
        let edge = RightEdge::default();
        Ok(Self { root, ledger, edge })
    }
}

/// Builds the tree of these entries, whose keys must rise, gives each node to `emit` as soon as it is complete, and
/// answers the root. Children come before their parents. Memory is bounded by one node a layer.
pub fn build_sorted<K: AsRef<[u8]>>(
    entries: impl IntoIterator<Item = (K, Cid)>,
    mut emit: impl FnMut(Cid, Bytes),
) -> Result<Cid, MstError> {
    let mut give = |node: Finished| {
        emit(node_cid(&node.digest), node.block);
        Kid::Stored
    };
    let (digest, _) = build(entries, &mut give)?;
    Ok(node_cid(&digest))
}

/// A node that is complete.
struct Finished {
    digest: Digest,
    block: Bytes,
    kids: Vec<Kid>,
    height: u8,
}

/// The last node of a layer, still growing.
#[derive(Default)]
struct Layer {
    /// The entries so far, encoded.
    entries: Vec<u8>,
    count: usize,
    last_key: Vec<u8>,
    /// Where the link of the last entry lies.
    last_link: usize,
    left: Option<Digest>,
    kids: Vec<Kid>,
}

impl Layer {
    fn push(&mut self, key: &[u8], value: &[u8]) -> Result<(), MstError> {
        let prefix = common_prefix_len(&self.last_key, key);
        put_entry(&mut self.entries, prefix, &key[prefix..], None, value);
        // The link is the null before the key `v`, tag, head and value.
        let head = if value.len() + 1 < 0x18 { 1 } else { 2 };
        self.last_link = self.entries.len() - value.len() - 1 - head - 4 - 1;
        self.last_key.clear();
        self.last_key.extend_from_slice(key);
        self.count += 1;
        if !self.kids.is_empty() {
            self.kids.push(Kid::None);
        }
        let bytes = self.entries.len();
        if bytes > MAX_NODE_BYTES - 64 {
            return Err(MstError::NodeTooLarge {
                bytes,
                limit: MAX_NODE_BYTES,
            });
        }
        Ok(())
    }

    /// Links a subtree after the last entry.
    fn attach(&mut self, digest: &Digest, kid: Kid) {
        if self.count == 0 {
            self.left = Some(*digest);
        } else {
            set_link_at(&mut self.entries, self.last_link, Some(digest));
        }
        self.kids.resize(self.count, Kid::None);
        self.kids.push(kid);
    }

    fn is_empty(&self) -> bool {
        self.count == 0 && self.left.is_none()
    }

    /// Completes the node, and starts a new one.
    fn finish(&mut self, height: u8) -> Finished {
        let mut block = Vec::with_capacity(self.entries.len() + 56);
        put_node_start(&mut block, self.count);
        block.extend_from_slice(&self.entries);
        put_left(&mut block, self.left.as_ref());
        let digest = sha256(&block);
        block.shrink_to_fit();
        self.entries.clear();
        self.count = 0;
        self.last_key.clear();
        self.left = None;
        let kids = std::mem::take(&mut self.kids);
        Finished {
            digest,
            block: block.into(),
            kids,
            height,
        }
    }
}

fn build<K: AsRef<[u8]>>(
    entries: impl IntoIterator<Item = (K, Cid)>,
    emit: &mut dyn FnMut(Finished) -> Kid,
) -> Result<(Digest, Kid), MstError> {
    let mut layers = vec![Layer::default()];
    let mut previous: Vec<u8> = Vec::new();
    for (key, value) in entries {
        let key = key.as_ref();
        if !is_valid_key(key) {
            return Err(MstError::invalid_key(key));
        }
        if key <= &previous[..] {
            return Err(MstError::UnsortedKeys { key: shown(key) });
        }
        let (value, len) = value_bytes(&value)?;
        let height = usize::from(key_height(key));
        if height >= layers.len() {
            layers.resize_with(height + 1, Layer::default);
        }
        close_below(&mut layers, height, emit);
        layers[height].push(key, &value[..len])?;
        previous.clear();
        previous.extend_from_slice(key);
    }
    let top = layers.len() - 1;
    close_below(&mut layers, top, emit);
    let root = layers[top].finish(top as u8);
    let digest = root.digest;
    Ok((digest, emit(root)))
}

/// Completes the nodes below layer `height`, each linked from the next higher one.
fn close_below(layers: &mut [Layer], height: usize, emit: &mut dyn FnMut(Finished) -> Kid) {
    for below in 0..height {
        if layers[below].is_empty() {
            continue;
        }
        let node = layers[below].finish(below as u8);
        let digest = node.digest;
        layers[below + 1].attach(&digest, emit(node));
    }
}
