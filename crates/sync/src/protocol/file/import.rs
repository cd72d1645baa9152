//! Taking a file in.

use bytes::{Bytes, BytesMut};

use super::FileError;
use crate::log::{Admitted, Incoming};
use crate::operation::Operation;
use crate::protocol::MAX_ARCHIVE_BYTES;
use crate::protocol::frame::{Body, Frame, Operations, VERSION};
use crate::protocol::marks::marks;
use crate::protocol::session::{Copy, Taken};

/// Most different reasons that a report names.
const MAX_REASONS: usize = 16;

/// What has to be done with a frame.
#[derive(Debug)]
pub enum ImportAction {
    /// Nothing.
    Nothing,
    /// The file is about this repository.
    Begin(String),
    /// A snapshot: begin the log with it, or take it in if it has what is not here.
    Snapshot(Bytes),
    /// Take these in, make them durable, and say so with [`Import::taken`].
    Admit(Vec<Incoming>),
    /// Take these proofs in, make them durable, and say so with [`Import::taken`].
    AdmitProofs(Vec<[Bytes; 2]>),
}

/// What became of a file.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Report {
    /// Operations that were taken in.
    pub new: u64,
    /// Operations that were here.
    pub known: u64,
    /// Operations that wait until it turns out whether they count.
    pub waiting: u64,
    /// Writers that were found out to have signed two operations with one number.
    pub forks: u64,
    /// Operations and proofs that were refused.
    pub refused: u64,
    /// Why, with how many of each.
    pub reasons: Vec<(String, u64)>,
    /// Whether this device now has what the other one had, no more and no less.
    pub equal: bool,
}

/// A file on its way in.
#[derive(Debug, Default)]
pub struct Import {
    begun: bool,
    ended: Option<Bytes>,
    archive: BytesMut,
    report: Report,
}

impl Import {
    /// Reads the next frame.
    ///
    /// # Errors
    /// When it does not belong there.
    pub fn receive(&mut self, frame: Bytes) -> Result<ImportAction, FileError> {
        if self.ended.is_some() {
            return Err(FileError::Malformed("it goes on behind its end"));
        }
        match Frame::read(frame)? {
            Body::Hello(hello) if !self.begun => {
                if hello.version != VERSION {
                    return Err(FileError::Malformed("it is of another version"));
                }
                self.begun = true;
                Ok(ImportAction::Begin(hello.repo))
            }
            _ if !self.begun => Err(FileError::Malformed("it does not begin with Hello")),
            Body::Heads(_) => Ok(ImportAction::Nothing),
            Body::SnapshotPart(part) => {
                let len = (self.archive.len() + part.bytes.len()) as u64;
                if part.total > MAX_ARCHIVE_BYTES || len > part.total || part.bytes.is_empty() {
                    return Err(FileError::Malformed(
                        "a snapshot larger than it may be or said",
                    ));
                }
                self.archive.extend_from_slice(&part.bytes);
                if len < part.total {
                    return Ok(ImportAction::Nothing);
                }
                let archive = std::mem::take(&mut self.archive).freeze();
                Ok(ImportAction::Snapshot(archive))
            }
            Body::Operations(operations) => Ok(ImportAction::Admit(read(operations)?)),
            Body::Proofs(proofs) => {
                let proofs = proofs.proofs.into_iter().map(|p| [p.one, p.other]);
                Ok(ImportAction::AdmitProofs(proofs.collect()))
            }
            Body::Same(same) => {
                self.ended = Some(same.log);
                Ok(ImportAction::Nothing)
            }
            _ => Err(FileError::Malformed("a frame that does not belong there")),
        }
    }

    /// What an action asked for is durable.
    pub fn taken(&mut self, taken: &Taken) {
        for result in &taken.results {
            match result {
                Ok(Admitted::New) => self.report.new += 1,
                Ok(Admitted::Known) => self.report.known += 1,
                Ok(Admitted::Beyond) => self.report.waiting += 1,
                Ok(Admitted::Fork(_)) => self.report.forks += 1,
                Ok(Admitted::Diverged { writer, seq }) => self.refused(format!(
                    "writer {writer} has another chain here, from operation {seq} or before"
                )),
                Err(refused) => self.refused(refused.kind().to_owned()),
            }
        }
    }

    fn refused(&mut self, reason: String) {
        self.report.refused += 1;
        let reasons = &mut self.report.reasons;
        if let Some(known) = reasons.iter_mut().find(|(known, _)| *known == reason) {
            known.1 += 1;
        } else if reasons.len() < MAX_REASONS {
            reasons.push((reason, 1));
        }
    }

    /// What became of all of it. `copy` is the copy now.
    ///
    /// # Errors
    /// [`FileError::CutOff`] when the file has not come to its end.
    pub fn finish(mut self, copy: &dyn Copy) -> Result<Report, FileError> {
        let Some(log) = self.ended else {
            return Err(FileError::CutOff);
        };
        self.report.equal = marks(copy).0 == log;
        Ok(self.report)
    }
}

fn read(frame: Operations) -> Result<Vec<Incoming>, FileError> {
    let mut batch = Vec::with_capacity(frame.operations.len());
    for one in frame.operations {
        let operation = Operation::decode(one.block)
            .map_err(|_| FileError::Malformed("something that is no operation"))?;
        let has_value = operation.payload.action.value().is_some();
        batch.push(Incoming {
            operation,
            value: has_value.then_some(one.value),
        });
    }
    Ok(batch)
}
