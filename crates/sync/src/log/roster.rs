//! The writers of a repository: their keys, how far each has come, and how far each counts.

use std::collections::BTreeMap;

use bytes::Bytes;
use ues_data::Ipld;
use ues_data::dag_cbor::{self, Writer as Cbor};
use ues_repo::crypto::VerifyingKey;

use crate::clock::{ROOT, VectorClock, WriterId};
use crate::hybrid_time::HybridTime;
use crate::operation::OperationId;

/// The end of a writer's right to write.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Revocation {
    /// Number of the root's operation.
    pub seq: u64,
    /// The last operation that counts in any case.
    pub cut: u64,
    /// The last operation that counts because another writer had seen it before it saw the revocation.
    pub reach: u64,
}

/// The last operation of a writer that is in the log.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Tip {
    /// Its number.
    pub seq: u64,
    /// Its name.
    pub id: OperationId,
    /// Its time.
    pub time: HybridTime,
    /// What it had seen of others.
    pub deps: VectorClock,
}

/// One who may write, or might.
#[derive(Clone, Debug)]
pub struct Writer {
    /// The `did:key`.
    pub did_key: Box<str>,
    /// The same, to check signatures.
    pub key: VerifyingKey,
    /// What people call it.
    pub name: Box<str>,
    /// Its last operation here; `None` before the first.
    pub tip: Option<Tip>,
    /// Whether and from where on it may write no more.
    pub revoked: Option<Revocation>,
    /// The number of which it signed two operations; it counts no further than before it.
    pub fork: Option<u64>,
    /// Its last operation that the root has signed in a snapshot; all up to it count in any case.
    pub pinned: u64,
}

impl Writer {
    /// Number of its last operation here; 0 before the first.
    pub fn seq(&self) -> u64 {
        self.tip.as_ref().map_or(0, |tip| tip.seq)
    }

    /// The last operation of it that counts.
    pub fn limit(&self) -> u64 {
        self.limit_with(self.revoked.map_or(0, |r| r.reach))
    }

    /// The last operation of it that counts if others had seen it up to `reach` before they saw that it was revoked.
    pub(super) fn limit_with(&self, reach: u64) -> u64 {
        let fork = self.fork.map_or(u64::MAX, |fork| fork.saturating_sub(1));
        let reach = self.revoked.map_or(u64::MAX, |r| reach.max(r.cut));
        fork.min(reach).max(self.pinned)
    }

    /// Whether it is revoked, and who had seen `deps` did not know.
    pub(super) fn is_unknown_to(&self, deps: &VectorClock) -> bool {
        self.revoked.is_some_and(|r| deps.get(ROOT) < r.seq)
    }

    /// Whether it may go on writing.
    pub fn is_active(&self) -> bool {
        self.revoked.is_none() && self.fork.is_none()
    }

    pub(super) fn encode(&self) -> Bytes {
        let mut w = Cbor::with_capacity(256);
        w.array(6);
        w.text(&self.did_key);
        w.text(&self.name);
        match &self.tip {
            Some(tip) => {
                w.array(4);
                w.uint(tip.seq);
                w.bytes(&tip.id.0);
                w.uint(tip.time.0);
                tip.deps.write(&mut w);
            }
            None => w.null(),
        }
        match &self.revoked {
            Some(r) => {
                w.array(3);
                w.uint(r.seq);
                w.uint(r.cut);
                w.uint(r.reach);
            }
            None => w.null(),
        }
        match self.fork {
            Some(fork) => w.uint(fork),
            None => w.null(),
        }
        w.uint(self.pinned);
        w.into_bytes().into()
    }

    pub(super) fn decode(bytes: &[u8]) -> Option<Self> {
        let Ok(Ipld::List(fields)) = dag_cbor::decode(bytes) else {
            return None;
        };
        let [
            Ipld::String(did_key),
            Ipld::String(name),
            tip,
            revoked,
            fork,
            pinned,
        ] = &fields[..]
        else {
            return None;
        };
        let uint = |value: &Ipld| match value {
            Ipld::Integer(n) => u64::try_from(*n).ok(),
            _ => None,
        };
        let tip = match tip {
            Ipld::Null => None,
            Ipld::List(fields) => {
                let [seq, Ipld::Bytes(id), time, deps] = &fields[..] else {
                    return None;
                };
                Some(Tip {
                    seq: uint(seq)?,
                    id: OperationId(id.as_slice().try_into().ok()?),
                    time: HybridTime(uint(time)?),
                    deps: VectorClock::read(deps)?,
                })
            }
            _ => return None,
        };
        let revoked = match revoked {
            Ipld::Null => None,
            Ipld::List(fields) => {
                let [seq, cut, reach] = &fields[..] else {
                    return None;
                };
                Some(Revocation {
                    seq: uint(seq)?,
                    cut: uint(cut)?,
                    reach: uint(reach)?,
                })
            }
            _ => return None,
        };
        let fork = match fork {
            Ipld::Null => None,
            fork => Some(uint(fork)?),
        };
        Some(Self {
            key: VerifyingKey::from_did_key(did_key).ok()?,
            did_key: did_key.as_str().into(),
            name: name.as_str().into(),
            tip,
            revoked,
            fork,
            pinned: uint(pinned)?,
        })
    }
}

/// All writers that the root granted, and the root itself as number 0.
#[derive(Clone, Debug, Default)]
pub struct Roster(pub(super) BTreeMap<WriterId, Writer>);

impl Roster {
    /// A writer.
    pub fn get(&self, writer: WriterId) -> Option<&Writer> {
        self.0.get(&writer)
    }

    pub(super) fn get_mut(&mut self, writer: WriterId) -> Option<&mut Writer> {
        self.0.get_mut(&writer)
    }

    /// The writers, by number.
    pub fn iter(&self) -> impl Iterator<Item = (WriterId, &Writer)> {
        self.0.iter().map(|(number, writer)| (*number, writer))
    }

    /// The `did:key` of a writer; empty for one that is not known.
    pub fn author(&self, writer: WriterId) -> &str {
        self.0.get(&writer).map_or("", |writer| &writer.did_key)
    }

    /// The newest writer with a key that may go on writing.
    pub fn find(&self, did_key: &str) -> Option<WriterId> {
        let of_key =
            |(_, writer): &(&WriterId, &Writer)| &*writer.did_key == did_key && writer.is_active();
        self.0.iter().rev().find(of_key).map(|(number, _)| *number)
    }

    /// How far each writer has come here.
    pub fn clock(&self) -> VectorClock {
        let pairs = self
            .0
            .iter()
            .map(|(number, writer)| (*number, writer.seq()));
        pairs.collect()
    }
}
