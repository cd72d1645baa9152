//! The workers as peers of a cluster, with the parts of the JSON that are the same in every line.

use std::collections::HashMap;

use crate::fleet::{Fleet, Worker};
use crate::model::PeerId;

use super::pen;

/// A worker, as it is shown.
#[derive(Clone, Debug)]
pub(super) struct Face {
    pub id: PeerId,
    /// The id, quoted.
    pub quoted: Vec<u8>,
    /// How an entry of a `peer_map` begins, up to the status.
    pub head: Vec<u8>,
}

/// All workers, in the order of their ids as text: Go writes maps so.
#[derive(Clone, Debug, Default)]
pub(super) struct Faces {
    all: Vec<Face>,
    by_id: HashMap<PeerId, usize>,
}

impl Faces {
    /// Of these workers; only of one of them if `only` names it.
    pub(super) fn new(fleet: &Fleet, only: Option<&PeerId>) -> Self {
        let shown = |worker: &&Worker| only.is_none_or(|id| *id == worker.id);
        let mut all: Vec<Face> = fleet
            .workers()
            .iter()
            .filter(shown)
            .map(Face::new)
            .collect();
        all.sort_by(|a, b| a.quoted.cmp(&b.quoted));
        let by_id = all.iter().enumerate();
        let by_id = by_id.map(|(at, face)| (face.id.clone(), at)).collect();
        Self { all, by_id }
    }

    /// All of them.
    pub(super) fn all(&self) -> &[Face] {
        &self.all
    }

    /// Whether a worker is among them.
    pub(super) fn contains(&self, id: &PeerId) -> bool {
        self.by_id.contains_key(id)
    }

    /// The id of a worker, quoted.
    pub(super) fn quoted(&self, out: &mut Vec<u8>, id: &PeerId) {
        match self.by_id.get(id).and_then(|at| self.all.get(*at)) {
            Some(face) => out.extend_from_slice(&face.quoted),
            None => pen::json(out, id),
        }
    }
}

impl Face {
    fn new(worker: &Worker) -> Self {
        let mut face = Self::named(&worker.id, &worker.name);
        if !worker.ipfs_id.is_empty() {
            face.head.extend_from_slice(b",\"ipfs_peer_id\":");
            pen::text(&mut face.head, &worker.ipfs_id);
        }
        if !worker.ipfs_addresses.is_empty() {
            face.head.extend_from_slice(b",\"ipfs_peer_addresses\":");
            pen::json(&mut face.head, &worker.ipfs_addresses);
        }
        face.head.extend_from_slice(b",\"status\":\"");
        face
    }

    /// A worker that is known by its placements only.
    pub(super) fn unknown(id: &PeerId) -> Self {
        let mut face = Self::named(id, "");
        face.head.extend_from_slice(b",\"status\":\"");
        face
    }

    fn named(id: &PeerId, name: &str) -> Self {
        let mut quoted = Vec::new();
        pen::json(&mut quoted, id);
        let mut head = quoted.clone();
        head.extend_from_slice(b":{\"peername\":");
        pen::text(&mut head, name);
        Self {
            id: id.clone(),
            quoted,
            head,
        }
    }
}
