//! Frames: the messages of a session, in Protocol Buffers, as `proto/sync.proto` has them.

use bytes::Bytes;
use prost::Message;
use prost::encoding::decode_varint;

use crate::clock::MAX_WRITERS;

/// Most bytes of one frame.
pub const MAX_FRAME_BYTES: usize = 4 << 20;
/// Version of the protocol.
pub(super) const VERSION: u32 = 1;
/// Most operations in one frame.
pub(super) const MAX_OPERATIONS: usize = 512;
/// Most fields of a frame and its body.
const MAX_ENTRIES: usize = 2 * MAX_WRITERS;
/// Most places that are asked for at once when looking for a fork.
pub(super) const MAX_PROBES: usize = 64;
/// Most bytes of a snapshot in one frame.
pub(super) const PART_BYTES: usize = 512 << 10;

/// One message.
#[derive(Clone, PartialEq, Message)]
pub struct Frame {
    /// What it says.
    #[prost(oneof = "Body", tags = "1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11")]
    pub body: Option<Body>,
}

/// What a frame says.
#[derive(Clone, PartialEq, prost::Oneof)]
pub enum Body {
    /// The first frame, from whoever opened the session.
    #[prost(message, tag = "1")]
    Hello(Hello),
    /// Says that both have the same: answers the first frame, or what the other has taken in.
    #[prost(message, tag = "2")]
    Same(Same),
    /// How far each writer has come; replaces what was said before.
    #[prost(message, tag = "3")]
    Heads(Heads),
    /// Operations, each after what it builds on.
    #[prost(message, tag = "4")]
    Operations(Operations),
    /// The answer to operations and proofs, once they are durable.
    #[prost(message, tag = "5")]
    Taken(TakenFrame),
    /// Proofs against writers that contradicted themselves.
    #[prost(message, tag = "6")]
    Proofs(Proofs),
    /// Asks for the names of operations, to find a fork.
    #[prost(message, tag = "7")]
    Probe(Probe),
    /// The names.
    #[prost(message, tag = "8")]
    Probed(Probed),
    /// Asks for one operation.
    #[prost(message, tag = "9")]
    Want(Want),
    /// A part of a snapshot.
    #[prost(message, tag = "10")]
    SnapshotPart(SnapshotPart),
    /// The end, and why.
    #[prost(message, tag = "11")]
    Refusal(Refusal),
}

/// See [`Body::Hello`].
#[derive(Clone, PartialEq, Message)]
pub struct Hello {
    /// Version of the protocol.
    #[prost(uint32, tag = "1")]
    pub version: u32,
    /// DID of the repository.
    #[prost(string, tag = "2")]
    pub repo: String,
    /// Fingerprint of the log, 16 bytes; empty for a device that has none yet and needs a snapshot.
    #[prost(bytes = "bytes", tag = "3")]
    pub log: Bytes,
    /// The first 8 bytes of the record tree's root.
    #[prost(bytes = "bytes", tag = "4")]
    pub records: Bytes,
}

/// See [`Body::Same`].
#[derive(Clone, PartialEq, Message)]
pub struct Same {
    /// Fingerprint of the log that both have.
    #[prost(bytes = "bytes", tag = "1")]
    pub log: Bytes,
    /// The first 8 bytes of the root of the record tree that both have.
    #[prost(bytes = "bytes", tag = "2")]
    pub records: Bytes,
}

/// How far one writer has come.
#[derive(Clone, PartialEq, Message)]
pub struct HeadFrame {
    /// Its number.
    #[prost(uint32, tag = "1")]
    pub writer: u32,
    /// Number of its last operation.
    #[prost(uint64, tag = "2")]
    pub seq: u64,
    /// Name of its last operation, 32 bytes; empty before the first.
    #[prost(bytes = "bytes", tag = "3")]
    pub id: Bytes,
    /// The number that it signed twice; 0 for none.
    #[prost(uint64, tag = "4")]
    pub fork: u64,
}

/// See [`Body::Heads`].
#[derive(Clone, PartialEq, Message)]
pub struct Heads {
    /// By writer.
    #[prost(message, repeated, tag = "1")]
    pub heads: Vec<HeadFrame>,
}

/// An operation and its record.
#[derive(Clone, PartialEq, Message)]
pub struct OperationFrame {
    /// The operation's block.
    #[prost(bytes = "bytes", tag = "1")]
    pub block: Bytes,
    /// The record's block; empty if the operation has none.
    #[prost(bytes = "bytes", tag = "2")]
    pub value: Bytes,
}

/// See [`Body::Operations`].
#[derive(Clone, PartialEq, Message)]
pub struct Operations {
    /// In an order in which they can be taken in.
    #[prost(message, repeated, tag = "1")]
    pub operations: Vec<OperationFrame>,
}

/// See [`Body::Taken`].
#[derive(Clone, PartialEq, Message)]
pub struct TakenFrame {
    /// Fingerprint of the log now.
    #[prost(bytes = "bytes", tag = "1")]
    pub log: Bytes,
    /// The first 8 bytes of the record tree's root now.
    #[prost(bytes = "bytes", tag = "2")]
    pub records: Bytes,
    /// Why some were refused, a sentence each; at most 8.
    #[prost(string, repeated, tag = "3")]
    pub refused: Vec<String>,
}

/// Two operations of one writer with one number.
#[derive(Clone, PartialEq, Message)]
pub struct ProofFrame {
    /// Block of the one with the smaller name.
    #[prost(bytes = "bytes", tag = "1")]
    pub one: Bytes,
    /// Block of the other.
    #[prost(bytes = "bytes", tag = "2")]
    pub other: Bytes,
}

/// See [`Body::Proofs`].
#[derive(Clone, PartialEq, Message)]
pub struct Proofs {
    /// At most one for each writer.
    #[prost(message, repeated, tag = "1")]
    pub proofs: Vec<ProofFrame>,
}

/// See [`Body::Probe`].
#[derive(Clone, PartialEq, Message)]
pub struct Probe {
    /// Whose.
    #[prost(uint32, tag = "1")]
    pub writer: u32,
    /// Numbers, rising; at most 64.
    #[prost(uint64, repeated, tag = "2")]
    pub seqs: Vec<u64>,
}

/// See [`Body::Probed`].
#[derive(Clone, PartialEq, Message)]
pub struct Probed {
    /// Whose.
    #[prost(uint32, tag = "1")]
    pub writer: u32,
    /// The numbers that were asked for and are there.
    #[prost(uint64, repeated, tag = "2")]
    pub seqs: Vec<u64>,
    /// Their names, 32 bytes each.
    #[prost(bytes = "bytes", repeated, tag = "3")]
    pub ids: Vec<Bytes>,
}

/// See [`Body::Want`].
#[derive(Clone, PartialEq, Message)]
pub struct Want {
    /// Whose.
    #[prost(uint32, tag = "1")]
    pub writer: u32,
    /// Which.
    #[prost(uint64, tag = "2")]
    pub seq: u64,
}

/// See [`Body::SnapshotPart`].
#[derive(Clone, PartialEq, Message)]
pub struct SnapshotPart {
    /// The next bytes of the archive.
    #[prost(bytes = "bytes", tag = "1")]
    pub bytes: Bytes,
    /// Bytes of the whole archive.
    #[prost(uint64, tag = "2")]
    pub total: u64,
}

/// See [`Body::Refusal`].
#[derive(Clone, PartialEq, Message)]
pub struct Refusal {
    /// A sentence.
    #[prost(string, tag = "1")]
    pub reason: String,
}

/// Why bytes are not a frame.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum FrameError {
    /// Larger than any frame.
    #[error("a frame has at most {MAX_FRAME_BYTES} bytes, found {0}")]
    TooLarge(usize),
    /// Not one of the messages, or with more in it than allowed.
    #[error("not a frame of the sync protocol: {0}")]
    Malformed(String),
}

impl Frame {
    /// Reads a frame, and checks how much it carries.
    pub fn read(bytes: Bytes) -> Result<Body, FrameError> {
        if bytes.len() > MAX_FRAME_BYTES {
            return Err(FrameError::TooLarge(bytes.len()));
        }
        if entries(&bytes).is_none() {
            return Err(FrameError::Malformed("it carries too much".to_owned()));
        }
        let frame = Self::decode(bytes).map_err(|e| FrameError::Malformed(e.to_string()))?;
        let body = frame
            .body
            .ok_or_else(|| FrameError::Malformed("it says nothing".to_owned()))?;
        let too_many = match &body {
            Body::Heads(heads) => heads.heads.len() > MAX_WRITERS,
            Body::Operations(o) => o.operations.len() > MAX_OPERATIONS,
            Body::Proofs(proofs) => proofs.proofs.len() > MAX_WRITERS,
            Body::Probe(probe) => probe.seqs.len() > MAX_PROBES,
            Body::Probed(p) => p.seqs.len() > MAX_PROBES || p.ids.len() != p.seqs.len(),
            Body::Taken(taken) => taken.refused.len() > 8,
            _ => false,
        };
        if too_many {
            return Err(FrameError::Malformed("it carries too much".to_owned()));
        }
        Ok(body)
    }
}

/// Counts the fields of a frame and of its body before anything is made of them: an empty entry takes two bytes on the
/// way and many more in memory. `None` for too many, or what is no message.
pub(super) fn entries(mut frame: &[u8]) -> Option<usize> {
    let mut count = 0;
    while !frame.is_empty() {
        let mut body = field(&mut frame)?.unwrap_or_default();
        count += 1;
        while !body.is_empty() && count <= MAX_ENTRIES {
            field(&mut body)?;
            count += 1;
        }
        if count > MAX_ENTRIES {
            return None;
        }
    }
    Some(count)
}

/// Takes a field off a message; answers its bytes if it is one with a length.
fn field<'a>(message: &mut &'a [u8]) -> Option<Option<&'a [u8]>> {
    let key = decode_varint(message).ok()?;
    let len = match key & 7 {
        0 => {
            decode_varint(message).ok()?;
            return Some(None);
        }
        1 => 8,
        2 => usize::try_from(decode_varint(message).ok()?).ok()?,
        5 => 4,
        _ => return None,
    };
    let (bytes, rest) = message.split_at_checked(len)?;
    *message = rest;
    Some((key & 7 == 2).then_some(bytes))
}

impl Body {
    /// The frame's bytes.
    pub fn write(self) -> Bytes {
        Frame { body: Some(self) }.encode_to_vec().into()
    }
}
