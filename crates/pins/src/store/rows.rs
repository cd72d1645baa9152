//! Stored forms of what the embedded store keeps: protobuf messages, so that fields can be added.

use std::collections::BTreeMap;

use prost::Message;

use super::StateError;
use crate::Owner;
use crate::fleet::Worker;
use crate::model::{PeerId, Pin};
use crate::placement::{Placement, PlacementState};
use crate::request::PinRequest;

/// A row that is stored.
pub(super) trait Row: Sized {
    /// Its stored form.
    fn to_row(&self) -> Vec<u8>;
}

fn damaged(what: &str, why: &dyn std::fmt::Display) -> StateError {
    StateError::Damaged(format!("{what}: {why}"))
}

#[derive(Message)]
struct RequestRow {
    /// IPFS-Cluster's `api.Pin`.
    #[prost(bytes = "vec", tag = "1")]
    pin: Vec<u8>,
    #[prost(uint64, tag = "2")]
    created_ms: u64,
    #[prost(string, repeated, tag = "3")]
    tags: Vec<String>,
    /// Not part of `api.Pin`.
    #[prost(bytes = "vec", repeated, tag = "4")]
    user_allocations: Vec<Vec<u8>>,
}

impl Row for PinRequest {
    fn to_row(&self) -> Vec<u8> {
        let allocations = self.pin.options.user_allocations.iter();
        RequestRow {
            pin: self.pin.to_proto(),
            created_ms: self.created_ms,
            tags: self.tags.clone(),
            user_allocations: allocations.map(|id| id.as_bytes().to_vec()).collect(),
        }
        .encode_to_vec()
    }
}

/// A request from its row; the owner is in the key.
pub(super) fn read_request(owner: &[u8], row: &[u8]) -> Result<PinRequest, StateError> {
    let owner: Owner = std::str::from_utf8(owner)
        .map_err(|e| damaged("owner of a request", &e))?
        .parse()
        .map_err(|e| damaged("owner of a request", &e))?;
    let row = RequestRow::decode(row).map_err(|e| damaged("request", &e))?;
    let mut pin = Pin::from_proto(&row.pin).map_err(|e| damaged("pin of a request", &e))?;
    for id in row.user_allocations {
        let id = PeerId::from_bytes(&id).map_err(|e| damaged("worker of a request", &e))?;
        pin.options.user_allocations.push(id);
    }
    Ok(PinRequest {
        owner,
        pin,
        tags: row.tags,
        created_ms: row.created_ms,
    })
}

#[derive(Message)]
struct PlacementRow {
    #[prost(bool, tag = "1")]
    desired: bool,
    #[prost(uint32, tag = "2")]
    state: u32,
    #[prost(uint32, tag = "3")]
    attempt: u32,
    #[prost(uint64, tag = "4")]
    changed_ms: u64,
    /// Milliseconds after `changed_ms`, so that the number stays short.
    #[prost(sint64, tag = "5")]
    next_in_ms: i64,
    #[prost(uint64, tag = "6")]
    bytes: u64,
    #[prost(fixed32, tag = "7")]
    content: u32,
    #[prost(bool, tag = "8")]
    terminal: bool,
    #[prost(string, tag = "9")]
    error: String,
    #[prost(uint64, tag = "10")]
    heard: u64,
}

impl Row for Placement {
    fn to_row(&self) -> Vec<u8> {
        PlacementRow {
            desired: self.desired,
            state: self.state as u32,
            attempt: self.attempt,
            changed_ms: self.changed_ms,
            next_in_ms: self.next_ms.wrapping_sub(self.changed_ms).cast_signed(),
            bytes: self.bytes,
            content: self.content,
            terminal: self.terminal,
            error: self.error.clone(),
            heard: self.heard,
        }
        .encode_to_vec()
    }
}

/// A placement from its row; the peer is in the key.
pub(super) fn read_placement(peer: &[u8], row: &[u8]) -> Result<(PeerId, Placement), StateError> {
    let peer = PeerId::from_bytes(peer).map_err(|e| damaged("peer of a placement", &e))?;
    let row = PlacementRow::decode(row).map_err(|e| damaged("placement", &e))?;
    let state = PlacementState::from_code(row.state).ok_or_else(|| {
        damaged(
            "placement",
            &format!("state 0 to 4 expected, found {}", row.state),
        )
    })?;
    let placement = Placement {
        desired: row.desired,
        state,
        attempt: row.attempt,
        changed_ms: row.changed_ms,
        next_ms: row.changed_ms.wrapping_add(row.next_in_ms.cast_unsigned()),
        bytes: row.bytes,
        content: row.content,
        terminal: row.terminal,
        error: row.error,
        heard: row.heard,
    };
    Ok((peer, placement))
}

#[derive(Message)]
struct WorkerRow {
    #[prost(string, tag = "1")]
    name: String,
    #[prost(uint64, tag = "2")]
    seen_ms: u64,
    #[prost(uint64, tag = "3")]
    free: u64,
    #[prost(uint64, tag = "4")]
    used: u64,
    #[prost(uint64, optional, tag = "5")]
    pins: Option<u64>,
    #[prost(btree_map = "string, string", tag = "6")]
    tags: BTreeMap<String, String>,
    #[prost(uint32, tag = "7")]
    concurrency: u32,
    #[prost(string, optional, tag = "8")]
    failing: Option<String>,
    #[prost(fixed32, tag = "9")]
    content: u32,
    #[prost(bool, tag = "10")]
    exclusive: bool,
    #[prost(string, tag = "11")]
    ipfs_id: String,
    #[prost(string, repeated, tag = "12")]
    ipfs_addresses: Vec<String>,
    #[prost(string, tag = "13")]
    agent: String,
}

impl Row for Worker {
    fn to_row(&self) -> Vec<u8> {
        WorkerRow {
            name: self.name.clone(),
            seen_ms: self.seen_ms,
            free: self.free,
            used: self.used,
            pins: self.pins,
            tags: self.tags.clone(),
            concurrency: self.concurrency,
            failing: self.failing.clone(),
            content: self.content,
            exclusive: self.exclusive,
            ipfs_id: self.ipfs_id.clone(),
            ipfs_addresses: self.ipfs_addresses.clone(),
            agent: self.agent.clone(),
        }
        .encode_to_vec()
    }
}

/// A worker from its row; the id is in the key, and whether it drains in a row of its operator's.
pub(super) fn read_worker(id: &[u8], row: &[u8], draining: bool) -> Result<Worker, StateError> {
    let id = PeerId::from_bytes(id).map_err(|e| damaged("id of a worker", &e))?;
    let row = WorkerRow::decode(row).map_err(|e| damaged("worker", &e))?;
    Ok(Worker {
        id,
        name: row.name,
        seen_ms: row.seen_ms,
        free: row.free,
        used: row.used,
        pins: row.pins,
        tags: row.tags,
        concurrency: row.concurrency,
        draining,
        failing: row.failing,
        content: row.content,
        exclusive: row.exclusive,
        ipfs_id: row.ipfs_id,
        ipfs_addresses: row.ipfs_addresses,
        agent: row.agent,
    })
}

#[derive(Message)]
pub(super) struct OperationRow {
    #[prost(fixed64, tag = "1")]
    pub fingerprint: u64,
    #[prost(bytes = "vec", tag = "2")]
    pub answer: Vec<u8>,
}

#[derive(Message)]
pub(super) struct LeaseRow {
    #[prost(string, tag = "1")]
    pub holder: String,
    #[prost(uint64, tag = "2")]
    pub until_ms: u64,
}
