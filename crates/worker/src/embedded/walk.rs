//! The walk that a pin makes over its DAG.
//!
//! Parents come before their children. A block with links is written again together with the reference to it, so that
//! it cannot be missing once that is on the disk: what was reached through it can be found again through it.

use std::collections::HashSet;

use bytes::Bytes;
use ues_data::Cid;
use ues_data::content_id::{IDENTITY, RAW};
use ues_pins::PinMode;
use ues_storage::{Snapshot, Store};

use super::layout::{Part, owner};
use super::options::EmbeddedOptions;
use super::stack::{Full, Stack, Turn};
use crate::backend::JobError;
use crate::links::links;

/// A block in few bytes: the beginning of its digest, and the codec under which it was reached.
pub(super) type Key = ([u8; 16], u64);

pub(super) fn key(cid: &Cid) -> Key {
    let mut prefix = [0; 16];
    for (to, from) in prefix.iter_mut().zip(cid.hash().digest()) {
        *to = *from;
    }
    (prefix, cid.codec())
}

/// A block of the DAG.
#[derive(Debug)]
pub(super) enum Found {
    /// One whose links are followed.
    Node(Cid, Bytes),
    /// One without links, or whose links do not matter, and its length.
    Leaf(Cid, usize),
}

/// A walk over stored blocks.
#[derive(Debug)]
pub(super) struct Walk<'a> {
    store: &'a Store,
    mode: PinMode,
    stack: Stack,
    seen: HashSet<Key>,
    max_seen: usize,
    /// Once too many blocks were seen: the pin whose references tell where the walk has been, as of the last write.
    held: Option<(u64, Snapshot)>,
    /// Blocks with links since the last write, when the references are asked.
    recent: HashSet<Key>,
}

impl<'a> Walk<'a> {
    pub(super) fn new(
        store: &'a Store,
        options: &EmbeddedOptions,
        root: &Cid,
        mode: PinMode,
    ) -> Result<Self, JobError> {
        let mut stack = Stack::new(options.max_walk_bytes);
        stack.push(root, Turn::Enter).map_err(too_wide)?;
        Ok(Self {
            store,
            mode,
            stack,
            seen: HashSet::new(),
            max_seen: options.max_remembered,
            held: None,
            recent: HashSet::new(),
        })
    }

    /// Says that all that was found so far is on the disk, referenced by the pin of this number.
    pub(super) fn written(&mut self, number: u64) {
        self.recent.clear();
        self.held = Some((number, self.store.snapshot()));
    }

    /// The next block that was not seen before; `None` at the end.
    pub(super) fn next(&mut self) -> Result<Option<Found>, JobError> {
        while let Some((cid, turn)) = self.stack.pop() {
            if turn == Turn::Enter
                && !self.is_seen(&cid)?
                && let Some(found) = self.enter(&cid)?
            {
                return Ok(Some(found));
            }
        }
        Ok(None)
    }

    fn enter(&mut self, cid: &Cid) -> Result<Option<Found>, JobError> {
        let inlined = cid.hash().code() == IDENTITY;
        let bytes = if inlined {
            Bytes::copy_from_slice(cid.hash().digest())
        } else {
            let read = self.store.block(cid.hash()).map_err(store_failed)?;
            read.ok_or_else(|| missing(cid))?
        };
        let below = match self.mode {
            PinMode::Direct => Vec::new(),
            PinMode::Recursive => links(cid.codec(), &bytes)
                .map_err(|e| JobError::Terminal(format!("block {cid} cannot be followed: {e}")))?,
        };
        if !below.is_empty() {
            // A release walks in the same order and has to know when it is through with a block: with the same
            // entries here, what can be pinned can be released.
            self.stack.push(cid, Turn::Exit).map_err(too_wide)?;
            for link in below.iter().rev() {
                self.stack.push(link, Turn::Enter).map_err(too_wide)?;
            }
        }
        if inlined {
            return Ok(None);
        }
        if self.seen.len() < self.max_seen {
            self.seen.insert(key(cid));
        } else if !below.is_empty() {
            self.recent.insert(key(cid));
        }
        Ok(Some(if below.is_empty() {
            Found::Leaf(*cid, bytes.len())
        } else {
            Found::Node(*cid, bytes)
        }))
    }

    fn is_seen(&self, cid: &Cid) -> Result<bool, JobError> {
        let key = key(cid);
        if self.seen.contains(&key) || self.recent.contains(&key) {
            return Ok(true);
        }
        match &self.held {
            // What was never remembered may be a node that is held; a leaf that comes again is referenced again.
            Some((number, snapshot)) if self.seen.len() >= self.max_seen && cid.codec() != RAW => {
                let held = snapshot.is_held_by(cid.hash(), owner(*number, Part::Node));
                held.map_err(store_failed)
            }
            _ => Ok(false),
        }
    }
}

impl Found {
    pub(super) const fn cid(&self) -> &Cid {
        match self {
            Self::Node(cid, _) | Self::Leaf(cid, _) => cid,
        }
    }

    pub(super) const fn part(&self) -> Part {
        match self {
            Self::Node(..) => Part::Node,
            Self::Leaf(..) => Part::Leaf,
        }
    }
}

pub(super) fn missing(cid: &Cid) -> JobError {
    JobError::Retry(format!("block {cid} is not here yet"))
}

pub(super) fn store_failed(error: impl std::fmt::Display) -> JobError {
    JobError::Retry(format!("the store does not answer: {error}"))
}

pub(super) fn too_wide(_: Full) -> JobError {
    JobError::Terminal("the DAG has too many links to be walked".to_owned())
}
