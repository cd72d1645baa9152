//! An archive on its way to being the content of a repository: verified and stored in one walk, batch by batch.

use ues_data::Cid;
use ues_data::car::CarFile;
use ues_storage::{Batch, Pages, StorageError, Ticket};

use crate::syntax::{Did, Tid};

use super::blobs;
use super::import::blobs_in;
use super::lane::Surroundings;
use super::layout::{
    Head, Numbers, node_ref, read_record_value, record_key, record_ref, record_value,
};
use super::loose::Loose;
use super::usage::{Growth, Room, Usage};
use super::verify::{Part, verify};
use super::write::{RecordPath, WriteError};

/// Bytes of one batch. Another may be on its way to the disk meanwhile.
const SLICE_BYTES: usize = 2 << 20;

/// An archive whose hashes are right.
pub(super) struct Source {
    pub archive: CarFile,
    pub root: Cid,
}

/// What an archive would make of a repository.
pub(super) struct Composed {
    /// The head with which it was compared.
    pub base: Head,
    /// Records of the archive.
    pub records: u64,
    /// Their bytes.
    pub bytes: u64,
    /// What is to be put in place; `None` if the repository has the same tree.
    pub content: Option<Content>,
}

/// Content that is stored but for the last batch.
pub(super) struct Content {
    /// Root of the tree.
    pub data: Cid,
    /// The revision that it is of.
    pub rev: Tid,
    /// What is left to be written.
    pub batch: Batch,
}

impl Source {
    /// Verifies the archive, and stores it as the content of a number unless the repository of this head has the same tree,
    /// or no room for it. Blocks on the disk.
    ///
    /// It may be done again under the same number, when the repository has changed.
    pub fn compose(
        &self,
        around: &Surroundings,
        did: &Did,
        head: &Head,
        number: u64,
        room: Room,
        usage: Usage,
    ) -> Result<Composed, WriteError> {
        let mut writer = Writer {
            around,
            did,
            numbers: Numbers {
                owner: head.owner,
                content: number,
            },
            data: None,
            rev: around.clock.tick_after(&head.rev),
            before: around.ks.records.in_pages(head.content.to_be_bytes()),
            next_before: None,
            batch: around.store.batch(),
            ticket: None,
        };
        writer.step()?;
        let (mut records, mut bytes, mut writes) = (0, 0, true);
        let verified = verify(&self.archive, self.root, None, |part| match part {
            Part::Node(cid, node) => {
                let root = *writer.data.get_or_insert(*cid);
                writes &= root != head.data;
                match writes {
                    true => writer.node(cid, node),
                    false => Ok(()),
                }
            }
            Part::Record(path, cid, record) => {
                records += 1;
                bytes += record.len() as u64;
                // What is too large is walked through to its end, to say by how much.
                let growth = Growth {
                    records: i64::try_from(records).unwrap_or(i64::MAX)
                        - usage.records.cast_signed(),
                    bytes: i64::try_from(bytes).unwrap_or(i64::MAX)
                        - usage.record_bytes.cast_signed(),
                };
                writes &= room.admit(usage, growth).is_ok();
                match writes {
                    true => writer.record(path, cid, record),
                    false => Ok(()),
                }
            }
        });
        // Also when the archive is refused: what was written is to be found then.
        writer.written()?;
        let verified = verified?;
        let same = verified.data == head.data;
        Ok(Composed {
            base: head.clone(),
            records,
            bytes,
            content: match same {
                true => None,
                false => Some(Content {
                    data: verified.data,
                    rev: writer.rev,
                    batch: writer.batch,
                }),
            },
        })
    }
}

/// Writes what the walk has verified.
struct Writer<'a> {
    around: &'a Surroundings,
    did: &'a Did,
    numbers: Numbers,
    data: Option<Cid>,
    rev: Tid,
    /// Rows of the records that the repository has, in the order of the walk.
    before: Pages,
    next_before: Option<(Vec<u8>, Cid, Tid)>,
    batch: Batch,
    ticket: Option<Ticket>,
}

impl Writer<'_> {
    fn node(&mut self, cid: &Cid, bytes: &[u8]) -> Result<(), WriteError> {
        let held = node_ref(self.numbers.content);
        self.batch
            .put_block_marked(cid.hash(), bytes, held, self.rev.number());
        self.keep_small()
    }

    fn record(
        &mut self,
        path: &RecordPath,
        cid: &Cid,
        bytes: &bytes::Bytes,
    ) -> Result<(), WriteError> {
        let content = self.numbers.content;
        // A record that stays is as old as it was.
        let rev = self.revision_before(path, cid)?.unwrap_or(self.rev);
        let path = path.as_str();
        self.batch
            .put_block(cid.hash(), bytes, record_ref(content, path));
        let row = record_key(content, path);
        self.batch
            .put(&self.around.ks.records, row, record_value(cid, &rev));
        for blob in blobs_in(bytes) {
            let hash = blob.hash().to_bytes();
            blobs::refer(
                self.around,
                self.numbers,
                path,
                &hash,
                &rev,
                &mut self.batch,
            )
            .map_err(storage)?;
        }
        self.keep_small()
    }

    /// The revision that wrote the same record at the same path.
    fn revision_before(&mut self, path: &RecordPath, cid: &Cid) -> Result<Option<Tid>, WriteError> {
        let path = path.as_str().as_bytes();
        while let Some((key, before, rev)) = &self.next_before {
            if key.as_slice() < path {
                self.step()?;
                continue;
            }
            return Ok((key == path && before == cid).then_some(*rev));
        }
        Ok(None)
    }

    /// Goes to the next row of what the repository has. One that cannot be read tells nothing.
    fn step(&mut self) -> Result<(), WriteError> {
        self.next_before = None;
        for row in self.before.by_ref() {
            let (key, value) = row.map_err(storage)?;
            if let (Some(path), Some((cid, rev))) = (key.get(8..), read_record_value(&value)) {
                self.next_before = Some((path.to_vec(), cid, rev));
                return Ok(());
            }
        }
        Ok(())
    }

    /// Hands a batch that has grown to the committer, when it is done with the one before.
    fn keep_small(&mut self) -> Result<(), WriteError> {
        if self.batch.bytes() < SLICE_BYTES {
            return Ok(());
        }
        let store = &self.around.store;
        let fresh = Batch::with_capacity(self.batch.len(), SLICE_BYTES / 4);
        let mut full = std::mem::replace(&mut self.batch, fresh);
        // After a crash this leads to all that is written here.
        if let Some(data) = self.data {
            let loose = Loose {
                did: self.did.clone(),
                data,
                replaced: None,
            };
            let key = self.numbers.content.to_be_bytes();
            full.put(&self.around.ks.loose, key, loose.encode());
        }
        self.written()?;
        self.ticket = Some(store.submit(full).map_err(failed)?);
        Ok(())
    }

    fn written(&mut self) -> Result<(), WriteError> {
        match self.ticket.take() {
            Some(ticket) => ticket.wait().map(drop).map_err(failed),
            None => Ok(()),
        }
    }
}

fn failed(e: impl std::fmt::Display) -> WriteError {
    WriteError::Storage(e.to_string())
}

fn storage(e: StorageError) -> WriteError {
    WriteError::Storage(e.to_string())
}
