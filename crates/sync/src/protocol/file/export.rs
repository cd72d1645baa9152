//! Writing a file.

use bytes::{Bytes, BytesMut};

use super::MAGIC;
use super::reader::with_length;
use crate::clock::VectorClock;
use crate::log::{Replica, ReplicaError};
use crate::protocol::frame::{
    Body, Heads, Hello, MAX_OPERATIONS, OperationFrame, Operations, PART_BYTES, ProofFrame, Proofs,
    Same, SnapshotPart, VERSION,
};
use crate::protocol::marks::{forks, marks, split, write_heads};
use crate::protocol::session::{Copy, Failure};

/// Bytes of operations and records from which on a frame is written.
const FULL: usize = 1 << 20;

/// A file on its way out. It is to be read with one and the same copy from beginning to end.
#[derive(Debug)]
pub struct Export {
    /// What whoever reads the file has.
    theirs: VectorClock,
    archive: Option<Bytes>,
    stage: Stage,
    /// How many operations were written.
    operations: u64,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Stage {
    Head,
    Archive(usize),
    Operations,
    Proofs,
    End,
    Done,
}

impl Export {
    /// A file for those who have `since`, or nothing. `archive` is the snapshot for a device that has less than the log
    /// here, or no log at all.
    pub fn new(since: VectorClock, archive: Option<Bytes>) -> Self {
        Self {
            theirs: since,
            archive,
            stage: Stage::Head,
            operations: 0,
        }
    }

    /// How many operations were written.
    pub fn operations(&self) -> u64 {
        self.operations
    }

    /// The next bytes of the file, a few megabytes at most; `None` at its end.
    ///
    /// # Errors
    /// When the copy cannot be read, or has no log.
    pub fn next(&mut self, copy: &dyn Copy) -> Result<Option<Bytes>, Failure> {
        let Some(replica) = copy.replica() else {
            return Err(Failure::Protocol("a file of a repository without a log"));
        };
        loop {
            let body = match self.stage {
                Stage::Head => {
                    self.stage = Stage::Archive(0);
                    return Ok(Some(self.head(copy, replica)));
                }
                Stage::Archive(at) => self.part(at),
                Stage::Operations => {
                    let out = self.some_operations(copy, replica)?;
                    if out.is_some() {
                        return Ok(out);
                    }
                    self.stage = Stage::Proofs;
                    None
                }
                Stage::Proofs => {
                    self.stage = Stage::End;
                    proofs(copy, replica)?
                }
                Stage::End => {
                    self.stage = Stage::Done;
                    let (log, records) = marks(copy);
                    Some(Body::Same(Same { log, records }))
                }
                Stage::Done => return Ok(None),
            };
            if let Some(body) = body {
                return Ok(Some(with_length(&body.write())));
            }
        }
    }

    fn head(&self, copy: &dyn Copy, replica: &Replica) -> Bytes {
        let (log, records) = marks(copy);
        let hello = Hello {
            version: VERSION,
            repo: replica.repo().to_string(),
            log,
            records,
        };
        let heads = write_heads(replica);
        let mut out = BytesMut::from(MAGIC);
        out.extend_from_slice(&with_length(&Body::Hello(hello).write()));
        out.extend_from_slice(&with_length(&Body::Heads(Heads { heads }).write()));
        out.freeze()
    }

    fn part(&mut self, at: usize) -> Option<Body> {
        let archive = self.archive.clone().unwrap_or_default();
        if at >= archive.len() {
            self.archive = None;
            self.stage = Stage::Operations;
            return None;
        }
        let end = (at + PART_BYTES).min(archive.len());
        self.stage = Stage::Archive(end);
        Some(Body::SnapshotPart(SnapshotPart {
            bytes: archive.slice(at..end),
            total: archive.len() as u64,
        }))
    }

    fn some_operations(
        &mut self,
        copy: &dyn Copy,
        replica: &Replica,
    ) -> Result<Option<Bytes>, Failure> {
        let floor = replica.floor_clock(copy.rows())?;
        // What is before it comes by the snapshot.
        self.theirs.merge(&floor);
        let mut frame = Operations::default();
        let mut bytes = 0;
        while bytes < FULL && frame.operations.len() < MAX_OPERATIONS {
            // One at a time past the first: records may be large.
            let room = match bytes {
                0..=65_536 => 32.min(MAX_OPERATIONS - frame.operations.len()),
                _ => 1,
            };
            let missing = replica.missing(copy.rows(), &mut self.theirs, room)?;
            for outgoing in missing.operations {
                let value = match outgoing.value {
                    Some(cid) => copy.block(&cid)?.ok_or(Failure::Gone)?,
                    None => Bytes::new(),
                };
                bytes += outgoing.block.len() + value.len() + 16;
                frame.operations.push(OperationFrame {
                    block: outgoing.block,
                    value,
                });
            }
            if missing.gone {
                return Err(Failure::Gone);
            }
            if !missing.more {
                break;
            }
        }
        if frame.operations.is_empty() {
            return Ok(None);
        }
        self.operations += frame.operations.len() as u64;
        let mut out = BytesMut::new();
        for frame in split(frame) {
            out.extend_from_slice(&with_length(&Body::Operations(frame).write()));
        }
        Ok(Some(out.freeze()))
    }
}

fn proofs(copy: &dyn Copy, replica: &Replica) -> Result<Option<Body>, ReplicaError> {
    let mut proofs = Vec::new();
    for (writer, _) in forks(replica) {
        if let Some([one, other]) = replica.proof(copy.rows(), writer)? {
            proofs.push(ProofFrame { one, other });
        }
    }
    Ok((!proofs.is_empty()).then_some(Body::Proofs(Proofs { proofs })))
}
