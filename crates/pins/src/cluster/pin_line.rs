//! A line of `GET /allocations`: the pin of a CID and where it is to be.

use std::sync::Arc;

use multiaddr::Multiaddr;

use crate::model::{GoTime, PeerId, Pin, PinOptions};
use crate::placement::{PinRecord, Placement};
use crate::planner::Policy;

use super::faces::Faces;
use super::pen::{self, Pen};

/// Writes pins.
#[derive(Clone)]
pub(super) struct PinWriter {
    faces: Arc<Faces>,
    policy: Policy,
    pen: Pen,
}

impl PinWriter {
    pub(super) fn new(faces: Arc<Faces>, policy: Policy) -> Self {
        let pen = Pen::new();
        Self { faces, policy, pen }
    }

    /// The pin of a record, and the end of the line. Nothing if nobody wants it.
    pub(super) fn line(&mut self, out: &mut Vec<u8>, record: &PinRecord) {
        if let Some(wanted) = &record.wanted {
            self.pin(out, &wanted.pin, record);
            out.push(b'\n');
        }
    }

    /// A pin whose placements are those of the record.
    pub(super) fn pin(&mut self, out: &mut Vec<u8>, pin: &Pin, record: &PinRecord) {
        let (min, max) = replication(&pin.options, &self.policy);
        out.extend_from_slice(b"{\"replication_factor_min\":");
        pen::number(out, min.into());
        out.extend_from_slice(b",\"replication_factor_max\":");
        pen::number(out, max.into());
        self.options(out, &pin.options);
        out.extend_from_slice(b",\"cid\":");
        self.pen.cid(out, &pin.cid);
        out.extend_from_slice(b",\"type\":\"");
        out.extend_from_slice(pin.kind.name().as_bytes());
        out.extend_from_slice(b"\",\"allocations\":[");
        self.allocations(out, pin, record);
        out.extend_from_slice(b"],\"max_depth\":");
        pen::number(out, pin.max_depth.into());
        out.extend_from_slice(b",\"reference\":");
        match &pin.reference {
            Some(cid) => self.pen.cid(out, cid),
            None => out.extend_from_slice(b"null"),
        }
        out.extend_from_slice(b",\"timestamp\":");
        match pin.timestamp {
            0 => pen::json(out, &GoTime::ZERO),
            seconds => self.pen.seconds(out, seconds),
        }
        out.push(b'}');
    }

    fn options(&mut self, out: &mut Vec<u8>, options: &PinOptions) {
        out.extend_from_slice(b",\"name\":");
        pen::text(out, &options.name);
        out.extend_from_slice(b",\"mode\":\"");
        out.extend_from_slice(options.mode.name().as_bytes());
        out.extend_from_slice(b"\",\"shard_size\":");
        pen::json(out, &options.shard_size);
        out.extend_from_slice(b",\"user_allocations\":");
        if options.user_allocations.is_empty() {
            out.extend_from_slice(b"null");
        } else {
            out.push(b'[');
            let faces = &self.faces;
            pen::joined(out, &options.user_allocations, |out, id| {
                faces.quoted(out, id)
            });
            out.push(b']');
        }
        out.extend_from_slice(b",\"expire_at\":");
        self.pen.end(out, options.expire_at);
        out.extend_from_slice(b",\"metadata\":");
        metadata(out, options);
        out.extend_from_slice(b",\"pin_update\":");
        match &options.pin_update {
            Some(cid) => self.pen.cid(out, cid),
            None => out.extend_from_slice(b"null"),
        }
        out.extend_from_slice(b",\"origins\":");
        origins(out, options);
    }

    /// The workers that should have it; none for "on every one".
    fn allocations(&self, out: &mut Vec<u8>, pin: &Pin, record: &PinRecord) {
        if everywhere(&pin.options, &self.policy) {
            return;
        }
        let faces = &self.faces;
        let desired = record.placements.iter().filter(|(_, p)| p.desired);
        pen::joined::<(PeerId, Placement), _>(out, desired, |out, (id, _)| faces.quoted(out, id));
    }
}

/// Fewest and most copies, with the service's defaults.
pub(super) fn replication(options: &PinOptions, policy: &Policy) -> (i32, i32) {
    let or = |asked: i32, default: i32| if asked == 0 { default } else { asked };
    (
        or(options.replication_min, policy.replication_min),
        or(options.replication_max, policy.replication_max),
    )
}

/// Whether it is to be on every worker.
pub(super) fn everywhere(options: &PinOptions, policy: &Policy) -> bool {
    let (min, max) = replication(options, policy);
    min < 0 || max < 0
}

/// Metadata as an object; `null` when there is none.
pub(super) fn metadata(out: &mut Vec<u8>, options: &PinOptions) {
    if options.metadata.is_empty() {
        out.extend_from_slice(b"null");
        return;
    }
    out.push(b'{');
    pen::joined::<(String, String), _>(out, &options.metadata, |out, (key, value)| {
        pen::text(out, key);
        out.push(b':');
        pen::text(out, value);
    });
    out.push(b'}');
}

/// Origins as a list.
pub(super) fn origins(out: &mut Vec<u8>, options: &PinOptions) {
    out.push(b'[');
    pen::joined::<Multiaddr, _>(out, &options.origins, pen::json);
    out.push(b']');
}
