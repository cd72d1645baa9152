//! Undoing a commit: from the tree after it, as far as it was sent along, to the root before it.

use std::collections::HashSet;

use cid::Cid;

use super::diff::Change;
use super::error::{Mismatch, MstError, shown};
use super::proof::Hashed;
use super::tree::Tree;
use crate::source::BlockSource;

/// Computes the root before a commit (Sync 1.1 operation inversion).
///
/// `root` is the root after the commit, `blocks` what was sent with it, and `operations` what it did. Each operation is
/// first checked against the tree, then undone; blocks are hashed and checked as they are read. A message whose
/// blocks do not suffice is refused with [`MstError::MissingBlock`].
///
/// The commit is sound if the result is the root that its author says came before (`prevData`).
pub fn invert<S: BlockSource + ?Sized>(
    root: &Cid,
    blocks: &S,
    operations: &[Change],
) -> Result<Cid, MstError> {
    let src = Hashed(blocks);
    let mut tree = Tree::load(*root);
    tree.load_root(&src)?;
    let mut keys = HashSet::with_capacity(operations.len());
    for operation in operations {
        let key = &operation.key;
        if !keys.insert(key) {
            return Err(MstError::RepeatedOperation { key: shown(key) });
        }
        let found = tree.get(&src, key)?;
        if found != operation.after {
            let key = shown(key);
            let mismatch = Mismatch {
                key,
                said: operation.after,
                found,
            };
            return Err(MstError::OperationMismatch(Box::new(mismatch)));
        }
    }
    for operation in operations {
        match &operation.before {
            Some(value) => tree.put(&src, &operation.key, value)?,
            None => tree.delete(&src, &operation.key)?,
        };
    }
    Ok(tree.root())
}
