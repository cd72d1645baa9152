//! Building directories.

use std::collections::BTreeMap;

use bytes::Bytes;

use super::message::{Message, Type};
use super::{ImportError, ImportOptions, Imported, shard};
use crate::dag_pb::{self, Link, Node};
use crate::source::BlockSink;

/// A directory whose names and CIDs have more than this many bytes is divided over several blocks, as Kubo does by
/// default.
const MAX_ESTIMATE: usize = 256 << 10;

/// Collects the entries of a directory.
#[derive(Debug)]
pub struct DirectoryBuilder {
    options: ImportOptions,
    entries: BTreeMap<String, Imported>,
    estimate: usize,
}

impl DirectoryBuilder {
    /// An empty directory.
    #[must_use]
    pub const fn new(options: ImportOptions) -> Self {
        Self {
            options,
            entries: BTreeMap::new(),
            estimate: 0,
        }
    }

    /// Adds an entry.
    pub fn add(&mut self, name: &str, entry: Imported) -> Result<(), ImportError> {
        if name.is_empty() || name.contains(['/', '\0']) || name == "." || name == ".." {
            return Err(ImportError::Name(name.chars().take(64).collect()));
        }
        if self.entries.insert(name.to_owned(), entry).is_some() {
            return Err(ImportError::Duplicate(name.to_owned()));
        }
        self.estimate += name.len() + entry.cid.encoded_len();
        Ok(())
    }

    /// Makes the block of the directory, or its blocks if it is large.
    pub fn finish(self, sink: &mut impl BlockSink) -> Result<Imported, ImportError> {
        if self.estimate > MAX_ESTIMATE {
            return shard::build(self.entries, &self.options, sink);
        }
        let message = Message::of(Type::Directory);
        let below: u64 = self.entries.values().map(|e| e.total_size).sum();
        let links = self.entries.into_iter().map(|(name, entry)| Link {
            cid: entry.cid,
            name: Some(name),
            size: Some(entry.total_size),
        });
        let node = Node {
            links: links.collect(),
            data: Some(Bytes::from(message.encode())),
        };
        let bytes = dag_pb::encode(&node);
        let total_size = below + bytes.len() as u64;
        let cid = self.options.put_node(bytes, sink)?;
        Ok(Imported { cid, total_size })
    }
}
