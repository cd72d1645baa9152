//! Building the tree of a file while its bytes come in.

use bytes::{Bytes, BytesMut};

use super::message::{Message, Type};
use super::{ImportError, ImportOptions, Imported};
use crate::dag_pb::{self, Link, Node};
use crate::source::BlockSink;

/// Takes the bytes of a file and makes its blocks as soon as they are complete.
///
/// Holds one chunk and, for each level of the tree, the links of one node.
#[derive(Debug)]
pub struct FileBuilder {
    options: ImportOptions,
    chunk: BytesMut,
    /// What waits for its parent, leaves first.
    levels: Vec<Vec<Child>>,
}

#[derive(Debug, Clone, Copy)]
struct Child {
    made: Imported,
    file_size: u64,
}

impl FileBuilder {
    /// An empty file.
    pub fn new(options: ImportOptions) -> Result<Self, ImportError> {
        options.check()?;
        Ok(Self {
            options,
            chunk: BytesMut::new(),
            levels: Vec::new(),
        })
    }

    /// Appends bytes to the file.
    pub fn write(
        &mut self,
        mut bytes: &[u8],
        sink: &mut impl BlockSink,
    ) -> Result<(), ImportError> {
        while !bytes.is_empty() {
            let room = self.options.chunk_size - self.chunk.len();
            let (now, later) = bytes.split_at(room.min(bytes.len()));
            self.chunk.extend_from_slice(now);
            bytes = later;
            if self.chunk.len() == self.options.chunk_size {
                self.leaf(sink)?;
            }
        }
        Ok(())
    }

    /// Ends the file.
    pub fn finish(mut self, sink: &mut impl BlockSink) -> Result<Imported, ImportError> {
        if !self.chunk.is_empty() || self.levels.is_empty() {
            self.leaf(sink)?;
        }
        let mut level = 0;
        loop {
            let top = level + 1 >= self.levels.len();
            match self.levels.get(level).map(Vec::as_slice) {
                Some([only]) if top => return Ok(only.made),
                Some([]) | None => {}
                Some(_) => self.close(level, sink)?,
            }
            level += 1;
        }
    }

    fn leaf(&mut self, sink: &mut impl BlockSink) -> Result<(), ImportError> {
        let chunk = self.chunk.split().freeze();
        let file_size = chunk.len() as u64;
        let made = if self.options.raw_leaves {
            self.options.put_raw(chunk, sink)?
        } else {
            let message = Message {
                data: (!chunk.is_empty()).then_some(chunk),
                file_size: Some(file_size),
                ..Message::of(Type::File)
            };
            let node = Node {
                links: Vec::new(),
                data: Some(Bytes::from(message.encode())),
            };
            let bytes = dag_pb::encode(&node);
            let total_size = bytes.len() as u64;
            let cid = self.options.put_node(bytes, sink)?;
            Imported { cid, total_size }
        };
        self.add(0, Child { made, file_size }, sink)
    }

    /// Adds a child to a level. A level that is full becomes a node of the level above.
    fn add(
        &mut self,
        mut level: usize,
        child: Child,
        sink: &mut impl BlockSink,
    ) -> Result<(), ImportError> {
        let mut child = Some(child);
        while let Some(next) = child.take() {
            if self.levels.len() <= level {
                self.levels.resize_with(level + 1, Vec::new);
            }
            if let Some(children) = self.levels.get_mut(level) {
                children.push(next);
                if children.len() >= self.options.max_links {
                    let children = std::mem::take(children);
                    child = Some(self.parent(&children, sink)?);
                    level += 1;
                }
            }
        }
        Ok(())
    }

    fn close(&mut self, level: usize, sink: &mut impl BlockSink) -> Result<(), ImportError> {
        let children = self.levels.get_mut(level).map(std::mem::take);
        let parent = self.parent(&children.unwrap_or_default(), sink)?;
        self.add(level + 1, parent, sink)
    }

    fn parent(&self, children: &[Child], sink: &mut impl BlockSink) -> Result<Child, ImportError> {
        let file_size = children.iter().map(|c| c.file_size).sum();
        let message = Message {
            file_size: Some(file_size),
            block_sizes: children.iter().map(|c| c.file_size).collect(),
            ..Message::of(Type::File)
        };
        let links = children.iter().map(|child| Link {
            cid: child.made.cid,
            name: Some(String::new()),
            size: Some(child.made.total_size),
        });
        let node = Node {
            links: links.collect(),
            data: Some(Bytes::from(message.encode())),
        };
        let bytes = dag_pb::encode(&node);
        let below: u64 = children.iter().map(|c| c.made.total_size).sum();
        let total_size = below + bytes.len() as u64;
        let cid = self.options.put_node(bytes, sink)?;
        Ok(Child {
            made: Imported { cid, total_size },
            file_size,
        })
    }
}
