//! A line of `GET /pins`: how a pin fares on the workers; IPFS-Cluster's `api.GlobalPinInfo`.

use std::sync::Arc;

use crate::model::{PeerId, PinOptions, TrackerStatus};
use crate::placement::{PinRecord, Placement, PlacementState};
use crate::planner::Policy;

use super::faces::{Face, Faces};
use super::pen::{self, Pen};
use super::pin_line::{everywhere, metadata, origins};

/// What a worker without its content is told to look for.
const LOST: &str = "the content is not there, although it should be";

/// Writes how pins fare.
#[derive(Clone)]
pub(super) struct StatusWriter {
    faces: Arc<Faces>,
    /// Whether only one worker is shown.
    narrow: bool,
    policy: Policy,
    pen: Pen,
}

/// How a pin fares on one worker.
struct Fare<'a> {
    status: TrackerStatus,
    placement: Option<&'a Placement>,
}

impl StatusWriter {
    /// For these workers, or for one of them.
    pub(super) fn new(faces: Arc<Faces>, narrow: bool, policy: Policy) -> Self {
        Self {
            faces,
            narrow,
            policy,
            pen: Pen::new(),
        }
    }

    /// A line of a listing: only the workers that pass the filter, and nothing if none does. What nobody wants any
    /// more is shown to those who ask for it by a filter, until it is gone.
    pub(super) fn listed(
        &mut self,
        out: &mut Vec<u8>,
        record: &PinRecord,
        filter: TrackerStatus,
        now_ms: u64,
    ) {
        if record.wanted.is_none() && filter == TrackerStatus::UNDEFINED {
            return;
        }
        let before = out.len();
        let shown =
            |status: TrackerStatus| status != TrackerStatus::UNPINNED && status.matches(filter);
        if !self.write(out, record, shown, now_ms) {
            out.truncate(before);
        }
    }

    /// A record by itself, with all workers; `now_ms` is when it was looked at.
    pub(super) fn single(&mut self, out: &mut Vec<u8>, record: &PinRecord, now_ms: u64) {
        self.write(out, record, |_| true, now_ms);
    }

    /// A line with the workers whose status is to be shown; whether there are any. First all workers in the order of their ids as text, then those
    /// that were removed and still have a placement.
    fn write(
        &mut self,
        out: &mut Vec<u8>,
        record: &PinRecord,
        shown: impl Fn(TrackerStatus) -> bool,
        now_ms: u64,
    ) -> bool {
        let faces = Arc::clone(&self.faces);
        self.head(out, record, now_ms);
        let head = out.len();
        let nowhere = elsewhere(record);
        let wanted = record.wanted.is_some();
        for face in faces.all() {
            let placement = record.placement(&face.id);
            let status = placement.map_or(nowhere, |p| status(p, wanted));
            if shown(status) {
                separate(out, head);
                let fare = Fare { status, placement };
                self.fare(out, record, face, &fare, now_ms);
            }
        }
        let known = |id: &PeerId| self.narrow || faces.contains(id);
        let gone: Vec<_> = record
            .placements
            .iter()
            .filter(|(id, _)| !known(id))
            .collect();
        for (id, placement) in gone {
            let status = status(placement, wanted);
            if shown(status) {
                separate(out, head);
                let placement = Some(placement);
                let fare = Fare { status, placement };
                self.fare(out, record, &Face::unknown(id), &fare, now_ms);
            }
        }
        let any = out.len() > head;
        out.extend_from_slice(b"}}\n");
        any
    }

    /// What is the same on all workers.
    fn head(&mut self, out: &mut Vec<u8>, record: &PinRecord, now_ms: u64) {
        let nothing = PinOptions::default();
        let wanted = record.wanted.as_ref().map(|wanted| &wanted.pin);
        let options = wanted.map_or(&nothing, |pin| &pin.options);
        out.extend_from_slice(b"{\"cid\":");
        self.pen.cid(out, &record.cid);
        out.extend_from_slice(b",\"name\":");
        pen::text(out, &options.name);
        out.extend_from_slice(b",\"allocations\":[");
        if wanted.is_some() && !everywhere(options, &self.policy) {
            let desired = record.placements.iter().filter(|(_, p)| p.desired);
            let faces = &self.faces;
            pen::joined::<(PeerId, Placement), _>(out, desired, |out, (id, _)| {
                faces.quoted(out, id);
            });
        }
        out.extend_from_slice(b"],\"origins\":");
        origins(out, options);
        out.extend_from_slice(b",\"created\":");
        match wanted {
            Some(pin) => self.pen.seconds(out, pin.timestamp),
            None => self.pen.millis(out, now_ms),
        }
        out.extend_from_slice(b",\"metadata\":");
        metadata(out, options);
        out.extend_from_slice(b",\"peer_map\":{");
    }

    /// How the pin fares on one worker.
    fn fare(
        &mut self,
        out: &mut Vec<u8>,
        record: &PinRecord,
        face: &Face,
        fare: &Fare<'_>,
        now_ms: u64,
    ) {
        let placement = fare.placement;
        out.extend_from_slice(&face.head);
        out.extend_from_slice(fare.status.name().as_bytes());
        out.extend_from_slice(b"\",\"timestamp\":");
        match (placement, &record.wanted) {
            (Some(placement), _) => self.pen.millis(out, placement.changed_ms),
            (None, Some(wanted)) => self.pen.seconds(out, wanted.pin.timestamp),
            (None, None) => self.pen.millis(out, now_ms),
        }
        out.extend_from_slice(b",\"error\":");
        let error = placement.map_or("", |p| match (p.state, p.desired) {
            (PlacementState::Unpinned, true) => LOST,
            (PlacementState::Error, _) => &p.error,
            _ => "",
        });
        pen::text(out, error);
        // As the original, which forgets what it did once it is done.
        let settled = |p: &&Placement| p.is_pinned() || p.state == PlacementState::Unpinned;
        let attempts = placement.filter(|p| !settled(p)).map_or(0, |p| p.attempt);
        out.extend_from_slice(b",\"attempt_count\":");
        pen::number(out, attempts.into());
        out.extend_from_slice(b",\"priority_pin\":false}");
    }
}

fn separate(out: &mut Vec<u8>, head: usize) {
    if out.len() > head {
        out.push(b',');
    }
}

/// The status on a worker that has no part in it. While no worker is chosen, the pin waits on all of them: "remote"
/// would say that it is kept somewhere.
fn elsewhere(record: &PinRecord) -> TrackerStatus {
    if record.wanted.is_none() {
        TrackerStatus::UNPINNED
    } else if record.placements.iter().any(|(_, p)| p.desired) {
        TrackerStatus::REMOTE
    } else {
        TrackerStatus::PIN_QUEUED
    }
}

/// What a placement is in the words of IPFS-Cluster.
pub(super) fn status(placement: &Placement, wanted: bool) -> TrackerStatus {
    match (placement.state, placement.desired) {
        (PlacementState::Queued, true) => TrackerStatus::PIN_QUEUED,
        (PlacementState::Pinning, true) => TrackerStatus::PINNING,
        (PlacementState::Pinned, true) => TrackerStatus::PINNED,
        (PlacementState::Error, true) => TrackerStatus::PIN_ERROR,
        (PlacementState::Unpinned, true) => TrackerStatus::UNEXPECTEDLY_UNPINNED,
        (PlacementState::Queued | PlacementState::Pinned, false) => TrackerStatus::UNPIN_QUEUED,
        (PlacementState::Pinning, false) => TrackerStatus::UNPINNING,
        (PlacementState::Error, false) => TrackerStatus::UNPIN_ERROR,
        (PlacementState::Unpinned, false) if wanted => TrackerStatus::REMOTE,
        (PlacementState::Unpinned, false) => TrackerStatus::UNPINNED,
    }
}
