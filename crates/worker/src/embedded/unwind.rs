//! The walk that releases what a pin holds.
//!
//! A block comes after everything below it. So whatever is still held can be reached from the root over blocks that
//! are held as well, and a walk that was cut short at any place is just begun again.

use std::collections::HashSet;

use bytes::Bytes;
use ues_data::Cid;
use ues_data::content_id::{IDENTITY, RAW};
use ues_pins::PinMode;
use ues_storage::{Snapshot, StorageError, Store};

use super::layout::{Entry, Part, owner};
use super::stack::{Stack, Turn};
use super::walk::{Key, key};
use crate::links::links;

/// Leaves that are remembered so as not to be released twice; releasing twice is harmless.
const MAX_LEAVES: usize = 1 << 16;

/// Gives out the blocks that one number may hold.
#[derive(Debug)]
pub(super) struct Unwind<'a> {
    store: &'a Store,
    snapshot: Snapshot,
    number: u64,
    mode: PinMode,
    stack: Stack,
    /// Blocks given out since the snapshot.
    recent: HashSet<Key>,
}

impl<'a> Unwind<'a> {
    pub(super) fn new(store: &'a Store, number: u64, entry: Entry) -> Self {
        // What was pinned fitted into the stack of its walk, whose order is the same.
        let mut stack = Stack::new(usize::MAX);
        let _ = stack.push(&entry.cid, Turn::Enter);
        Self {
            store,
            snapshot: store.snapshot(),
            number,
            mode: entry.mode,
            stack,
            recent: HashSet::new(),
        }
    }

    /// Says that all that was given out so far has been released on the disk.
    pub(super) fn written(&mut self) {
        self.snapshot = self.store.snapshot();
        self.recent.clear();
    }

    /// The next block to release; `None` at the end.
    pub(super) fn next(&mut self) -> Result<Option<(Cid, Part)>, StorageError> {
        while let Some((cid, turn)) = self.stack.pop() {
            let inlined = cid.hash().code() == IDENTITY;
            if turn == Turn::Exit {
                if inlined {
                    continue;
                }
                self.recent.insert(key(&cid));
                return Ok(Some((cid, Part::Node)));
            }
            if self.recent.contains(&key(&cid)) {
                continue;
            }
            if let Some(below) = self.below(&cid, inlined)? {
                // The stack is not bounded.
                let _ = self.stack.push(&cid, Turn::Exit);
                for link in below.iter().rev() {
                    let _ = self.stack.push(link, Turn::Enter);
                }
            } else if !inlined {
                if self.recent.len() < MAX_LEAVES {
                    self.recent.insert(key(&cid));
                }
                return Ok(Some((cid, Part::Leaf)));
            }
        }
        Ok(None)
    }

    /// What has to be released before a node; `None` for what is not held as one, or not any more.
    fn below(&self, cid: &Cid, inlined: bool) -> Result<Option<Vec<Cid>>, StorageError> {
        if self.mode == PinMode::Direct || cid.codec() == RAW {
            return Ok(None);
        }
        let bytes = if inlined {
            Some(Bytes::copy_from_slice(cid.hash().digest()))
        } else {
            let owner = owner(self.number, Part::Node);
            if !self.snapshot.is_held_by(cid.hash(), owner)? {
                return Ok(None);
            }
            self.store.block(cid.hash())?
        };
        // A node that is damaged since has to be released nevertheless.
        let below = bytes.and_then(|bytes| links(cid.codec(), &bytes).ok());
        Ok(Some(below.unwrap_or_default()))
    }
}
