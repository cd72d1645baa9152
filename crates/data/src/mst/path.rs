//! A place in a tree that moves through it in key order, holding one node a layer.

use std::sync::Arc;

use cid::Cid;

use super::block::{Entry, entries};
use super::digest::Digest;
use super::error::MstError;
use super::node::{Kid, Node, Subtree, value_cid};
use super::verify::Position;
use crate::source::BlockSource;

/// A node with its entries told apart, and the step at which the path stands in it.
///
/// Steps of a node with `n` entries are numbered 0 to `2n`: even ones are gaps, odd ones entries.
#[derive(Clone, Debug)]
pub(super) struct Frame {
    pub node: Arc<Node>,
    entries: Vec<Entry>,
    /// All keys, one after the other, and where each ends.
    keys: Vec<u8>,
    ends: Vec<usize>,
    pub step: usize,
}

/// What stands at a step.
#[derive(Debug)]
pub(super) enum Step {
    /// A subtree, on this layer, with this digest if it is stored.
    Subtree { digest: Option<Digest>, height: u8 },
    /// The entry with this index.
    Entry(usize),
}

impl Frame {
    fn new(node: Arc<Node>) -> Self {
        let block = node.block();
        let count = node.count();
        let mut told = Vec::with_capacity(count);
        let mut keys = Vec::with_capacity(count * 40);
        let mut ends = Vec::with_capacity(count);
        let mut start = 0;
        for entry in entries(block) {
            let end = keys.len();
            keys.extend_from_within(start..start + entry.prefix);
            keys.extend_from_slice(entry.suffix(block));
            start = end;
            ends.push(keys.len());
            told.push(entry);
        }
        Self {
            node,
            entries: told,
            keys,
            ends,
            step: 0,
        }
    }

    /// Number of steps.
    pub fn steps(&self) -> usize {
        2 * self.entries.len() + 1
    }

    /// The key of an entry.
    pub fn key(&self, index: usize) -> &[u8] {
        let start = index.checked_sub(1).map_or(0, |before| self.ends[before]);
        &self.keys[start..self.ends[index]]
    }

    /// The value of an entry.
    pub fn value(&self, index: usize) -> Cid {
        value_cid(self.node.block(), &self.entries[index])
    }

    /// Number of entries with keys smaller than `key`, or not greater if `or_equal`.
    pub fn count_below(&self, key: &[u8], or_equal: bool) -> usize {
        let below = |index: &usize| {
            let own = self.key(*index);
            own < key || (or_equal && own == key)
        };
        (0..self.entries.len()).take_while(below).count()
    }

    fn here(&self) -> Option<Step> {
        let gap = self.step / 2;
        if self.step % 2 == 1 {
            return Some(Step::Entry(gap));
        }
        let height = self.node.height.saturating_sub(1);
        match self.node.kids.get(gap) {
            None | Some(Kid::None) => None,
            Some(_) => Some(Step::Subtree {
                digest: self.node.subtree(gap).digest(),
                height,
            }),
        }
    }
}

/// The nodes from the root to where one stands.
#[derive(Clone, Debug)]
pub(super) struct Path<S> {
    src: S,
    pub frames: Vec<Frame>,
}

impl<S: BlockSource> Path<S> {
    pub fn new(src: S) -> Self {
        Self {
            src,
            frames: Vec::new(),
        }
    }

    /// Steps into a root.
    pub fn enter_root(&mut self, root: &Subtree) -> Result<(), MstError> {
        let node = match root {
            Subtree::None => return Ok(()),
            Subtree::Stored(digest) => Arc::new(Node::load(&self.src, digest, Position::Root)?),
            Subtree::Clean(_, node) | Subtree::Dirty(node) => Arc::clone(node),
        };
        self.frames.push(Frame::new(node));
        Ok(())
    }

    /// Steps into the subtree at the current step.
    pub fn enter(&mut self) -> Result<(), MstError> {
        let Some(frame) = self.frames.last() else {
            return Ok(());
        };
        let node = match frame.node.subtree(frame.step / 2) {
            Subtree::None => return Ok(()),
            Subtree::Clean(_, node) | Subtree::Dirty(node) => node,
            Subtree::Stored(digest) => {
                let height = frame.node.height.saturating_sub(1);
                let low = self.frames.iter().rev().find_map(|frame| {
                    (frame.step / 2)
                        .checked_sub(1)
                        .map(|index| frame.key(index))
                });
                let high = self.frames.iter().rev().find_map(|frame| {
                    let index = frame.step / 2;
                    (index < frame.entries.len()).then(|| frame.key(index))
                });
                let position = Position::Below { height, low, high };
                Arc::new(Node::load(&self.src, &digest, position)?)
            }
        };
        self.frames.push(Frame::new(node));
        Ok(())
    }

    /// What stands at the current step, or `None` at the end. Steps without anything, and nodes that are done with,
    /// are left behind.
    pub fn peek(&mut self) -> Option<Step> {
        loop {
            let frame = self.frames.last_mut()?;
            if frame.step >= frame.steps() {
                self.frames.pop();
                self.skip();
                continue;
            }
            match frame.here() {
                Some(step) => return Some(step),
                None => frame.step += 1,
            }
        }
    }

    /// Goes on to the next step.
    pub fn skip(&mut self) {
        if let Some(frame) = self.frames.last_mut() {
            frame.step += 1;
        }
    }

    /// As [`Self::peek`], backwards.
    pub fn peek_back(&mut self) -> Option<Step> {
        loop {
            let frame = self.frames.last_mut()?;
            match frame.here() {
                Some(step) => return Some(step),
                None => self.skip_back(),
            }
        }
    }

    /// Goes back to the step before, out of the node if there is none.
    pub fn skip_back(&mut self) {
        while let Some(frame) = self.frames.last_mut() {
            match frame.step.checked_sub(1) {
                Some(before) => {
                    frame.step = before;
                    return;
                }
                None => {
                    self.frames.pop();
                }
            }
        }
    }
}
