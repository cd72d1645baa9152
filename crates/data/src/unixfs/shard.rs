//! Directories divided over several blocks (HAMT).
//!
//! A name's hash is cut into pieces of eight bits. The root has a slot for each first piece that occurs; where several
//! names share it, the slot holds another such node, which goes on with the next piece. A node's bitfield says which slots are
//! taken, and its links are named by the slot in hexadecimal, followed by the name of the entry, or by nothing if there
//! is a further node. See <https://specs.ipfs.tech/unixfs/#dag-pb-hamtdirectory>.

use bytes::Bytes;
use cid::Cid;

use super::entry::{Part, load};
use super::message::{Message, Type};
use super::murmur3::murmur3;
use super::{ExportError, ImportError, ImportOptions, Imported};
use crate::dag_pb::{self, Link, Node};
use crate::source::{BlockSink, BlockSource};

/// Slots of a node that is made.
const FANOUT: usize = 256;
/// The largest number of slots that is read.
const MAX_FANOUT: u64 = 1024;
/// The multihash code of [`murmur3`].
const MURMUR3: u64 = 0x22;
/// The most entries that a divided directory is read with.
const MAX_ENTRIES: usize = 1 << 22;

/// Why a node of a divided directory is refused.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum ShardError {
    /// A hash function that nobody uses here.
    #[error("names are hashed by murmur3-x64-64 (0x22), found {0:?}")]
    Hash(Option<u64>),
    /// A useless number of slots, or another than the root has.
    #[error(
        "the number of slots is a power of two from 8 to 1024, the same in all nodes, found {0:?}"
    )]
    Fanout(Option<u64>),
    /// A bitfield that is too long, or does not match the links in number.
    #[error("the bitfield has {slots} slots taken, and there are {links} links")]
    Bitfield {
        /// How many bits are set.
        slots: usize,
        /// How many links there are.
        links: usize,
    },
    /// A link whose name does not begin with its slot.
    #[error("link {0} is not named by its slot")]
    Slot(usize),
    /// An entry whose hash does not lead to where it is.
    #[error("the name of link {0} does not belong here by its hash")]
    Misplaced(usize),
    /// A node below the root without links.
    #[error("the node is empty")]
    Empty,
    /// More entries than are read.
    #[error("more than {MAX_ENTRIES} entries")]
    TooMany,
}

/// Makes the nodes of a divided directory.
pub(super) fn build(
    entries: impl IntoIterator<Item = (String, Imported)>,
    options: &ImportOptions,
    sink: &mut impl BlockSink,
) -> Result<Imported, ImportError> {
    let mut hashed: Vec<(u64, String, Imported)> = entries
        .into_iter()
        .map(|(name, entry)| (murmur3(name.as_bytes()), name, entry))
        .collect();
    hashed.sort_unstable_by_key(|(hash, ..)| *hash);
    node(&hashed, 0, options, sink)
}

/// The node of these entries, whose hashes share the first `level` bytes.
fn node(
    entries: &[(u64, String, Imported)],
    level: u32,
    options: &ImportOptions,
    sink: &mut impl BlockSink,
) -> Result<Imported, ImportError> {
    let slot_of = |hash: u64| (hash >> (56 - 8 * level)) as usize & (FANOUT - 1);
    let mut bitfield = [0u8; FANOUT / 8];
    let mut links = Vec::new();
    let mut below = 0;
    for group in entries.chunk_by(|a, b| slot_of(a.0) == slot_of(b.0)) {
        let Some((hash, name, entry)) = group.first() else {
            continue;
        };
        let slot = slot_of(*hash);
        bitfield[FANOUT / 8 - 1 - slot / 8] |= 1 << (slot % 8);
        let (name, made) = match group {
            [_] => (name.as_str(), *entry),
            _ if level == 7 => return Err(ImportError::Collision(name.clone())),
            _ => ("", node(group, level + 1, options, sink)?),
        };
        below += made.total_size;
        links.push(Link {
            cid: made.cid,
            name: Some(format!("{slot:02X}{name}")),
            size: Some(made.total_size),
        });
    }
    let unused = bitfield.iter().take_while(|byte| **byte == 0).count();
    let message = Message {
        data: Some(Bytes::copy_from_slice(&bitfield[unused..])),
        hash_type: Some(MURMUR3),
        fanout: Some(FANOUT as u64),
        ..Message::of(Type::Shard)
    };
    let bytes = dag_pb::encode(&Node {
        links,
        data: Some(Bytes::from(message.encode())),
    });
    let total_size = below + bytes.len() as u64;
    let cid = options.put_node(bytes, sink)?;
    Ok(Imported { cid, total_size })
}

/// A node that was read and found sound.
struct Shard {
    slots: Vec<(usize, Link)>,
    /// Bits of the hash that a level uses.
    bits: u32,
    /// Characters of a link's name that say its slot.
    digits: usize,
}

impl Shard {
    fn check(message: &Message, links: Vec<Link>) -> Result<Self, ShardError> {
        if message.hash_type != Some(MURMUR3) {
            return Err(ShardError::Hash(message.hash_type));
        }
        let fanout = match message.fanout {
            Some(n) if n.is_power_of_two() && (8..=MAX_FANOUT).contains(&n) => n as usize,
            other => return Err(ShardError::Fanout(other)),
        };
        let bitfield = message.data.as_deref().unwrap_or_default();
        let taken: Vec<usize> = bitfield
            .iter()
            .rev()
            .enumerate()
            .flat_map(|(at, byte)| {
                (0..8)
                    .filter(move |bit| byte >> bit & 1 == 1)
                    .map(move |bit| at * 8 + bit)
            })
            .take(links.len() + 1)
            .collect();
        if taken.len() != links.len() || bitfield.len() > fanout / 8 {
            return Err(ShardError::Bitfield {
                slots: taken.len(),
                links: links.len(),
            });
        }
        let digits = format!("{:X}", fanout - 1).len();
        for (at, (slot, link)) in taken.iter().zip(&links).enumerate() {
            let name = link.name.as_deref().unwrap_or_default();
            if name.get(..digits) != Some(format!("{slot:0digits$X}").as_str()) {
                return Err(ShardError::Slot(at));
            }
        }
        Ok(Self {
            slots: taken.into_iter().zip(links).collect(),
            bits: fanout.trailing_zeros(),
            digits,
        })
    }

    /// The slot that a hash leads to in a node below `level` others, or `None` if its bits do not reach so far.
    fn slot_of(&self, hash: u64, level: u32) -> Option<usize> {
        let end = (level + 1) * self.bits;
        let shifted = hash >> 64u32.checked_sub(end)?;
        Some(shifted as usize & ((1 << self.bits) - 1))
    }
}

/// Loads a node, which must have as many slots as the root.
fn load_shard(
    source: &(impl BlockSource + ?Sized),
    cid: &Cid,
    bits: u32,
) -> Result<Shard, ExportError> {
    let wrong = |reason| ExportError::Shard { cid: *cid, reason };
    match load(source, cid)? {
        Part::Node(message, links) if message.kind == Type::Shard => {
            if links.is_empty() {
                return Err(wrong(ShardError::Empty));
            }
            let fanout = message.fanout;
            let shard = Shard::check(&message, links).map_err(wrong)?;
            if shard.bits != bits {
                return Err(wrong(ShardError::Fanout(fanout)));
            }
            Ok(shard)
        }
        other => Err(ExportError::Kind {
            cid: *cid,
            expected: "a part of a directory",
            found: other.kind(),
        }),
    }
}

/// Finds an entry below the root of a divided directory, reading one node a level.
pub(super) fn find(
    source: &(impl BlockSource + ?Sized),
    root: &Cid,
    (message, links): (Message, Vec<Link>),
    name: &str,
) -> Result<Option<Link>, ExportError> {
    let hash = murmur3(name.as_bytes());
    let mut cid = *root;
    let mut shard =
        Shard::check(&message, links).map_err(|reason| ExportError::Shard { cid, reason })?;
    let mut level = 0;
    loop {
        let too_deep = || ExportError::TooDeep(level as usize);
        let slot = shard.slot_of(hash, level).ok_or_else(too_deep)?;
        let (bits, digits) = (shard.bits, shard.digits);
        let Some((_, mut link)) = shard.slots.into_iter().find(|(taken, _)| *taken == slot) else {
            return Ok(None);
        };
        let found = link.name.unwrap_or_default().split_off(digits);
        if !found.is_empty() {
            link.name = Some(found);
            return Ok(Some(link).filter(|link| link.name.as_deref() == Some(name)));
        }
        cid = link.cid;
        shard = load_shard(source, &cid, bits)?;
        level += 1;
    }
}

/// All entries of a divided directory, in the order of their names.
///
/// Each name must lie where its hash leads. So a node that is linked twice is refused at its first entry, and work is
/// bounded by the names that there really are.
pub(super) fn entries(
    source: &(impl BlockSource + ?Sized),
    root: &Cid,
    (message, links): (Message, Vec<Link>),
) -> Result<Vec<Link>, ExportError> {
    let shard = Shard::check(&message, links)
        .map_err(|reason| ExportError::Shard { cid: *root, reason })?;
    let mut found = Vec::new();
    gather(source, root, shard, 0, 0, &mut found)?;
    found.sort_by(|a: &Link, b| a.name.cmp(&b.name));
    Ok(found)
}

fn gather(
    source: &(impl BlockSource + ?Sized),
    cid: &Cid,
    shard: Shard,
    level: u32,
    path: u64,
    found: &mut Vec<Link>,
) -> Result<(), ExportError> {
    let wrong = |reason| ExportError::Shard { cid: *cid, reason };
    let (bits, digits) = (shard.bits, shard.digits);
    let used = (level + 1) * bits;
    let Some(rest) = 64u32.checked_sub(used) else {
        return Err(ExportError::TooDeep(level as usize));
    };
    for (at, (slot, mut link)) in shard.slots.into_iter().enumerate() {
        let path = path << bits | slot as u64;
        let name = link.name.unwrap_or_default().split_off(digits);
        if name.is_empty() {
            let below = load_shard(source, &link.cid, bits)?;
            gather(source, &link.cid, below, level + 1, path, found)?;
            continue;
        }
        if murmur3(name.as_bytes()) >> rest != path {
            return Err(wrong(ShardError::Misplaced(at)));
        }
        if found.len() >= MAX_ENTRIES {
            return Err(wrong(ShardError::TooMany));
        }
        link.name = Some(name);
        found.push(link);
    }
    Ok(())
}
