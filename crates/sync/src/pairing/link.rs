//! The link of an invitation, `ues:join?code=…&peer=…&addr=…`, which the QR code shows.

use std::fmt;
use std::str::FromStr;

use multiaddr::{Multiaddr, PeerId, Protocol};
use ues_repo::crypto::{KeyKind, VerifyingKey};
use zeroize::Zeroizing;

use super::code::{Code, CodeError};

const SCHEME: &str = "ues:";
const PATH: &str = "join?";
/// The most bytes of a link.
const MAX_LINK: usize = 2048;
/// The most addresses in a link.
const MAX_ADDRESSES: usize = 16;
/// An Ed25519 key as PeerId: the identity multihash of a Protobuf message with the kind and the key.
const PEER_ID_PREFIX: [u8; 6] = [0x00, 0x24, 0x08, 0x01, 0x12, 0x20];

/// What is wrong with the link of an invitation.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum LinkError {
    /// Another kind of link, or none.
    #[error("the link of an invitation begins with {SCHEME}{PATH}")]
    Scheme,
    /// Too long.
    #[error("the link of an invitation has at most {MAX_LINK} bytes; found {found}")]
    Length {
        /// How many there were.
        found: usize,
    },
    /// A `%` that is not followed by two hexadecimal digits, or text that is not UTF-8.
    #[error("a percent escape of the link is wrong")]
    Escape,
    /// A character that stands in no link without an escape.
    #[error("the link has the character {found:?}, which needs a percent escape")]
    Character {
        /// The character.
        found: char,
    },
    /// A part that is missing.
    #[error("the link has no {name}")]
    Missing {
        /// Its name.
        name: &'static str,
    },
    /// A part that may be there once only.
    #[error("the link has more than one {name}")]
    Twice {
        /// Its name.
        name: &'static str,
    },
    /// A part that this version does not know.
    #[error("the link has a part other than code, peer and addr")]
    Part,
    /// The code is none.
    #[error(transparent)]
    Code(#[from] CodeError),
    /// The peer is no Ed25519 key.
    #[error("the peer of the link is no did:key of an Ed25519 key")]
    Peer,
    /// Too many addresses.
    #[error("the link has more than {MAX_ADDRESSES} addresses")]
    Addresses,
    /// An address that is none.
    #[error("address {number} of the link is no multiaddress: {why}")]
    Address {
        /// Its number, from 1.
        number: usize,
        /// What the parser says.
        why: String,
    },
    /// An address that ends with another peer.
    #[error("address {number} of the link is that of another device than its peer")]
    OtherPeer {
        /// Its number, from 1.
        number: usize,
    },
}

/// Everything that a joiner needs: the code, whom to expect, and where.
#[derive(Clone)]
pub struct JoinLink {
    code: Code,
    peer: VerifyingKey,
    addresses: Vec<String>,
}

impl JoinLink {
    /// A link; fails if it would be longer than a link may be.
    pub fn new(code: Code, peer: VerifyingKey, addresses: &[String]) -> Result<Self, LinkError> {
        if peer.kind() != KeyKind::Ed25519 {
            return Err(LinkError::Peer);
        }
        if addresses.len() > MAX_ADDRESSES {
            return Err(LinkError::Addresses);
        }
        let addresses = (1..)
            .zip(addresses)
            .map(|(number, text)| address(number, text, &peer))
            .collect::<Result<_, _>>()?;
        let link = Self {
            code,
            peer,
            addresses,
        };
        let found = link.reveal().len();
        if found > MAX_LINK {
            return Err(LinkError::Length { found });
        }
        Ok(link)
    }

    /// The code.
    pub fn code(&self) -> &Code {
        &self.code
    }

    /// The device key of the inviter; a joiner with a link talks to no other.
    pub fn peer(&self) -> &VerifyingKey {
        &self.peer
    }

    /// Where the inviter was reached when it made the link: multiaddresses, as text.
    pub fn addresses(&self) -> &[String] {
        &self.addresses
    }

    /// The link as text, with the secret code.
    pub fn reveal(&self) -> Zeroizing<String> {
        let mut text = Zeroizing::new(String::with_capacity(MAX_LINK));
        text.push_str(SCHEME);
        text.push_str(PATH);
        text.push_str("code=");
        text.push_str(&self.code.reveal());
        text.push_str("&peer=");
        escape(&mut text, &self.peer.did_key());
        for address in &self.addresses {
            text.push_str("&addr=");
            escape(&mut text, address);
        }
        text
    }
}

impl fmt::Debug for JoinLink {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("JoinLink")
            .field("code", &self.code)
            .field("peer", &self.peer)
            .field("addresses", &self.addresses)
            .finish()
    }
}

impl FromStr for JoinLink {
    type Err = LinkError;

    fn from_str(text: &str) -> Result<Self, LinkError> {
        let text = text.trim();
        if text.len() > MAX_LINK {
            return Err(LinkError::Length { found: text.len() });
        }
        let query = strip_scheme(text)
            .and_then(|rest| rest.strip_prefix(PATH))
            .ok_or(LinkError::Scheme)?;
        let mut code = None;
        let mut peer = None;
        let mut addresses = Vec::new();
        for part in query.split('&') {
            let (name, value) = part.split_once('=').ok_or(LinkError::Part)?;
            let value = unescape(value)?;
            match name {
                "code" => once(&mut code, "code", value.parse()?)?,
                "peer" => {
                    let key = VerifyingKey::from_did_key(&value).map_err(|_| LinkError::Peer)?;
                    once(&mut peer, "peer", key)?;
                }
                "addr" if addresses.len() == MAX_ADDRESSES => return Err(LinkError::Addresses),
                "addr" => addresses.push(value.to_string()),
                _ => return Err(LinkError::Part),
            }
        }
        let code = code.ok_or(LinkError::Missing { name: "code" })?;
        let peer = peer.ok_or(LinkError::Missing { name: "peer" })?;
        Self::new(code, peer, &addresses)
    }
}

/// What a user gives to `join`: a bare code, or the whole link.
#[derive(Debug, Clone)]
pub enum Ticket {
    /// A code as somebody read it out; the inviter is looked up under its lookup id.
    Code(Code),
    /// A link, copied or scanned.
    Link(Box<JoinLink>),
}

impl Ticket {
    /// The code.
    pub fn code(&self) -> &Code {
        match self {
            Self::Code(code) => code,
            Self::Link(link) => link.code(),
        }
    }

    /// Whom to expect, if that is known.
    pub fn peer(&self) -> Option<&VerifyingKey> {
        match self {
            Self::Code(_) => None,
            Self::Link(link) => Some(link.peer()),
        }
    }
}

impl FromStr for Ticket {
    type Err = LinkError;

    fn from_str(text: &str) -> Result<Self, LinkError> {
        match strip_scheme(text.trim()) {
            Some(_) => Ok(Self::Link(Box::new(text.parse()?))),
            None => Ok(Self::Code(text.parse()?)),
        }
    }
}

/// Schemes are read in either case (RFC 3986, 3.1).
fn strip_scheme(text: &str) -> Option<&str> {
    let (scheme, rest) = text.split_at_checked(SCHEME.len())?;
    scheme.eq_ignore_ascii_case(SCHEME).then_some(rest)
}

fn once<T>(slot: &mut Option<T>, name: &'static str, value: T) -> Result<(), LinkError> {
    match slot.replace(value) {
        None => Ok(()),
        Some(_) => Err(LinkError::Twice { name }),
    }
}

/// Checks an address and gives its usual spelling.
fn address(number: usize, text: &str, peer: &VerifyingKey) -> Result<String, LinkError> {
    let address: Multiaddr = text.parse().map_err(|e: multiaddr::Error| {
        let why = e.to_string();
        LinkError::Address { number, why }
    })?;
    if address.is_empty() {
        let why = "it is empty".to_owned();
        return Err(LinkError::Address { number, why });
    }
    // before a relay's `/p2p-circuit` stands the relay's own id, so only the end counts
    if let Some(Protocol::P2p(found)) = address.iter().last()
        && !is_peer(found, peer)
    {
        return Err(LinkError::OtherPeer { number });
    }
    Ok(address.to_string())
}

fn is_peer(found: PeerId, peer: &VerifyingKey) -> bool {
    let found = found.to_bytes();
    found.strip_prefix(PEER_ID_PREFIX.as_slice()) == Some(peer.to_bytes().as_slice())
}

/// Whether a character may stand in the query of a link as it is (RFC 3986, 3.4); `&`, `=` and `+` have a meaning.
fn is_plain(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || b"-._~:/".contains(&byte)
}

fn escape(out: &mut String, text: &str) {
    for byte in text.bytes() {
        if is_plain(byte) {
            out.push(char::from(byte));
        } else {
            out.push_str(&format!("%{byte:02X}"));
        }
    }
}

fn unescape(text: &str) -> Result<Zeroizing<String>, LinkError> {
    // never longer than the text, so that no copy of the code is left behind
    let mut bytes = Zeroizing::new(Vec::with_capacity(text.len()));
    let mut rest = text.chars();
    while let Some(c) = rest.next() {
        match u8::try_from(c) {
            Ok(b'%') => {
                let digit = |c: Option<char>| c.and_then(|c| c.to_digit(16));
                match (digit(rest.next()), digit(rest.next())) {
                    (Some(high), Some(low)) => bytes.push((high * 16 + low) as u8),
                    _ => return Err(LinkError::Escape),
                }
            }
            Ok(byte) if is_plain(byte) => bytes.push(byte),
            _ => return Err(LinkError::Character { found: c }),
        }
    }
    let text = std::str::from_utf8(&bytes).map_err(|_| LinkError::Escape)?;
    Ok(Zeroizing::new(text.to_owned()))
}

#[cfg(test)]
#[path = "link_tests.rs"]
mod tests;
