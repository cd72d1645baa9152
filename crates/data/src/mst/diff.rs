//! What differs between two trees.

use std::cmp::Ordering;
use std::collections::HashSet;

use cid::Cid;

use super::digest::{Digest, node_cid};
use super::error::MstError;
use super::node::Subtree;
use super::path::{Path, Step};
use super::tree::Tree;
use crate::source::BlockSource;

/// What happened to one key. Without `before` it was created, without `after` deleted, with both changed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Change {
    /// The key.
    pub key: Vec<u8>,
    /// The value before.
    pub before: Option<Cid>,
    /// The value after.
    pub after: Option<Cid>,
}

/// The difference of two trees.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Diff {
    /// Keys whose values differ, in rising order.
    pub changes: Vec<Change>,
    /// Nodes that only the new tree has.
    pub new_nodes: Vec<Cid>,
    /// Nodes that only the old tree has.
    pub removed_nodes: Vec<Cid>,
}

/// Compares two trees, each with its own source. Subtrees that both have are not read, so that the work grows with the
/// difference and not with the trees. Both must have been flushed.
pub fn diff<A: BlockSource, B: BlockSource>(
    old: &Tree,
    old_src: A,
    new: &Tree,
    new_src: B,
) -> Result<Diff, MstError> {
    let mut diff = Diff::default();
    if old.clean_root().is_some() && old.clean_root() == new.clean_root() {
        return Ok(diff);
    }
    let mut old = Side::new(old_src, &old.root)?;
    let mut new = Side::new(new_src, &new.root)?;
    loop {
        match (old.peek(), new.peek()) {
            (None, None) => break,
            (
                Some(Step::Subtree {
                    digest: a,
                    height: x,
                }),
                Some(Step::Subtree {
                    digest: b,
                    height: y,
                }),
            ) => {
                let (Some(a), Some(b)) = (a, b) else {
                    return Err(MstError::Unflushed);
                };
                if a == b {
                    old.skip();
                    new.skip();
                    continue;
                }
                if x >= y {
                    old.enter(a)?;
                }
                if y >= x {
                    new.enter(b)?;
                }
            }
            (Some(Step::Subtree { digest, .. }), _) => {
                old.enter(digest.ok_or(MstError::Unflushed)?)?
            }
            (_, Some(Step::Subtree { digest, .. })) => {
                new.enter(digest.ok_or(MstError::Unflushed)?)?
            }
            (a, b) => diff
                .changes
                .extend(compare(&mut old, a.is_some(), &mut new, b.is_some())),
        }
    }
    let common: HashSet<Digest> = {
        let seen: HashSet<&Digest> = old.entered.iter().collect();
        new.entered
            .iter()
            .filter(|digest| seen.contains(digest))
            .copied()
            .collect()
    };
    let only = |entered: Vec<Digest>| -> Vec<Cid> {
        entered
            .iter()
            .filter(|digest| !common.contains(*digest))
            .map(node_cid)
            .collect()
    };
    diff.removed_nodes = only(old.entered);
    diff.new_nodes = only(new.entered);
    Ok(diff)
}

/// Compares the entries at which both sides stand, if they stand at one, and goes on from the smaller.
fn compare<A: BlockSource, B: BlockSource>(
    old: &mut Side<A>,
    old_has: bool,
    new: &mut Side<B>,
    new_has: bool,
) -> Option<Change> {
    let order = match (old_has, new_has) {
        (true, true) => old.key().cmp(new.key()),
        (true, false) => Ordering::Less,
        _ => Ordering::Greater,
    };
    let key = if order == Ordering::Greater {
        new.key()
    } else {
        old.key()
    }
    .to_vec();
    let before = (order != Ordering::Greater).then(|| old.take()).flatten();
    let after = (order != Ordering::Less).then(|| new.take()).flatten();
    (before != after).then_some(Change { key, before, after })
}

/// One of the two trees, and which of its nodes were entered.
struct Side<S> {
    path: Path<S>,
    /// The root, as long as it was neither entered nor skipped.
    root: Option<(Digest, u8)>,
    entered: Vec<Digest>,
}

impl<S: BlockSource> Side<S> {
    fn new(src: S, root: &Subtree) -> Result<Self, MstError> {
        let digest = root.digest().ok_or(MstError::Unflushed)?;
        let mut path = Path::new(src);
        path.enter_root(root)?;
        let height = path.frames.first().map_or(0, |frame| frame.node.height);
        Ok(Self {
            path,
            root: Some((digest, height)),
            entered: Vec::new(),
        })
    }

    fn peek(&mut self) -> Option<Step> {
        match self.root {
            Some((digest, height)) => Some(Step::Subtree {
                digest: Some(digest),
                height,
            }),
            None => self.path.peek(),
        }
    }

    fn enter(&mut self, digest: Digest) -> Result<(), MstError> {
        self.entered.push(digest);
        match self.root.take() {
            Some(_) => Ok(()),
            None => self.path.enter(),
        }
    }

    fn skip(&mut self) {
        if self.root.take().is_some() {
            self.path.frames.clear();
        } else {
            self.path.skip();
        }
    }

    fn key(&self) -> &[u8] {
        self.path
            .frames
            .last()
            .map_or(&[], |frame| frame.key(frame.step / 2))
    }

    /// The value of the entry at which the side stands; goes on.
    fn take(&mut self) -> Option<Cid> {
        let frame = self.path.frames.last()?;
        let value = frame.value(frame.step / 2);
        self.path.skip();
        Some(value)
    }
}
