//! The protobuf form of a pin, byte for byte what IPFS-Cluster 1.1.6 stores and exchanges: its
//! [`api/pb/types.proto`](https://github.com/ipfs-cluster/ipfs-cluster/blob/v1.1.6/api/pb/types.proto) and what
//! `Pin.ProtoMarshal` and `Pin.ProtoUnmarshal` make of it.
//!
//! Two things are read more strictly than there: a CID that is none and a type that does not exist are errors here,
//! where IPFS-Cluster would silently take them for absent. Fields that this program does not know are kept and
//! written back at the end of their message.

use std::collections::BTreeMap;

use multiaddr::Multiaddr;
use ues_data::Cid;
use ues_data::content_id::{CidBytesError, cid_from_bytes, write_cid};

use super::wire::{Field, Fields, Value, put_bytes, put_element, put_sint32, put_varint, sint32};
use super::{PeerId, PeerIdError, Pin, PinMode, PinOptions, PinType, WireError};

/// The longest protobuf of a pin that is read, in bytes.
pub const MAX_PIN_BYTES: usize = 1 << 20;

/// Why bytes are not the protobuf of a pin.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum ProtoError {
    /// Longer than [`MAX_PIN_BYTES`].
    #[error("a pin of at most {MAX_PIN_BYTES} bytes expected, found {0}")]
    TooLong(usize),
    /// Not protocol buffers.
    #[error("not a protobuf: {0}")]
    Wire(#[from] WireError),
    /// A CID is missing or malformed.
    #[error("the {field} of a pin is no CID: {source}")]
    Cid {
        /// The name of the field.
        field: &'static str,
        /// What is wrong with it.
        source: CidBytesError,
    },
    /// The pin has a type that does not exist.
    #[error("a pin type of 1 to 4 expected, found {0}")]
    Type(i32),
    /// An allocation is not a peer.
    #[error("an allocation of a pin is wrong: {0}")]
    Allocation(#[from] PeerIdError),
    /// An origin is not an address.
    #[error("an origin of a pin is no multiaddr: {0}")]
    Origin(String),
    /// A text is not UTF-8.
    #[error("the {0} of a pin is not UTF-8")]
    Utf8(&'static str),
    /// Seconds since the Unix epoch that do not fit in 63 bits.
    #[error("the {field} of a pin is not a time: {seconds} s")]
    Time {
        /// The name of the field.
        field: &'static str,
        /// Its value.
        seconds: u64,
    },
}

impl Pin {
    /// The protobuf of the pin. As in IPFS-Cluster it has neither the workers that the user asked for
    /// ([`PinOptions::user_allocations`]) nor the mode, which the depth tells.
    pub fn to_proto(&self) -> Vec<u8> {
        let mut out = Vec::with_capacity(128 + 40 * self.allocations.len());
        put_bytes(&mut out, 1, &cid_bytes(Some(&self.cid)));
        put_varint(&mut out, 2, type_number(self.kind));
        for peer in &self.allocations {
            put_element(&mut out, 3, peer.as_bytes());
        }
        put_sint32(&mut out, 4, self.max_depth);
        put_bytes(&mut out, 5, &cid_bytes(self.reference.as_ref()));
        put_element(&mut out, 6, &options_to_proto(&self.options));
        put_varint(&mut out, 7, self.timestamp);
        out.extend_from_slice(&self.unknown);
        out
    }

    /// Reads the protobuf of a pin.
    ///
    /// # Errors
    /// [`ProtoError`], when the bytes are too many, malformed, or say something impossible.
    pub fn from_proto(bytes: &[u8]) -> Result<Self, ProtoError> {
        if bytes.len() > MAX_PIN_BYTES {
            return Err(ProtoError::TooLong(bytes.len()));
        }
        let mut cid: &[u8] = &[];
        let mut reference: &[u8] = &[];
        let mut kind = 0;
        let mut options = OptionsReader::default();
        let (mut allocations, mut unknown) = (Vec::new(), Vec::new());
        let (mut max_depth, mut timestamp) = (0, 0);
        for field in Fields::new(bytes) {
            let Field { number, value, raw } = field?;
            match (number, value) {
                (1, Value::Bytes(bytes)) => cid = bytes,
                // Enumerations have 32 bits; more are dropped.
                (2, Value::Varint(number)) => kind = number as i32,
                (3, Value::Bytes(peer)) => allocations.push(PeerId::from_bytes(peer)?),
                (4, Value::Varint(depth)) => max_depth = sint32(depth),
                (5, Value::Bytes(bytes)) => reference = bytes,
                (6, Value::Bytes(message)) => options.read(message)?,
                (7, Value::Varint(seconds)) => timestamp = seconds,
                _ => unknown.extend_from_slice(raw),
            }
        }
        Ok(Self {
            cid: required_cid("Cid", cid)?,
            kind: type_of(kind)?,
            allocations,
            max_depth,
            reference: optional_cid("Reference", reference)?,
            timestamp: time("Timestamp", timestamp)?,
            options: options.finish(PinMode::from_depth(max_depth))?,
            unknown,
        })
    }
}

fn options_to_proto(options: &PinOptions) -> Vec<u8> {
    let mut out = Vec::with_capacity(64);
    put_sint32(&mut out, 1, options.replication_min);
    put_sint32(&mut out, 2, options.replication_max);
    put_bytes(&mut out, 3, options.name.as_bytes());
    put_varint(&mut out, 4, options.shard_size);
    put_bytes(&mut out, 7, &cid_bytes(options.pin_update.as_ref()));
    put_varint(&mut out, 8, options.expire_at.unwrap_or(0));
    for origin in &options.origins {
        put_element(&mut out, 9, origin.as_ref());
    }
    // The order is part of the format: equal pins have equal bytes.
    let sorted: BTreeMap<&str, &str> = options
        .metadata
        .iter()
        .map(|(key, value)| (key.as_str(), value.as_str()))
        .collect();
    let mut entry = Vec::new();
    for (key, value) in sorted {
        entry.clear();
        put_bytes(&mut entry, 1, key.as_bytes());
        put_bytes(&mut entry, 2, value.as_bytes());
        put_element(&mut out, 10, &entry);
    }
    out.extend_from_slice(&options.unknown);
    out
}

/// Gathers the options: a message may come in several parts, which add up.
#[derive(Default)]
struct OptionsReader<'a> {
    options: PinOptions,
    expire_at: u64,
    pin_update: &'a [u8],
    /// Metadata as older versions wrote it; a key that the newer form has too counts there.
    old_metadata: BTreeMap<String, String>,
    metadata: BTreeMap<String, String>,
}

impl<'a> OptionsReader<'a> {
    fn read(&mut self, message: &'a [u8]) -> Result<(), ProtoError> {
        for field in Fields::new(message) {
            let Field { number, value, raw } = field?;
            match (number, value) {
                (1, Value::Varint(n)) => self.options.replication_min = sint32(n),
                (2, Value::Varint(n)) => self.options.replication_max = sint32(n),
                (3, Value::Bytes(name)) => self.options.name = text("Name", name)?,
                (4, Value::Varint(bytes)) => self.options.shard_size = bytes,
                (6, Value::Bytes(entry)) => read_entry(entry, &mut self.old_metadata)?,
                (7, Value::Bytes(cid)) => self.pin_update = cid,
                (8, Value::Varint(seconds)) => self.expire_at = seconds,
                (9, Value::Bytes(origin)) => self.options.origins.push(address(origin)?),
                (10, Value::Bytes(entry)) => read_entry(entry, &mut self.metadata)?,
                _ => self.options.unknown.extend_from_slice(raw),
            }
        }
        Ok(())
    }

    fn finish(mut self, mode: PinMode) -> Result<PinOptions, ProtoError> {
        self.old_metadata.append(&mut self.metadata);
        let expire_at = time("ExpireAt", self.expire_at)?;
        Ok(PinOptions {
            mode,
            expire_at: (expire_at > 0).then_some(expire_at),
            metadata: self.old_metadata.into_iter().collect(),
            pin_update: optional_cid("PinUpdate", self.pin_update)?,
            ..self.options
        })
    }
}

/// Reads a key and its value, in the form that both kinds of metadata share.
fn read_entry(message: &[u8], into: &mut BTreeMap<String, String>) -> Result<(), ProtoError> {
    let (mut key, mut value) = (String::new(), String::new());
    for field in Fields::new(message) {
        match field? {
            Field {
                number: 1,
                value: Value::Bytes(bytes),
                ..
            } => key = text("metadata", bytes)?,
            Field {
                number: 2,
                value: Value::Bytes(bytes),
                ..
            } => value = text("metadata", bytes)?,
            _ => {}
        }
    }
    into.insert(key, value);
    Ok(())
}

fn type_number(kind: PinType) -> u64 {
    match kind {
        PinType::Data => 1,
        PinType::Meta => 2,
        PinType::ClusterDag => 3,
        PinType::Shard => 4,
    }
}

fn type_of(number: i32) -> Result<PinType, ProtoError> {
    Ok(match number {
        1 => PinType::Data,
        2 => PinType::Meta,
        3 => PinType::ClusterDag,
        4 => PinType::Shard,
        other => return Err(ProtoError::Type(other)),
    })
}

fn cid_bytes(cid: Option<&Cid>) -> Vec<u8> {
    let mut out = Vec::new();
    if let Some(cid) = cid {
        write_cid(cid, &mut out);
    }
    out
}

fn required_cid(field: &'static str, bytes: &[u8]) -> Result<Cid, ProtoError> {
    cid_from_bytes(bytes).map_err(|source| ProtoError::Cid { field, source })
}

fn optional_cid(field: &'static str, bytes: &[u8]) -> Result<Option<Cid>, ProtoError> {
    if bytes.is_empty() {
        return Ok(None);
    }
    required_cid(field, bytes).map(Some)
}

fn address(bytes: &[u8]) -> Result<Multiaddr, ProtoError> {
    if bytes.is_empty() {
        return Err(ProtoError::Origin("it is empty".to_owned()));
    }
    let wrong = |e: multiaddr::Error| ProtoError::Origin(e.to_string());
    let address = Multiaddr::try_from(bytes.to_vec()).map_err(wrong)?;
    // Some bytes, a host name with a slash for one, give a text that is another address or none; clients get the text.
    let read: Multiaddr = address.to_string().parse().map_err(wrong)?;
    if read == address {
        Ok(address)
    } else {
        Err(ProtoError::Origin(format!("{address} is ambiguous")))
    }
}

fn text(field: &'static str, bytes: &[u8]) -> Result<String, ProtoError> {
    let text = std::str::from_utf8(bytes).map_err(|_| ProtoError::Utf8(field))?;
    Ok(text.to_owned())
}

/// Go's times have 63 bits of seconds; what has more is no time that any program wrote.
fn time(field: &'static str, seconds: u64) -> Result<u64, ProtoError> {
    match i64::try_from(seconds) {
        Ok(_) => Ok(seconds),
        Err(_) => Err(ProtoError::Time { field, seconds }),
    }
}
