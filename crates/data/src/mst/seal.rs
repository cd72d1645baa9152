//! Giving changed nodes their digest.

use std::sync::Arc;

use bytes::Bytes;

use super::block::{LEFT_START, entries_start, entry_at};
use super::digest::{Digest, sha256};
use super::edit::patch_link;
use super::node::{Kid, Node};

/// Hashes a changed node, after the changed nodes below it, and notes the blocks of all of them in `sealed`.
pub(super) fn seal(node: &mut Arc<Node>, sealed: &mut Vec<(Digest, Bytes)>) -> Digest {
    let node = Arc::make_mut(node);
    let mut block = node.take_block();
    if !node.kids.is_empty() {
        let (_, mut at) = entries_start(&block);
        for kid in node.kids.iter_mut().skip(1) {
            let entry = entry_at(&block, at);
            if let Kid::Dirty(child) = kid {
                patch_link(&mut block, entry.link, &seal(child, sealed));
                kid.cleanse();
            }
            at = entry.end;
        }
        if let Some(kid @ Kid::Dirty(_)) = node.kids.first_mut()
            && let Some(child) = kid.node_mut()
        {
            patch_link(&mut block, at + LEFT_START.len(), &seal(child, sealed));
            kid.cleanse();
        }
    }
    let digest = sha256(&block);
    // Blocks stay in memory for long, so that they must not hold much room that they do not need.
    let bytes = if block.capacity() - block.len() <= block.len() / 4 {
        Bytes::from(block)
    } else {
        Bytes::copy_from_slice(&block)
    };
    sealed.push((digest, bytes.clone()));
    node.freeze(bytes);
    digest
}
