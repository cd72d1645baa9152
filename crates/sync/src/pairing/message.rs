//! The messages of the handshake in their Protobuf form (`proto/pairing.proto`), and what bounds them.

use std::fmt;

use prost::Message;
use ues_repo::syntax::{Did, Handle};
use zeroize::{Zeroize as _, Zeroizing};

use super::code::LookupId;
use super::invitation::Repository;
use super::name::{DeviceName, DeviceNameError, shown};

/// The version that this side speaks.
pub(super) const VERSION: u32 = 1;
/// The most bytes of a message: a full grant and room to spare.
pub const MAX_MESSAGE: usize = 66 * 1024;
/// The most bytes that an inviter grants.
pub const MAX_PAYLOAD: usize = 64 * 1024;
/// The most bytes of the sentence in a refusal.
const MAX_REASON: usize = 256;

/// Bytes that may be secret: cleared when they go, not shown by `Debug`.
#[derive(Clone)]
pub struct SecretBytes(Zeroizing<Vec<u8>>);

impl SecretBytes {
    /// Takes the bytes over.
    pub fn new(bytes: Vec<u8>) -> Self {
        Self(Zeroizing::new(bytes))
    }
}

impl std::ops::Deref for SecretBytes {
    type Target = [u8];

    fn deref(&self) -> &[u8] {
        &self.0
    }
}

impl fmt::Debug for SecretBytes {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "SecretBytes({} bytes)", self.len())
    }
}

/// What is wrong with a message.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum MessageError {
    /// Too long.
    #[error("a pairing message has at most {MAX_MESSAGE} bytes; found {found}")]
    Length {
        /// How many there were.
        found: usize,
    },
    /// Not Protobuf, or not of this schema.
    #[error("the bytes are no pairing message: {0}")]
    Malformed(String),
    /// A kind of message that this version does not know.
    #[error("the message is of a kind that version {VERSION} does not know")]
    Kind,
    /// A field of the wrong length.
    #[error("{field} has {expected} bytes; found {found}")]
    Field {
        /// Its name.
        field: &'static str,
        /// How many it must have.
        expected: usize,
        /// How many it had.
        found: usize,
    },
    /// A payload that is too long.
    #[error("a grant has at most {MAX_PAYLOAD} bytes; found {found}")]
    Payload {
        /// How many there were.
        found: usize,
    },
    /// The name of the device.
    #[error(transparent)]
    DeviceName(#[from] DeviceNameError),
    /// The repository.
    #[error("the repository of the offer is not valid: {0}")]
    Repository(String),
}

#[derive(Clone, PartialEq, Message)]
pub(super) struct PairingMessage {
    #[prost(oneof = "Body", tags = "1, 2, 3, 4, 5, 6, 7")]
    pub(super) body: Option<Body>,
}

#[derive(Clone, PartialEq, prost::Oneof)]
pub(super) enum Body {
    #[prost(message, tag = "1")]
    Hello(Hello),
    #[prost(message, tag = "2")]
    Offer(Offer),
    #[prost(message, tag = "3")]
    Reveal(Reveal),
    #[prost(message, tag = "4")]
    Confirm(Confirm),
    #[prost(message, tag = "5")]
    Grant(Grant),
    #[prost(message, tag = "6")]
    Joined(Joined),
    #[prost(message, tag = "7")]
    Refuse(Refuse),
}

#[derive(Clone, PartialEq, Message)]
pub(super) struct Hello {
    #[prost(uint32, tag = "1")]
    pub(super) version: u32,
    #[prost(bytes = "vec", tag = "2")]
    pub(super) lookup_id: Vec<u8>,
    #[prost(string, tag = "3")]
    pub(super) device_name: String,
    #[prost(bytes = "vec", tag = "4")]
    pub(super) commitment: Vec<u8>,
}

#[derive(Clone, PartialEq, Message)]
pub(super) struct Offer {
    #[prost(bytes = "vec", tag = "1")]
    pub(super) nonce: Vec<u8>,
    #[prost(string, tag = "2")]
    pub(super) device_name: String,
    #[prost(string, tag = "3")]
    pub(super) did: String,
    #[prost(string, tag = "4")]
    pub(super) handle: String,
}

#[derive(Clone, PartialEq, Message)]
pub(super) struct Reveal {
    #[prost(bytes = "vec", tag = "1")]
    pub(super) nonce: Vec<u8>,
    #[prost(bytes = "vec", tag = "2")]
    pub(super) proof: Vec<u8>,
}

#[derive(Clone, PartialEq, Message)]
pub(super) struct Confirm {}

#[derive(Clone, PartialEq, Message)]
#[prost(skip_debug)]
pub(super) struct Grant {
    #[prost(bytes = "vec", tag = "1")]
    pub(super) payload: Vec<u8>,
    #[prost(bytes = "vec", tag = "2")]
    pub(super) proof: Vec<u8>,
}

impl fmt::Debug for Grant {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Grant({} bytes)", self.payload.len())
    }
}

impl Drop for Grant {
    fn drop(&mut self) {
        self.payload.zeroize();
    }
}

#[derive(Clone, PartialEq, Message)]
pub(super) struct Joined {}

#[derive(Clone, PartialEq, Message)]
pub(super) struct Refuse {
    #[prost(string, tag = "1")]
    pub(super) reason: String,
}

impl Body {
    /// Reads a message whose length is checked first.
    pub(super) fn read(bytes: &[u8]) -> Result<Self, MessageError> {
        if bytes.len() > MAX_MESSAGE {
            return Err(MessageError::Length { found: bytes.len() });
        }
        PairingMessage::decode(bytes)
            .map_err(|e| MessageError::Malformed(e.to_string()))?
            .body
            .ok_or(MessageError::Kind)
    }

    /// The bytes to send.
    pub(super) fn write(self) -> SecretBytes {
        SecretBytes::new(PairingMessage { body: Some(self) }.encode_to_vec())
    }

    /// Its name in the schema.
    pub(super) fn name(&self) -> &'static str {
        match self {
            Self::Hello(_) => "Hello",
            Self::Offer(_) => "Offer",
            Self::Reveal(_) => "Reveal",
            Self::Confirm(_) => "Confirm",
            Self::Grant(_) => "Grant",
            Self::Joined(_) => "Joined",
            Self::Refuse(_) => "Refuse",
        }
    }

    /// A refusal with a sentence.
    pub(super) fn refuse(reason: &str) -> Self {
        Self::Refuse(Refuse {
            reason: shown(reason, MAX_REASON),
        })
    }
}

/// Takes a field of a fixed length out of its bytes.
pub(super) fn fixed<const N: usize>(
    field: &'static str,
    bytes: &[u8],
) -> Result<[u8; N], MessageError> {
    bytes.try_into().map_err(|_| MessageError::Field {
        field,
        expected: N,
        found: bytes.len(),
    })
}

impl Hello {
    pub(super) fn checked(&self) -> Result<(LookupId, DeviceName, [u8; 32]), MessageError> {
        Ok((
            LookupId(fixed("lookup_id", &self.lookup_id)?),
            self.device_name.parse()?,
            fixed("commitment", &self.commitment)?,
        ))
    }
}

impl Offer {
    pub(super) fn checked(&self) -> Result<(DeviceName, Repository), MessageError> {
        let _nonce: [u8; 32] = fixed("nonce", &self.nonce)?;
        let wrong =
            |e: &dyn fmt::Display| MessageError::Repository(shown(&e.to_string(), MAX_REASON));
        let did = Did::parse(&self.did).map_err(|e| wrong(&e))?;
        let handle = match self.handle.as_str() {
            "" => None,
            text => Some(Handle::parse(text).map_err(|e| wrong(&e))?),
        };
        Ok((self.device_name.parse()?, Repository { did, handle }))
    }
}

impl Refuse {
    /// Its sentence, safe to show.
    pub(super) fn shown(&self) -> String {
        shown(&self.reason, MAX_REASON)
    }
}

#[cfg(test)]
#[path = "message_tests.rs"]
mod tests;
