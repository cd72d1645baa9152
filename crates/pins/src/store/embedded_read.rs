//! Reads of the embedded state store, all of one moment.

use std::iter::Peekable;
use std::ops::Bound;

use bytes::Bytes;
use ues_data::Cid;
use ues_storage::{Scan, Snapshot, StorageError};

use super::embedded::{Spaces, draining_key};
use super::{End, OwnerPage, OwnerQuery, StateError, TokenRange, key, rows};
use crate::Owner;
use crate::fleet::Worker;
use crate::placement::PinRecord;
use crate::request::Wanted;

/// Rows of a listing that are looked at for one answer, so that rows without a request cannot hold it up.
const MAX_LOOKS: usize = 10_000;

/// The state at one moment.
pub(super) struct Reader {
    snapshot: Snapshot,
    spaces: Spaces,
}

impl Reader {
    pub(super) fn new(snapshot: Snapshot, spaces: Spaces) -> Self {
        Self { snapshot, spaces }
    }

    /// Everything about one CID.
    pub(super) fn record(&self, cid: &Cid) -> Result<PinRecord, StateError> {
        let key = key::cid_key(cid);
        let mut record = PinRecord {
            cid: *cid,
            wanted: None,
            placements: Vec::new(),
        };
        for row in self.snapshot.prefix(&self.spaces.requests, &key) {
            let (row_key, row) = row?;
            add_request(
                &mut record,
                row_key.get(key.len()..).unwrap_or_default(),
                &row,
            )?;
        }
        for row in self.snapshot.prefix(&self.spaces.placements, &key) {
            let (row_key, row) = row?;
            let peer = row_key.get(key.len()..).unwrap_or_default();
            record.placements.push(rows::read_placement(peer, &row)?);
        }
        Ok(record)
    }

    /// All records in a range of tokens, from behind a CID on.
    pub(super) fn scan(self, range: TokenRange, after: Option<&Cid>) -> Records {
        let from = match after {
            // No CID key is the beginning of another, so this is behind all rows of the CID.
            Some(cid) => [key::cid_key(cid), vec![0xff; 256]].concat(),
            None => range.from.to_be_bytes().to_vec(),
        };
        let to = match range.to.checked_add(1) {
            Some(end) => Bound::Excluded(end.to_be_bytes().to_vec()),
            None => Bound::Unbounded,
        };
        let bounds = (Bound::Included(from), to);
        let requests = self.snapshot.range(&self.spaces.requests, bounds.clone());
        let placements = self.snapshot.range(&self.spaces.placements, bounds);
        Records {
            requests: requests.peekable(),
            placements: placements.peekable(),
            failed: false,
        }
    }

    /// An owner's requests, newest first.
    pub(super) fn owner_requests(
        &self,
        owner: &Owner,
        query: &OwnerQuery,
    ) -> Result<OwnerPage, StateError> {
        let prefix = key::owned_prefix(owner, query.tag.as_deref());
        let at = |time: u64| [&prefix[..], &(u64::MAX - time).to_be_bytes()].concat();
        // Times count down, so "before" is where the listing begins.
        let from = match (&query.cursor, query.before_ms) {
            (Some((time, cid)), _) => {
                Bound::Excluded([&prefix[..], &key::owned_place(*time, cid)].concat())
            }
            (None, Some(before)) => Bound::Included(at(before.saturating_sub(1))),
            (None, None) => Bound::Included(prefix.clone()),
        };
        let to = match query.after_ms {
            Some(after) => Bound::Excluded(at(after)),
            None => Bound::Excluded([&prefix[..], &[0xff; 9]].concat()),
        };
        let mut page = OwnerPage::default();
        let rows = self.snapshot.range(&self.spaces.owned, (from, to));
        for (looked, row) in rows.enumerate() {
            let (row_key, _) = row?;
            let place = row_key.get(prefix.len()..).unwrap_or_default();
            let (created_ms, cid) = key::split_owned(place)?;
            let row = self
                .snapshot
                .get(&self.spaces.requests, key::request(&cid, owner))?;
            if let Some(row) = row {
                let request = rows::read_request(owner.as_str().as_bytes(), &row)?;
                if request.created_ms == created_ms {
                    page.requests.push(request);
                }
            }
            if page.requests.len() >= query.limit || looked >= MAX_LOOKS {
                page.cursor = Some((created_ms, cid));
                break;
            }
        }
        Ok(page)
    }

    /// Entries of the queue of ends that are due.
    pub(super) fn ends(&self, now_s: u64, limit: usize) -> Result<Vec<End>, StateError> {
        let to = now_s.saturating_add(1).to_be_bytes();
        let rows = self.snapshot.range(&self.spaces.ends, ..to);
        rows.take(limit).map(|row| read_end(&row?.0)).collect()
    }

    /// All workers.
    pub(super) fn workers(&self) -> Result<Vec<Worker>, StateError> {
        let mut workers = Vec::new();
        for row in self.snapshot.prefix(&self.spaces.workers, []) {
            let (id, row) = row?;
            let mut worker = rows::read_worker(&id, &row, false)?;
            let drains = draining_key(&worker.id);
            worker.draining = self.snapshot.contains(&self.spaces.notes, drains)?;
            workers.push(worker);
        }
        Ok(workers)
    }
}

fn read_end(key: &[u8]) -> Result<End, StateError> {
    let damaged = || StateError::Damaged("an entry of the queue of ends".into());
    let (at_s, rest) = key.split_first_chunk::<8>().ok_or_else(damaged)?;
    let (_, cid, owner) = key::split(rest)?;
    let owner = std::str::from_utf8(owner).map_err(|_| damaged())?;
    Ok(End {
        at_s: u64::from_be_bytes(*at_s),
        owner: owner.parse().map_err(|_| damaged())?,
        cid,
    })
}

fn add_request(record: &mut PinRecord, owner: &[u8], row: &[u8]) -> Result<(), StateError> {
    let request = rows::read_request(owner, row)?;
    match &mut record.wanted {
        Some(wanted) => wanted.join(request),
        None => record.wanted = Some(Wanted::of(request)),
    }
    Ok(())
}

/// Requests and placements, joined while both are read in key order.
pub(super) struct Records {
    requests: Peekable<Scan>,
    placements: Peekable<Scan>,
    failed: bool,
}

impl Records {
    fn read(&mut self) -> Result<Option<PinRecord>, StateError> {
        let heads = (head(&mut self.requests)?, head(&mut self.placements)?);
        let cid_key = match heads {
            (None, None) => return Ok(None),
            (Some(key), None) | (None, Some(key)) => key,
            (Some(a), Some(b)) => a.min(b),
        };
        let (_, cid, _) = key::split(&cid_key)?;
        let mut record = PinRecord {
            cid,
            wanted: None,
            placements: Vec::new(),
        };
        while let Some((key, row)) = next_of(&mut self.requests, &cid_key)? {
            add_request(
                &mut record,
                key.get(cid_key.len()..).unwrap_or_default(),
                &row,
            )?;
        }
        while let Some((key, row)) = next_of(&mut self.placements, &cid_key)? {
            let peer = key.get(cid_key.len()..).unwrap_or_default();
            record.placements.push(rows::read_placement(peer, &row)?);
        }
        Ok(Some(record))
    }
}

impl Iterator for Records {
    type Item = Result<PinRecord, StateError>;

    fn next(&mut self) -> Option<Self::Item> {
        if self.failed {
            return None;
        }
        let item = self.read().transpose();
        self.failed = matches!(item, Some(Err(_)));
        item
    }
}

/// The CID key of the next row.
fn head(rows: &mut Peekable<Scan>) -> Result<Option<Bytes>, StateError> {
    match rows.peek() {
        None => Ok(None),
        Some(Ok((key, _))) => {
            let (cid_key, _, _) = key::split(key)?;
            Ok(Some(key.slice_ref(cid_key)))
        }
        Some(Err(_)) => match rows.next() {
            Some(Err(error)) => Err(error.into()),
            _ => Ok(None),
        },
    }
}

/// The next row, if it belongs to a CID key.
fn next_of(
    rows: &mut Peekable<Scan>,
    cid_key: &[u8],
) -> Result<Option<(Bytes, Bytes)>, StateError> {
    let belongs = |row: &Result<(Bytes, Bytes), StorageError>| match row {
        Ok((key, _)) => key.starts_with(cid_key),
        Err(_) => true,
    };
    Ok(rows.next_if(belongs).transpose()?)
}
