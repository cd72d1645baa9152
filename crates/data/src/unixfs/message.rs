//! The message in the data field of a DAG-PB node that makes it UnixFS.

use bytes::Bytes;

use crate::dag_pb::protobuf::{Field, Fields, WireError, put_bytes, put_varint, varint};

/// What a node is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Type {
    Raw,
    Directory,
    File,
    Metadata,
    Symlink,
    Shard,
}

impl Type {
    pub(super) const fn name(self) -> &'static str {
        match self {
            Self::Raw | Self::File => "a file",
            Self::Directory | Self::Shard => "a directory",
            Self::Metadata => "metadata",
            Self::Symlink => "a symbolic link",
        }
    }
}

/// The message.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Message {
    pub(super) kind: Type,
    pub(super) data: Option<Bytes>,
    pub(super) file_size: Option<u64>,
    pub(super) block_sizes: Vec<u64>,
    pub(super) hash_type: Option<u64>,
    pub(super) fanout: Option<u64>,
}

/// Why the data of a node is not UnixFS.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum MessageError {
    /// The node has no data.
    #[error("not UnixFS: the node has no data")]
    NoData,
    /// Not even a protobuf message.
    #[error("not UnixFS: {0}")]
    Wire(#[from] WireError),
    /// A field of another type.
    #[error("not UnixFS: field {0} has another type")]
    Field(u32),
    /// The type is missing or unknown.
    #[error("not UnixFS: type 0 to 5 expected, found {0:?}")]
    Type(Option<u64>),
    /// Sizes and links do not match in number.
    #[error("not UnixFS: {sizes} block sizes for {links} links")]
    Sizes {
        /// How many sizes there are.
        sizes: usize,
        /// How many links there are.
        links: usize,
    },
}

impl Message {
    /// A message with nothing but a type.
    pub(super) const fn of(kind: Type) -> Self {
        Self {
            kind,
            data: None,
            file_size: None,
            block_sizes: Vec::new(),
            hash_type: None,
            fanout: None,
        }
    }

    pub(super) fn encode(&self) -> Vec<u8> {
        let mut out = Vec::with_capacity(16 + self.data.as_ref().map_or(0, Bytes::len));
        let kind = match self.kind {
            Type::Raw => 0,
            Type::Directory => 1,
            Type::File => 2,
            Type::Metadata => 3,
            Type::Symlink => 4,
            Type::Shard => 5,
        };
        put_varint(1, kind, &mut out);
        if let Some(data) = &self.data {
            put_bytes(2, data, &mut out);
        }
        if let Some(size) = self.file_size {
            put_varint(3, size, &mut out);
        }
        for &size in &self.block_sizes {
            put_varint(4, size, &mut out);
        }
        if let Some(hash_type) = self.hash_type {
            put_varint(5, hash_type, &mut out);
        }
        if let Some(fanout) = self.fanout {
            put_varint(6, fanout, &mut out);
        }
        out
    }

    pub(super) fn decode(input: &Bytes) -> Result<Self, MessageError> {
        let mut kind = None;
        let mut data = None;
        let mut file_size = None;
        let mut block_sizes = Vec::new();
        let mut hash_type = None;
        let mut fanout = None;
        let mut fields = Fields::new(input);
        while let Some((number, field)) = fields.next()? {
            match (number, field) {
                (1, Field::Varint(value)) => kind = Some(value),
                (2, Field::Bytes(start, bytes)) => {
                    data = Some(input.slice(start..start + bytes.len()));
                }
                (3, Field::Varint(value)) => file_size = Some(value),
                (4, Field::Varint(value)) => block_sizes.push(value),
                (4, Field::Bytes(_, packed)) => {
                    let mut at = 0;
                    while at < packed.len() {
                        block_sizes.push(varint(packed, &mut at)?);
                    }
                }
                (5, Field::Varint(value)) => hash_type = Some(value),
                (6, Field::Varint(value)) => fanout = Some(value),
                (1..=6, _) => return Err(MessageError::Field(number)),
                // Mode and modification time: nothing we need.
                _ => {}
            }
        }
        let kind = match kind {
            Some(0) => Type::Raw,
            Some(1) => Type::Directory,
            Some(2) => Type::File,
            Some(3) => Type::Metadata,
            Some(4) => Type::Symlink,
            Some(5) => Type::Shard,
            other => return Err(MessageError::Type(other)),
        };
        Ok(Self {
            kind,
            data,
            file_size,
            block_sizes,
            hash_type,
            fanout,
        })
    }
}
