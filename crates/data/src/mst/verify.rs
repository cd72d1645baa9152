//! The check that every block passes before it is read in place.

use super::block::{ENTRY_START, LEFT_START, LINK_BYTES, LINK_START, NODE_START, NULL};
use super::error::NodeFault;
use super::key::{MAX_KEY_BYTES, common_prefix_len, is_valid_key, key_height};

/// The largest block of a node, in bytes. Real nodes have some hundred; who searches for keys of one layer can make
/// wide ones, and this bounds what they cost.
pub const MAX_NODE_BYTES: usize = 2 << 20;

/// The longest CID that may be a value, in bytes: version, two multicodecs, and a digest of 64 bytes.
pub(super) const MAX_VALUE_BYTES: usize = 80;

/// What the place of a node in its tree demands of it.
#[derive(Clone, Copy, Debug)]
pub(super) enum Position<'k> {
    /// It is the root.
    Root,
    /// It lies on this layer, and its keys strictly between those given.
    Below {
        height: u8,
        low: Option<&'k [u8]>,
        high: Option<&'k [u8]>,
    },
}

/// What the check found out.
#[derive(Clone, Copy, Debug)]
pub(super) struct Checked {
    /// The node's layer.
    pub height: u8,
    /// Whether it links to any subtree.
    pub linked: bool,
}

/// Checks that `block` is the canonical encoding of a node that may stand at `position`.
pub(super) fn check(block: &[u8], position: Position<'_>) -> Result<Checked, NodeFault> {
    if block.len() > MAX_NODE_BYTES {
        return Err(NodeFault::TooLarge {
            len: block.len(),
            limit: MAX_NODE_BYTES,
        });
    }
    let mut reader = Reader { block, at: 0 };
    reader.expect(&NODE_START, "a map of `e` and `l`")?;
    let count = reader.head(0x80, "an array of entries")?;
    // An entry takes at least this much, so that a false count is seen before any work.
    if count > block.len() / 24 {
        return Err(reader.fault("as many entries as the block has room for"));
    }

    let mut height = match position {
        Position::Root => None,
        Position::Below { height, .. } => Some(height),
    };
    let mut linked = false;
    let mut buffer = [0u8; MAX_KEY_BYTES];
    let mut key_len = 0;
    for index in 0..count {
        let (suffix, prefix) = reader.entry_key()?;
        let common = common_prefix_len(&buffer[prefix.min(key_len)..key_len], suffix);
        if prefix > key_len || (common > 0 && prefix < key_len) {
            let expected = (prefix + common).min(key_len);
            return Err(NodeFault::WrongPrefix {
                entry: index,
                expected,
                found: prefix,
            });
        }
        let greater = match (buffer[prefix..key_len].first(), suffix.first()) {
            (_, None) => false,
            (None, Some(_)) => true,
            (Some(old), Some(new)) => new > old,
        };
        if !greater && index > 0 {
            return Err(NodeFault::Unsorted { entry: index });
        }
        let Some(room) = buffer.get_mut(prefix..prefix + suffix.len()) else {
            return Err(NodeFault::InvalidKey { entry: index });
        };
        room.copy_from_slice(suffix);
        key_len = prefix + suffix.len();
        let key = &buffer[..key_len];
        if !is_valid_key(key) {
            return Err(NodeFault::InvalidKey { entry: index });
        }
        if let Position::Below { low: Some(low), .. } = position
            && index == 0
            && key <= low
        {
            return Err(NodeFault::OutOfRange);
        }
        let found = key_height(key);
        let expected = *height.get_or_insert(found);
        if found != expected {
            return Err(NodeFault::WrongLayer {
                entry: index,
                expected,
                found,
            });
        }
        reader.expect(&[0x61, b't'], "the key `t`")?;
        linked |= reader.link()?;
        reader.expect(&[0x61, b'v'], "the key `v`")?;
        reader.value()?;
    }
    if let Position::Below {
        high: Some(high), ..
    } = position
        && count > 0
        && &buffer[..key_len] >= high
    {
        return Err(NodeFault::OutOfRange);
    }
    reader.expect(&LEFT_START, "the key `l`")?;
    linked |= reader.link()?;
    if reader.at != block.len() {
        return Err(NodeFault::TrailingBytes {
            end: reader.at,
            len: block.len(),
        });
    }
    match position {
        Position::Root if count == 0 && linked => return Err(NodeFault::Untrimmed),
        Position::Below { .. } if count == 0 && !linked => return Err(NodeFault::Empty),
        _ => {}
    }
    let height = height.unwrap_or(0);
    if height == 0 && linked {
        return Err(NodeFault::TooDeep);
    }
    Ok(Checked { height, linked })
}

struct Reader<'b> {
    block: &'b [u8],
    at: usize,
}

impl<'b> Reader<'b> {
    fn fault(&self, expected: &'static str) -> NodeFault {
        NodeFault::Encoding {
            at: self.at,
            expected,
        }
    }

    #[inline]
    fn take(&mut self, len: usize, what: &'static str) -> Result<&'b [u8], NodeFault> {
        let bytes = self.block.get(self.at..).and_then(|rest| rest.get(..len));
        let bytes = bytes.ok_or_else(|| self.fault(what))?;
        self.at += len;
        Ok(bytes)
    }

    #[inline]
    fn expect(&mut self, bytes: &[u8], what: &'static str) -> Result<(), NodeFault> {
        let matches = self
            .block
            .get(self.at..)
            .is_some_and(|rest| rest.starts_with(bytes));
        if !matches {
            return Err(self.fault(what));
        }
        self.at += bytes.len();
        Ok(())
    }

    /// A CBOR head of the major type `major`, in its shortest form.
    #[inline]
    fn head(&mut self, major: u8, what: &'static str) -> Result<usize, NodeFault> {
        let start = self.at;
        let first = self.take(1, what)?[0];
        let value = match first.wrapping_sub(major) {
            small @ 0..=0x17 => return Ok(usize::from(small)),
            0x18 => usize::from(self.take(1, what)?[0]),
            0x19 => self
                .take(2, what)?
                .iter()
                .fold(0, |n, &b| n << 8 | usize::from(b)),
            0x1a => self
                .take(4, what)?
                .iter()
                .fold(0, |n, &b| n << 8 | usize::from(b)),
            _ => usize::MAX,
        };
        let shortest = match self.at - start {
            2 => value > 0x17,
            3 => value > 0xff,
            _ => value > 0xffff && value < usize::MAX,
        };
        if !shortest {
            self.at = start;
            return Err(self.fault(what));
        }
        Ok(value)
    }

    /// The suffix and the prefix length of an entry's key.
    #[inline]
    fn entry_key(&mut self) -> Result<(&'b [u8], usize), NodeFault> {
        self.expect(&ENTRY_START, "an entry, a map of `k`, `p`, `t` and `v`")?;
        let len = self.head(0x40, "a key suffix")?;
        if len > MAX_KEY_BYTES {
            return Err(self.fault("a key suffix of at most 1024 bytes"));
        }
        let suffix = self.take(len, "the bytes of a key suffix")?;
        self.expect(&[0x61, b'p'], "the key `p`")?;
        let prefix = self.head(0x00, "a prefix length")?;
        if prefix > MAX_KEY_BYTES {
            return Err(self.fault("a prefix length of at most 1024"));
        }
        Ok((suffix, prefix))
    }

    /// A link to a node, or null.
    #[inline]
    fn link(&mut self) -> Result<bool, NodeFault> {
        const WHAT: &str = "a null or the version 1 CID of a DAG-CBOR block by SHA-256";
        if self.block.get(self.at) == Some(&NULL) {
            self.at += 1;
            return Ok(false);
        }
        self.expect(&LINK_START, WHAT)?;
        self.take(LINK_BYTES - LINK_START.len(), WHAT)?;
        Ok(true)
    }

    /// The CID of a value.
    #[inline]
    fn value(&mut self) -> Result<(), NodeFault> {
        const WHAT: &str = "a version 1 CID";
        self.expect(&[0xd8, 0x2a], WHAT)?;
        let len = self.head(0x40, WHAT)?;
        if len == 0 || len > MAX_VALUE_BYTES + 1 {
            return Err(self.fault(WHAT));
        }
        let bytes = self.take(len, WHAT)?;
        // What records have, without the general parser.
        let usual = [0x00, 0x01, 0x71, 0x12, 0x20];
        if len == 37 && bytes.starts_with(&usual) {
            return Ok(());
        }
        if bytes[0] != 0 || !is_cid_v1(&bytes[1..]) {
            self.at -= len;
            return Err(self.fault(WHAT));
        }
        Ok(())
    }
}

/// Whether these are exactly the bytes of a version 1 CID.
fn is_cid_v1(bytes: &[u8]) -> bool {
    let mut rest = bytes;
    match cid::Cid::read_bytes(&mut rest) {
        Ok(cid) => rest.is_empty() && cid.version() == cid::Version::V1 && cid.to_bytes() == bytes,
        Err(_) => false,
    }
}
