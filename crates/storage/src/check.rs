//! Verifies a store: every block against its hash, references and blocks against each other, the log for gaps,
//! large objects for their chunks. It names what is damaged; everything that it does not name is sound.

mod report;

use std::collections::BTreeSet;
use std::ops::Bound;

use sha2::Digest as _;

use crate::Multihash;
use crate::block::{self, BlockRef};
use crate::engine::Reads;
use crate::error::StorageError;
use crate::format::{DIGEST_PREFIX, MhKey, digest_prefix, ks, prefix_end, read_u64};
use crate::objects::{Holder, ObjectId, parse_segment, segment_prefix};
use crate::store::Shared;
use crate::walk::PrefixWalk;

pub use self::report::{CheckProgress, CheckReport, CheckStage, Damage};

/// Rows between two calls of the progress function.
const STEP: u64 = 1024;

pub(crate) fn check(
    shared: &Shared,
    progress: &mut dyn FnMut(CheckProgress),
) -> Result<CheckReport, StorageError> {
    // A poisoned store can still be checked, without the blocks of its last moments.
    if shared.queue.poisoned().is_none() {
        shared.move_nursery()?;
    }
    let reads = shared.engine.snapshot();
    let (first, last) = (shared.log.first_seq(), shared.log.last_durable());
    let mut check = Check {
        reads: &*reads,
        report: CheckReport::default(),
        headers: BTreeSet::new(),
        progress,
    };
    check.blocks()?;
    check.references()?;
    check.log(first, last)?;
    check.objects()?;
    Ok(check.report)
}

struct Check<'a> {
    reads: &'a dyn Reads,
    report: CheckReport,
    /// Code and length of the multihashes that occur, as they stand in the keys.
    headers: BTreeSet<Vec<u8>>,
    progress: &'a mut dyn FnMut(CheckProgress),
}

impl Check<'_> {
    fn step(&mut self, stage: CheckStage, rows: u64) {
        if rows.is_multiple_of(STEP) {
            (self.progress)(CheckProgress { stage, rows });
        }
    }

    fn blocks(&mut self) -> Result<(), StorageError> {
        let mut refs = PrefixWalk::new(self.reads, ks::REFS);
        for row in self
            .reads
            .scan(ks::BLOCKS, Bound::Unbounded, Bound::Unbounded)
        {
            self.step(CheckStage::Blocks, self.report.blocks);
            self.report.blocks += 1;
            let (key, row) = match row {
                Ok(row) => row,
                Err(e) => {
                    // The engine's own checksum failed; it cannot say where the next row begins.
                    self.report.damage(Damage::Unreadable {
                        keyspace: "blocks",
                        what: e.to_string(),
                    });
                    break;
                }
            };
            let Ok(mh) = Multihash::from_bytes(&key) else {
                self.report.damage(Damage::Unreadable {
                    keyspace: "blocks",
                    what: format!("key {key:?}"),
                });
                continue;
            };
            if let Some(header) = key
                .len()
                .checked_sub(mh.digest().len())
                .and_then(|n| key.get(..n))
            {
                self.headers.insert(header.to_vec());
            }
            match block::decode(row) {
                Ok(bytes) => {
                    self.report.block_bytes += bytes.len() as u64;
                    match matches(&mh, &bytes) {
                        Some(true) => {}
                        Some(false) => self.report.damage(Damage::BlockContent { multihash: mh }),
                        None => self.report.unverifiable += 1,
                    }
                }
                Err(_) => self.report.damage(Damage::BlockContent { multihash: mh }),
            }
            if !refs.has(&digest_prefix(&mh))? {
                if self.reads.contains(ks::RETIRED, &key)? {
                    self.report.awaiting_collection += 1;
                } else {
                    self.report.damage(Damage::OrphanedBlock { multihash: mh });
                }
            }
        }
        Ok(())
    }

    fn references(&mut self) -> Result<(), StorageError> {
        let reads = self.reads;
        let mut walks: Vec<_> = self
            .headers
            .iter()
            .map(|header| (header.clone(), PrefixWalk::new(reads, ks::BLOCKS)))
            .collect();
        for row in reads.scan(ks::REFS, Bound::Unbounded, Bound::Unbounded) {
            self.step(CheckStage::References, self.report.references);
            self.report.references += 1;
            let Some(key) = self.readable("refs", row)?.map(|(key, _)| key) else {
                return Ok(());
            };
            let Some((digest, by)) = parse_ref(&key) else {
                self.report.damage(Damage::Unreadable {
                    keyspace: "refs",
                    what: format!("key {key:?}"),
                });
                continue;
            };
            let mut found = false;
            for (header, walk) in &mut walks {
                let short = self.digest_len(header).min(DIGEST_PREFIX);
                let prefix = [&header[..], digest.get(..short).unwrap_or_default()].concat();
                found = found || walk.has(&prefix)?;
            }
            if !found {
                self.report.damage(Damage::MissingBlock { digest, by });
            }
        }
        Ok(())
    }

    /// The digest length that a multihash header announces in its last byte.
    fn digest_len(&self, header: &[u8]) -> usize {
        header.last().map_or(0, |&n| n.into())
    }

    fn log(&mut self, first: u64, last: u64) -> Result<(), StorageError> {
        let mut expected = first;
        for row in self.reads.scan(
            ks::LOG,
            Bound::Unbounded,
            Bound::Included(&last.to_be_bytes()),
        ) {
            self.step(CheckStage::Log, self.report.events);
            let Some(key) = self.readable("log", row)?.map(|(key, _)| key) else {
                return Ok(());
            };
            let Some(seq) = read_u64(&key) else {
                self.report.damage(Damage::Unreadable {
                    keyspace: "log",
                    what: format!("key {key:?}"),
                });
                continue;
            };
            self.report.events += 1;
            if seq > expected {
                self.report.damage(Damage::LogGap {
                    first: expected,
                    last: seq - 1,
                });
            }
            expected = seq.saturating_add(1);
        }
        if expected <= last {
            self.report.damage(Damage::LogGap {
                first: expected,
                last,
            });
        }
        Ok(())
    }

    fn objects(&mut self) -> Result<(), StorageError> {
        for row in self
            .reads
            .scan(ks::OBJECTS, Bound::Included(b"o"), Bound::Excluded(b"p"))
        {
            self.step(CheckStage::Objects, self.report.objects);
            self.report.objects += 1;
            let Some((key, row)) = self.readable("objects", row)? else {
                return Ok(());
            };
            let id = key
                .get(1..33)
                .and_then(|id| id.try_into().ok())
                .map(ObjectId);
            let (Some(id), Ok(holder)) = (id, Holder::parse(&row)) else {
                self.report.damage(Damage::Unreadable {
                    keyspace: "objects",
                    what: format!("key {key:?}"),
                });
                continue;
            };
            if !self.object_is_whole(holder)? {
                self.report.damage(Damage::Object { id });
            }
        }
        Ok(())
    }

    /// Whether all chunks of an object are there; their content is checked with the blocks.
    fn object_is_whole(&self, holder: Holder) -> Result<bool, StorageError> {
        let prefix = segment_prefix(holder.upload);
        let end = prefix_end(&prefix);
        let to = end.as_deref().map_or(Bound::Unbounded, Bound::Excluded);
        let mut size = 0;
        for row in self.reads.scan(ks::OBJECTS, Bound::Included(&prefix), to) {
            let Ok(entries) = parse_segment(&row?.1) else {
                return Ok(false);
            };
            for entry in entries {
                size += u64::from(entry.len);
                if !self
                    .reads
                    .contains(ks::BLOCKS, MhKey::new(&entry.multihash()).as_ref())?
                {
                    return Ok(false);
                }
            }
        }
        Ok(size == holder.size)
    }

    /// A row of a scan, or a note in the report that the keyspace is readable only up to here.
    fn readable(
        &mut self,
        keyspace: &'static str,
        row: crate::engine::Row,
    ) -> Result<Option<(bytes::Bytes, bytes::Bytes)>, StorageError> {
        match row {
            Ok(row) => Ok(Some(row)),
            Err(e) => {
                self.report.damage(Damage::Unreadable {
                    keyspace,
                    what: e.to_string(),
                });
                Ok(None)
            }
        }
    }
}

/// Digest prefix and holder of a reference row.
fn parse_ref(key: &[u8]) -> Option<([u8; DIGEST_PREFIX], BlockRef)> {
    let (digest, rest) = key.split_at_checked(DIGEST_PREFIX)?;
    let (owner, slot) = rest.split_at_checked(8)?;
    Some((
        digest.try_into().ok()?,
        BlockRef {
            owner: read_u64(owner)?,
            slot: read_u64(slot)?,
        },
    ))
}

/// Whether bytes have the given hash; `None` for a hash function that is not known here.
fn matches(mh: &Multihash, bytes: &[u8]) -> Option<bool> {
    let digest = mh.digest();
    match mh.code() {
        0x00 => Some(digest == bytes),
        0x12 => Some(digest == &sha2::Sha256::digest(bytes)[..]),
        0x13 => Some(digest == &sha2::Sha512::digest(bytes)[..]),
        0x1e => Some(digest == blake3::hash(bytes).as_bytes()),
        _ => None,
    }
}
