//! Bitswap messages: what they say, and their bytes.

use bytes::Bytes;
use prost::Message as _;
use ues_data::content_id::{
    CidBytesError, DAG_PB, IDENTITY, SHA2_256, cid_from_bytes, sha256_multihash,
};
use ues_data::{Cid, HashAlgorithm, Multihash, varint};

use proto::message::wantlist::{Entry, WantType};
use proto::message::{BlockPresence, BlockPresenceType, Wantlist};

#[allow(
    missing_docs,
    clippy::all,
    clippy::pedantic,
    reason = "made from the .proto file"
)]
mod proto {
    include!(concat!(env!("OUT_DIR"), "/ues.bitswap.rs"));
}

/// The longest message in bytes, without its length.
pub const MAX_MESSAGE: usize = 4 << 20;
/// The longest block in bytes.
pub const MAX_BLOCK: usize = 2 << 20;
/// Wants, presences and blocks in one message, each.
pub const MAX_ITEMS: usize = 16_384;

/// What is asked about a block.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum WantKind {
    /// The block itself.
    Block,
    /// Whether the other side has it.
    Have,
}

/// One line of a wantlist.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Want {
    /// What it is about.
    pub cid: Cid,
    /// What is asked.
    pub kind: WantKind,
    /// The higher, the sooner.
    pub priority: i32,
    /// No longer wanted.
    pub cancel: bool,
    /// Whether to answer if the block is not there.
    pub send_dont_have: bool,
}

impl Want {
    /// A question that is to be answered in any case.
    #[must_use]
    pub fn new(cid: Cid, kind: WantKind, priority: i32) -> Self {
        Self {
            cid,
            kind,
            priority,
            cancel: false,
            send_dont_have: true,
        }
    }

    /// Takes a want back.
    #[must_use]
    pub fn cancel(cid: Cid) -> Self {
        Self {
            cancel: true,
            send_dont_have: false,
            ..Self::new(cid, WantKind::Block, 0)
        }
    }
}

/// Whether the sender has a block.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Presence {
    /// The block.
    pub cid: Cid,
    /// Whether it is there.
    pub have: bool,
}

/// A message as it is meant.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Message {
    /// What the sender wants.
    pub wants: Vec<Want>,
    /// Whether `wants` takes the place of all wants before.
    pub full: bool,
    /// Blocks and their names. Of a decoded message, the names were computed from the bytes.
    pub blocks: Vec<(Cid, Bytes)>,
    /// What the sender has and has not.
    pub presences: Vec<Presence>,
    /// Bytes of blocks that the sender is still to send.
    pub pending_bytes: i32,
}

/// Why bytes are no message.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum MessageError {
    /// It is too long.
    #[error("a message of at most {MAX_MESSAGE} bytes expected, found {0}")]
    TooLong(usize),
    /// It holds too many things.
    #[error("at most {MAX_ITEMS} {0} in a message expected, found more")]
    TooMany(&'static str),
    /// It is no protobuf of this kind.
    #[error("a Bitswap message expected: {0}")]
    Protobuf(String),
    /// It names no CID where there should be one.
    #[error("a CID expected in a Bitswap message: {0}")]
    Cid(#[from] CidBytesError),
    /// A block's prefix is none.
    #[error("a CID prefix expected before a block, found {0}")]
    Prefix(String),
    /// A block's hash function is not supported or its digest is cut short.
    #[error("multihash code 0x{code:x} with a digest of {size} bytes is not supported")]
    Hash {
        /// The function.
        code: u64,
        /// The length of the digest.
        size: u64,
    },
    /// A block is too long.
    #[error("a block of at most {MAX_BLOCK} bytes expected, found {0}")]
    BlockTooLong(usize),
}

impl Message {
    /// Whether it says nothing.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.wants.is_empty() && !self.full && self.blocks.is_empty() && self.presences.is_empty()
    }

    /// The message as it is understood before Bitswap 1.2.0, where there were only blocks and wants for them.
    #[must_use]
    pub fn without_presences(mut self) -> Self {
        self.wants
            .retain(|want| want.cancel || want.kind == WantKind::Block);
        self.presences.clear();
        self
    }

    /// The bytes for a stream: the length, then the message.
    #[must_use]
    pub fn encode(&self) -> Vec<u8> {
        let message = proto::Message {
            wantlist: (self.full || !self.wants.is_empty()).then(|| Wantlist {
                entries: self.wants.iter().map(entry).collect(),
                full: self.full,
            }),
            blocks: Vec::new(),
            payload: self
                .blocks
                .iter()
                .map(|(cid, data)| proto::message::Block {
                    prefix: prefix(cid),
                    data: data.clone(),
                })
                .collect(),
            block_presences: self.presences.iter().map(presence).collect(),
            pending_bytes: self.pending_bytes,
        };
        message.encode_length_delimited_to_vec()
    }

    /// Reads a message without its length. The name of every block is computed from its bytes.
    ///
    /// # Errors
    /// The bytes are no message, or more than the limits allow.
    pub fn decode(bytes: Bytes) -> Result<Self, MessageError> {
        let length = bytes.len();
        if length > MAX_MESSAGE {
            return Err(MessageError::TooLong(length));
        }
        check_counts(&bytes)?;
        let message =
            proto::Message::decode(bytes).map_err(|e| MessageError::Protobuf(e.to_string()))?;
        let wantlist = message.wantlist.unwrap_or_default();
        let named = message.payload.into_iter().map(|block| {
            Ok((
                cid_under(&block.prefix, &block.data)?,
                own(block.data, length)?,
            ))
        });
        let unnamed = message.blocks.into_iter().map(|data| {
            let cid = Cid::new_v0(sha256_multihash(&data))
                .map_err(|e| MessageError::Prefix(e.to_string()))?;
            Ok((cid, own(data, length)?))
        });
        Ok(Self {
            wants: wantlist
                .entries
                .iter()
                .map(want)
                .collect::<Result<_, _>>()?,
            full: wantlist.full,
            blocks: named.chain(unnamed).collect::<Result<_, MessageError>>()?,
            presences: message
                .block_presences
                .iter()
                .map(|p| {
                    Ok(Presence {
                        cid: cid_from_bytes(&p.cid)?,
                        have: p.r#type() == BlockPresenceType::Have,
                    })
                })
                .collect::<Result<_, MessageError>>()?,
            pending_bytes: message.pending_bytes,
        })
    }
}

/// A block's bytes, apart from the message unless they are most of it, so that no small block keeps a large message.
fn own(data: Bytes, message: usize) -> Result<Bytes, MessageError> {
    if data.len() > MAX_BLOCK {
        return Err(MessageError::BlockTooLong(data.len()));
    }
    if data.len() < message / 2 {
        return Ok(Bytes::copy_from_slice(&data));
    }
    Ok(data)
}

fn entry(want: &Want) -> Entry {
    Entry {
        block: want.cid.to_bytes().into(),
        priority: want.priority,
        cancel: want.cancel,
        want_type: match want.kind {
            WantKind::Block => WantType::Block,
            WantKind::Have => WantType::Have,
        }
        .into(),
        send_dont_have: want.send_dont_have,
    }
}

fn want(entry: &Entry) -> Result<Want, MessageError> {
    Ok(Want {
        cid: cid_from_bytes(&entry.block)?,
        kind: match entry.want_type() {
            WantType::Block => WantKind::Block,
            WantType::Have => WantKind::Have,
        },
        priority: entry.priority,
        cancel: entry.cancel,
        send_dont_have: entry.send_dont_have,
    })
}

fn presence(presence: &Presence) -> BlockPresence {
    BlockPresence {
        cid: presence.cid.to_bytes().into(),
        r#type: if presence.have {
            BlockPresenceType::Have
        } else {
            BlockPresenceType::DontHave
        }
        .into(),
    }
}

fn prefix(cid: &Cid) -> Bytes {
    let mut prefix = Vec::with_capacity(8);
    varint::write(cid.version().into(), &mut prefix);
    varint::write(cid.codec(), &mut prefix);
    varint::write(cid.hash().code(), &mut prefix);
    varint::write(cid.hash().size().into(), &mut prefix);
    prefix.into()
}

/// The CID of `data` that begins with `prefix`.
fn cid_under(prefix: &[u8], data: &[u8]) -> Result<Cid, MessageError> {
    let mut rest = prefix;
    let mut numbers = [0_u64; 4];
    for number in &mut numbers {
        let (value, used) = varint::read(rest).map_err(|e| MessageError::Prefix(e.to_string()))?;
        *number = value;
        rest = rest.get(used..).unwrap_or_default();
    }
    if !rest.is_empty() {
        return Err(MessageError::Prefix(format!("{} bytes more", rest.len())));
    }
    let [version, codec, code, size] = numbers;
    let unsupported = MessageError::Hash { code, size };
    let hash: Multihash = match HashAlgorithm::from_code(code) {
        Some(algorithm) => algorithm.multihash(data),
        None if code == IDENTITY => {
            Multihash::wrap(IDENTITY, data).map_err(|_| unsupported.clone())?
        }
        None => return Err(unsupported),
    };
    if u64::from(hash.size()) != size {
        return Err(unsupported);
    }
    match version {
        0 if codec == DAG_PB && code == SHA2_256 => {
            Cid::new_v0(hash).map_err(|e| MessageError::Prefix(e.to_string()))
        }
        1 => Ok(Cid::new_v1(codec, hash)),
        other => Err(MessageError::Prefix(format!("version {other}"))),
    }
}

// A want takes two bytes at least, and much more once it is decoded. So they are counted before.
fn check_counts(message: &[u8]) -> Result<(), MessageError> {
    let [mut wants, mut blocks, mut presences] = [0_usize; 3];
    each_field(message, |field, content| {
        match field {
            1 => each_field(content, |field, _| {
                wants += usize::from(field == 1);
                Ok(())
            })?,
            2 | 3 => blocks += 1,
            4 => presences += 1,
            _ => {}
        }
        Ok(())
    })?;
    for (count, what) in [
        (wants, "wants"),
        (blocks, "blocks"),
        (presences, "presences"),
    ] {
        if count > MAX_ITEMS {
            return Err(MessageError::TooMany(what));
        }
    }
    Ok(())
}

/// Walks the fields of a protobuf message, with the content of those that have a length.
fn each_field(
    mut message: &[u8],
    mut see: impl FnMut(u64, &[u8]) -> Result<(), MessageError>,
) -> Result<(), MessageError> {
    let cut = || MessageError::Protobuf("it ends inside a field".into());
    while !message.is_empty() {
        let key = prost::encoding::decode_varint(&mut message).map_err(|_| cut())?;
        let length = match key & 7 {
            0 => {
                prost::encoding::decode_varint(&mut message).map_err(|_| cut())?;
                0
            }
            1 => 8,
            2 => prost::encoding::decode_varint(&mut message).map_err(|_| cut())?,
            5 => 4,
            other => {
                let reason = format!("wire type {other} is not used");
                return Err(MessageError::Protobuf(reason));
            }
        };
        let (content, rest) = usize::try_from(length)
            .ok()
            .and_then(|length| message.split_at_checked(length))
            .ok_or_else(cut)?;
        see(key >> 3, content)?;
        message = rest;
    }
    Ok(())
}

#[cfg(test)]
#[path = "message_tests.rs"]
mod tests;
