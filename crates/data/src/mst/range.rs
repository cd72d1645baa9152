//! Entries between two keys, in either direction.

use std::ops::Bound;

use cid::Cid;

use super::error::MstError;
use super::path::{Path, Step};
use super::tree::Tree;
use crate::source::BlockSource;

/// Which way to go through keys.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub enum Direction {
    /// From small to great.
    #[default]
    Forward,
    /// From great to small.
    Backward,
}

/// The entries of a range, one by one, read as they are asked for: memory is bounded by the depth of the tree. After
/// an error it ends.
#[derive(Debug)]
pub struct Range<'t, S> {
    path: Path<S>,
    tree: Option<&'t Tree>,
    low: Bound<Vec<u8>>,
    high: Bound<Vec<u8>>,
    direction: Direction,
}

impl Tree {
    /// The entries whose keys lie between two bounds.
    pub fn range<S: BlockSource>(
        &self,
        src: S,
        low: Bound<&[u8]>,
        high: Bound<&[u8]>,
        direction: Direction,
    ) -> Range<'_, S> {
        Range {
            path: Path::new(src),
            tree: Some(self),
            low: low.map(<[u8]>::to_vec),
            high: high.map(<[u8]>::to_vec),
            direction,
        }
    }

    /// The entries whose keys start with `prefix`.
    pub fn prefix<S: BlockSource>(
        &self,
        src: S,
        prefix: impl AsRef<[u8]>,
        direction: Direction,
    ) -> Range<'_, S> {
        let low = prefix.as_ref();
        // The first key after all that start so: the last byte that can be raised is, what follows it is dropped.
        let mut high = low.to_vec();
        while high.last() == Some(&u8::MAX) {
            high.pop();
        }
        let high = match high.last_mut() {
            Some(last) => {
                *last += 1;
                Bound::Excluded(&high[..])
            }
            None => Bound::Unbounded,
        };
        self.range(src, Bound::Included(low), high, direction)
    }

    /// All entries in order of their keys.
    pub fn entries<S: BlockSource>(&self, src: S) -> Range<'_, S> {
        self.range(src, Bound::Unbounded, Bound::Unbounded, Direction::Forward)
    }

    /// Number of entries. Reads the whole tree.
    pub fn len<S: BlockSource>(&self, src: S) -> Result<usize, MstError> {
        self.entries(src)
            .try_fold(0, |count, entry| entry.map(|_| count + 1))
    }

    /// Whether there are no entries. Reads at most the root.
    pub fn is_empty<S: BlockSource>(&self, src: S) -> Result<bool, MstError> {
        let mut path = Path::new(src);
        path.enter_root(&self.root)?;
        Ok(path
            .frames
            .first()
            .is_none_or(|frame| frame.node.is_empty()))
    }
}

impl<S: BlockSource> Range<'_, S> {
    /// Puts the newest node's step where the range begins in it.
    fn settle(&mut self) {
        let Some(frame) = self.path.frames.last_mut() else {
            return;
        };
        frame.step = match self.direction {
            Direction::Forward => match &self.low {
                Bound::Unbounded => 0,
                Bound::Included(key) => 2 * frame.count_below(key, false),
                Bound::Excluded(key) => 2 * frame.count_below(key, true),
            },
            Direction::Backward => match &self.high {
                Bound::Unbounded => frame.steps() - 1,
                Bound::Included(key) => 2 * frame.count_below(key, true),
                Bound::Excluded(key) => 2 * frame.count_below(key, false),
            },
        };
    }

    fn beyond(&self, key: &[u8]) -> bool {
        match (self.direction, &self.low, &self.high) {
            (Direction::Forward, _, Bound::Included(high)) => key > &high[..],
            (Direction::Forward, _, Bound::Excluded(high)) => key >= &high[..],
            (Direction::Backward, Bound::Included(low), _) => key < &low[..],
            (Direction::Backward, Bound::Excluded(low), _) => key <= &low[..],
            _ => false,
        }
    }

    fn advance(&mut self) -> Result<Option<(Vec<u8>, Cid)>, MstError> {
        if let Some(tree) = self.tree.take() {
            self.path.enter_root(&tree.root)?;
            self.settle();
        }
        loop {
            let step = match self.direction {
                Direction::Forward => self.path.peek(),
                Direction::Backward => self.path.peek_back(),
            };
            match step {
                None => return Ok(None),
                Some(Step::Subtree { .. }) => {
                    self.path.enter()?;
                    self.settle();
                }
                Some(Step::Entry(index)) => {
                    let Some(frame) = self.path.frames.last() else {
                        return Ok(None);
                    };
                    let key = frame.key(index);
                    if self.beyond(key) {
                        return Ok(None);
                    }
                    let found = (key.to_vec(), frame.value(index));
                    self.leave();
                    return Ok(Some(found));
                }
            }
        }
    }

    fn leave(&mut self) {
        match self.direction {
            Direction::Forward => self.path.skip(),
            Direction::Backward => self.path.skip_back(),
        }
    }
}

impl<S: BlockSource> Iterator for Range<'_, S> {
    type Item = Result<(Vec<u8>, Cid), MstError>;

    fn next(&mut self) -> Option<Self::Item> {
        let next = self.advance().transpose();
        if !matches!(next, Some(Ok(_))) {
            self.path.frames.clear();
        }
        next
    }
}
